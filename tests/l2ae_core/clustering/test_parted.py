"""Memory maps and large arrays, a part at a time: the bits of samples in memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.clustering import parted
from l2ae_core.clustering.init import kmeans_plus_plus
from l2ae_core.clustering.inputs import as_samples
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.clustering.sweep import sweep
from l2ae_kernels import samples as of_samples
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.cpu.kmeans import parted as kernels
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.samples import BLOCK, PartedSamples

from .made_up import blobs, rng

N = 3 * BLOCK + 77  # the last part is ragged
THREADS = [1, min(2, MOST)]
Mapped = Callable[[Array], Array]


@pytest.fixture
def mapped(tmp_path: Path) -> Mapped:
    """What np.load makes of an array: a memory map."""

    def load(x: Array) -> Array:
        np.save(tmp_path / "x.npy", x)
        return np.load(tmp_path / "x.npy", mmap_mode="r")

    return load


def bits(found: Clustering) -> list[Any]:
    return [found.labels.tobytes(), found.centers.tobytes(), found.inertia, found.restarts]


def far_starts(x: Array, k: int) -> Array:
    """Half of the starts are rows; no sample is near the others, which have to be filled."""
    start = x[:k].copy()
    start[k // 2 :] += 1e3
    return start


SHAPES = [(N, 10, 10), (N, 3, 30), (N, 90, 40), (N, 120, 5), (40, 5, 7), (BLOCK, 10, 4)]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tol": {"tol": 1e-3},
    "spherical": {"spherical": True},
    "recentered": {"offset": 1e6},
    "spherical-tol": {"spherical": True, "tol": 1e-3},
    "recentered-tol": {"offset": 1e6, "tol": 1e-3},
    "fill": {"init": far_starts},
}


TYPED = [*((np.float32, *s) for s in SHAPES), (np.float64, N, 10, 10), (np.float64, 40, 5, 7)]


@pytest.mark.parametrize(
    ("dtype", "n", "d", "k", "case"),
    [
        pytest.param(
            *shape, case,
            # all cases in one shape of a type, and two in all shapes
            marks=[] if shape[1:3] == (N, 10) or case in ("plain", "fill") else pytest.mark.slow,
        )
        for shape in TYPED
        for case in CASES
    ],
)  # fmt: skip
def test_a_memory_map_has_the_bits_of_memory(
    dtype: type, n: int, d: int, k: int, case: str, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(CASES[case])
    offset = options.pop("offset", 0)
    x = (blobs(n, d, k, spread=1.0) * (1 if dtype is np.float32 else 1e-6) + offset).astype(dtype)
    if "init" in options:
        options["init"] = options["init"](x, k)
    expected = kmeans(x, k, n_init=3, max_iter=12, rng=rng(1), **options)
    assert (expected.recentered is not None) == (offset != 0)
    there = mapped(x)
    for size, memory, count in (
        (1, 0, THREADS[0]),
        (2 * BLOCK * x[:1].nbytes, 1 << 30, THREADS[1]),
    ):
        monkeypatch.setattr(of_samples, "PART", size)
        monkeypatch.setattr(of_samples, "COPY", size)
        monkeypatch.setattr(kernels, "MEMORY", memory)  # of one run, without bounds; of all
        monkeypatch.setattr(kernels, "MOST", memory)
        with threads(count):
            found = kmeans(there, k, n_init=3, max_iter=12, rng=rng(1), **options)
            assert bits(found) == bits(expected)
            assert found.predict(there).tobytes() == expected.labels.tobytes()


@pytest.mark.needs_vectors
def test_bounds_of_some_of_the_samples(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the four parts have bounds."""
    x = blobs(N, 90, 40, spread=1.0).astype(np.float32)
    expected = kmeans(x, 40, n_init=1, max_iter=12, rng=rng(1))
    monkeypatch.setattr(of_samples, "PART", 1)
    memory = 4 * (N + 16) + 2 * BLOCK * 4 * (1 + 3)  # labels, bounds of 3 groups of centers
    monkeypatch.setattr(kernels, "MEMORY", memory)
    monkeypatch.setattr(kernels, "MOST", memory)
    restarts = kernels.Restarts(PartedSamples(x), 40, 1)
    assert restarts.bounds.upper.shape == (1, 2 * BLOCK)
    assert bits(kmeans(mapped(x), 40, n_init=1, max_iter=12, rng=rng(1))) == bits(expected)


