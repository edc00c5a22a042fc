"""Samples that are read in parts: memory maps told from arrays, and what a part is."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from l2ae_kernels import samples as of_samples
from l2ae_kernels.samples import BLOCK, PartedSamples, is_memory_map

N = 3 * BLOCK + 77  # the last part is ragged


def test_what_a_memory_map_is(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "x.npy", x)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    for view in (there, there[::2], there.T, np.asarray(there), np.asarray(there)[1:].view()):
        assert is_memory_map(view)
    for copy in (x, x[1:], there.copy(), np.array(there), there + 1):
        assert not is_memory_map(copy)
    (tmp_path / "raw").write_bytes(x.tobytes())
    with (tmp_path / "raw").open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert is_memory_map(np.frombuffer(raw, np.float64).reshape(6, 2))


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_are_whole_blocks_side_by_side(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.asarray(np.random.default_rng(0).normal(size=(N, 4)), order=order)
    monkeypatch.setattr(of_samples, "PART", 2 * BLOCK * x[:1].nbytes)
    monkeypatch.setattr(of_samples, "COPY", BLOCK * x[:1].nbytes)
    for samples, expected, size in (
        (PartedSamples(x), x, 2 * BLOCK),
        (PartedSamples(x).then(np.square).then(np.negative), -(x * x), BLOCK),
    ):
        starts = []
        for first, part in samples.parts():
            assert part.flags.c_contiguous
            np.testing.assert_array_equal(part, expected[first : first + size])
            starts.append(first)
        assert starts == [*range(0, N, size)]
        np.testing.assert_array_equal(samples[::7], expected[::7])
        np.testing.assert_array_equal(samples[np.array([[5, N - 1]])], expected[[[5, N - 1]]])
        np.testing.assert_array_equal(samples[3], expected[3])
