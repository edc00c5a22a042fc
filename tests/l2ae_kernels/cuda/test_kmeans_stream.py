"""How pieces of x get to pinned memory; whole passes are in l2ae_core's tests of k-means."""

import numpy as np
import pytest

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, available, threads
from l2ae_kernels.cuda.kmeans import stream


@pytest.mark.parametrize("count", sorted({1, MOST}))
@pytest.mark.parametrize("strided", [False, True])
def test_threads_copy_every_row_once(
    count: int, strided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(200_003, 6)).astype(np.float32)
    rows = x[:, ::2] if strided else x  # 2.4 or 4.8 MB: two threads or three, where they are there
    ranges = []
    copy = stream._copy_rows

    def noted(to: Array, rows: Array, first: int, last: int) -> None:
        ranges.append((first, last))
        copy(to, rows, first, last)

    monkeypatch.setattr(stream, "_copy_rows", noted)
    pinned = np.full(rows.shape, np.nan, np.float32)
    with threads(count):
        stream.copy_on_threads(pinned, rows)
    np.testing.assert_array_equal(pinned, rows)
    cuts = sorted(ranges)
    assert [first for first, _ in cuts] == [0, *(last for _, last in cuts[:-1])]
    assert (len(cuts) > 1) == (available(count) > 1)


def test_a_copy_changes_no_dtype() -> None:
    with pytest.raises(TypeError, match="no"):
        stream.copy_on_threads(np.empty((5, 2), np.float32), np.empty((5, 2)))