def test_without_emitted_kernels(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(N, 10, 10, spread=1.0).astype(np.float32)
    monkeypatch.setattr(of_samples, "PART", 1)
    with vectors("none"):
        expected = kmeans(x, 10, n_init=2, rng=rng(1))
        assert bits(kmeans(mapped(x), 10, n_init=2, rng=rng(1))) == bits(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.int64])
def test_what_becomes_float64_does_so_in_parts(
    dtype: type, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng().integers(0, 200, (N, 6)).astype(dtype)
    monkeypatch.setattr(of_samples, "COPY", 1)
    expected = kmeans(x, 5, n_init=2, rng=rng(1), spherical=dtype is np.int64)
    there = mapped(x)
    found = kmeans(there, 5, n_init=2, rng=rng(1), spherical=dtype is np.int64)
    assert bits(found) == bits(expected)
    assert found.predict(there).tobytes() == expected.labels.tobytes()


@pytest.mark.parametrize("d", [1, 2, 33])
def test_tol_has_the_bits_of_the_variance(
    d: int, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = (blobs(3 * N, d, 3) * 10.0 ** rng(2).uniform(-3, 3, (3 * N, 1))).astype(np.float32)
    monkeypatch.setattr(of_samples, "PART", 1)
    samples = as_samples("kmeans", mapped(x))
    assert parted.mean_variance(samples) == float(x.var(axis=0, dtype=np.float64).mean())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_first_centers_and_sweep(
    dtype: type, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = blobs(N, 4, 5).astype(dtype)
    monkeypatch.setattr(of_samples, "PART", 1)
    there = mapped(x)
    assert kmeans_plus_plus(there, 5, rng(3)).tobytes() == kmeans_plus_plus(x, 5, rng(3)).tobytes()
    copies = np.repeat(x[:3], N, axis=0)  # fewer than 5 distinct rows
    expected = kmeans_plus_plus(copies, 5, rng(3))
    assert kmeans_plus_plus(mapped(copies), 5, rng(3)).tobytes() == expected.tobytes()
    rows = [sweep(a, [2, 4], seed=0, n_init=2, sample_size=100) for a in (x, mapped(x))]
    assert rows[0] == rows[1]


def test_fewer_distinct_rows_than_clusters(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_samples, "PART", 1)
    x = np.repeat(blobs(3, 5, 3).astype(np.float32), N, axis=0)
    found = []
    for there in (x, mapped(x)):
        with pytest.warns(UserWarning, match="2 of 5 clusters stay empty, because x has fewer"):
            found.append(bits(kmeans(there, 5, n_init=2, rng=rng())))
    assert found[0] == found[1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, {"tol": 1e-3}, {"spherical": True}])
def test_errors_name_the_row_of_all(
    options: dict[str, Any], value: float, mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_samples, "PART", 1)
    x = blobs(N, 4, 5).astype(np.float32)
    found = kmeans(x, 5, n_init=1, rng=rng(), **options)
    x[N - 3, 2] = value
    with pytest.raises(ValueError, match=f"kmeans: row {N - 3} of x holds NaN or infinity"):
        kmeans(mapped(x), 5, rng=rng(), **options)
    with pytest.raises(ValueError, match=f"predict: row {N - 3} of x holds NaN or infinity"):
        found.predict(mapped(x))
    x[N - 3] = 0
    if "spherical" in options:
        with pytest.raises(ValueError, match=f"kmeans: row {N - 3} of x is zero"):
            kmeans(mapped(x), 5, rng=rng(), **options)
        with pytest.raises(ValueError, match=f"predict: row {N - 3} of x is zero"):
            found.predict(mapped(x))


@pytest.mark.parametrize(
    "options",
    [{}, {"spherical": True}, {"offset": 1e6}, {"offset": 1e12, "dtype": "f8"}, {"tol": 1e-3}],
    ids=lambda o: str([*o]),
)
@pytest.mark.parametrize("layout", ["F", "big-endian", "every other"])
def test_the_layout_of_a_file_does_not_change_a_bit(
    layout: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """NumPy's sums over rows, and those of a row, depend on the order in memory."""
    options = dict(options)
    offset, dtype = options.pop("offset", 0), options.pop("dtype", "f4")
    scale = 10.0 ** rng(2).uniform(-3, 2, (N, 1))
    x = (blobs(N, 20, 6, spread=1.0) * scale + offset).astype(dtype)
    expected = kmeans(x, 6, n_init=2, max_iter=5, rng=rng(1), **options)
    assert (expected.recentered is not None) == (offset != 0)
    stored = {"F": np.asfortranarray(x), "big-endian": x.astype(f">{dtype}"),
              "every other": np.repeat(x, 2, axis=1)}[layout]  # fmt: skip
    np.save(tmp_path / "x.npy", stored)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    there = there[:, ::2] if layout == "every other" else there
    found = kmeans(there, 6, n_init=2, max_iter=5, rng=rng(1), **options)
    assert bits(found) == bits(expected)
    assert found.predict(there).tobytes() == expected.labels.tobytes()


def test_samples_without_features_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 0)))
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = kmeans(blobs(9, 2, 3), 3, n_init=1, rng=rng())
    for x in (there, np.zeros((5, 0)), np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r"predict: x is .* but expected 2 features"):
            found.predict(x)
    with pytest.raises(
        ValueError, match=r"kmeans: x is \(5, 0\) but expected at least one feature"
    ):
        sweep(there, [2], seed=0, n_init=1)


def test_large_arrays_in_memory_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(N, 10, 10).astype(np.float32)
    expected = kmeans(x, 10, n_init=2, rng=rng())
    assert as_samples("kmeans", x) is not None
    monkeypatch.setattr(parted, "LARGE", x.nbytes - 1)
    assert isinstance(as_samples("kmeans", x), PartedSamples)
    assert bits(kmeans(x, 10, n_init=2, rng=rng())) == bits(expected)
    monkeypatch.setattr(parted, "LARGE", x.nbytes)
    assert as_samples("kmeans", x).base is x


def test_a_rung_that_knows_no_parts_gets_the_memory_map(
    mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = mapped(blobs(300, 3, 4))
    for picked in (reference.Restarts,):
        monkeypatch.setattr(parted.ops, "restarts_class", lambda x, k, picked=picked: picked)
        assert not isinstance(as_samples("kmeans", x), PartedSamples)


def test_ctrl_c_is_heard_between_parts(mapped: Mapped, monkeypatch: pytest.MonkeyPatch) -> None:
    x = mapped(blobs(N, 4, 5).astype(np.float32))
    parts_read = []
    read = PartedSamples.parts

    def interrupted(self: PartedSamples) -> Any:
        for part in read(self):
            parts_read.append(part[0])
            if len(parts_read) == 6:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(of_samples, "PART", 1)
    monkeypatch.setattr(PartedSamples, "parts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kmeans(x, 5, rng=rng())
    assert parts_read == [*range(0, N, BLOCK), 0, BLOCK]


@pytest.mark.parametrize(
    "options",
    [{}, {"spherical": True, "tol": 1e-9}, {"offset": 1e6}, {"init": far_starts}],
    ids=["plain", "spherical", "recentered", "fill"],
)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_memory_beside_x_stays_below_half_of_x(
    dtype: type, options: dict[str, Any], mapped: Mapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a few parts, and, while empty clusters move, their labels and distances."""
    options, part = dict(options), 1 << 18
    x = (blobs(150_000, 20, 6) + options.pop("offset", 0)).astype(dtype)
    if "init" in options:
        options["init"] = options["init"](x, 6)
    there, rest = mapped(x), 8 * part + 2 * parted_row(x) * ("init" in options)
    for name in ("PART", "COPY"):
        monkeypatch.setattr(of_samples, name, part)
    monkeypatch.setattr(kernels, "MEMORY", 0)
    kmeans(there[:3000], 6, n_init=2, max_iter=2, rng=rng(1))  # what is compiled stays
    tracemalloc.start()
    kmeans(there, 6, n_init=3, max_iter=2, rng=rng(1), **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes // 2 + rest


def parted_row(x: Array) -> int:
    """Bytes of a label and a distance of every sample."""
    return len(x) * (4 + x.itemsize)
