"""assign and update: every rung against the reference, on ragged shapes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.operations import IMPLEMENTATIONS


@dataclass(frozen=True)
class Rung:
    """A rung of assign, with the vectors to force; update has none of its own above `blocked`."""

    name: str
    vectors: str = "none"

    def assign(self, *arguments: Any) -> tuple[Array, Array]:
        with vectors(self.vectors):
            return IMPLEMENTATIONS["assign"][self.name].function(*arguments)

    def update(self, *arguments: Any) -> tuple[Array, Array]:
        rungs = IMPLEMENTATIONS["update"]
        return rungs.get(self.name, rungs["blocked"]).function(*arguments)

    def takes(self, dtype: type) -> bool:
        return np.dtype(dtype) in IMPLEMENTATIONS["assign"][self.name].dtypes


ALL = [Rung("reference"), Rung("blocked"), *(Rung("register", name) for name in SETS)]
RUNGS = [pytest.param(rung, id=f"{rung.name}-{rung.vectors}") for rung in ALL]
RUNGS_AND_DTYPES = [
    pytest.param(rung, dtype, id=f"{rung.name}-{rung.vectors}-{dtype.__name__}")
    for rung in ALL
    for dtype in (np.float32, np.float64)
    if rung.takes(dtype)
]
SHAPES = [  # (n, d, k); d = 16 and 17 lie on either side of the switch from short to long samples
    (1, 1, 1),
    (33, 10, 10),
    (257, 3, 7),
    (256, 16, 3),
    (64, 17, 1),
    (65, 33, 5),
    (1000, 784, 10),
    (5003, 10, 129),
    (70, 65, 16),  # of the emitted rung: long samples, one group of centers, three of them
    (521, 100, 41),
]
# A distance is a sum of d squares: rounding grows slower than d/2 steps, whatever the order.
RTOL = {np.float32: 1e-5, np.float64: 1e-13}


def draw(n: int, d: int, k: int, dtype: type) -> tuple[Array, Array]:
    rng = np.random.default_rng(n + d + k)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)


def exact_distances(x: Array, centers: Array) -> Array:
    """The definition, once more and in float64: (n, k)."""
    difference = x[:, None, :].astype(np.float64) - centers[None, :, :].astype(np.float64)
    return np.einsum("nkd,nkd->nk", difference, difference)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize(("rung", "dtype"), RUNGS_AND_DTYPES)
def test_assign_is_nearest_up_to_ties(rung: Rung, n: int, d: int, k: int, dtype: type) -> None:
    x, centers = draw(n, d, k, dtype)
    labels, distances = rung.assign(x, centers)
    assert labels.dtype == np.int32
    assert distances.dtype == dtype
    exact = exact_distances(x, centers)
    # Where the label is not the nearest center, the two distances agree to rounding.
    chosen = exact[np.arange(n), labels]
    np.testing.assert_allclose(chosen, exact.min(axis=1), rtol=RTOL[dtype], atol=0)
    np.testing.assert_allclose(distances, chosen, rtol=RTOL[dtype], atol=0)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize(("rung", "dtype"), RUNGS_AND_DTYPES)
def test_update(rung: Rung, n: int, d: int, k: int, dtype: type) -> None:
    x, _ = draw(n, d, k, dtype)
    labels = np.random.default_rng(0).integers(0, k, n).astype(np.int32)
    sums, counts = rung.update(x, labels, k)
    assert sums.dtype == np.float64
    assert counts.dtype == np.int64
    one_hot = (labels[:, None] == np.arange(k)).astype(np.float64)  # (n, k)
    np.testing.assert_array_equal(counts, one_hot.sum(axis=0))
    # Float64 sums of at most 5000 numbers of size one, in any order.
    np.testing.assert_allclose(sums, one_hot.T @ x.astype(np.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("rung", RUNGS)
def test_update_sums_float32_in_float64(rung: Rung) -> None:
    x = np.full((100_000, 1), 0.1, np.float32)
    sums, _ = rung.update(x, np.zeros(len(x), np.int32), 1)
    np.testing.assert_allclose(sums, len(x) * np.float64(np.float32(0.1)), rtol=1e-12)


@pytest.mark.parametrize("before", [0, 14, 40])  # centers in front, which no sample is near to
@pytest.mark.parametrize("d", [1, 7, 40, 300])
@pytest.mark.parametrize(("rung", "dtype"), RUNGS_AND_DTYPES)
def test_ties_go_to_the_lowest_index(rung: Rung, dtype: type, d: int, before: int) -> None:
    x = np.zeros((70, d), dtype)
    values = [5.0] * before + [3, 1, -1, 1]
    centers = np.stack([np.full(d, value, dtype) for value in values])
    labels, distances = rung.assign(x, centers)
    np.testing.assert_array_equal(labels, before + 1)
    np.testing.assert_array_equal(distances, d)


@pytest.mark.parametrize("d", [3, 200])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("rung", RUNGS)
def test_labels_are_in_range_whatever_the_numbers(rung: Rung, value: float, d: int) -> None:
    x, centers = draw(40, d, 21, np.float32)
    x[3], centers[5] = value, -value
    with np.errstate(all="ignore"):
        labels, _ = rung.assign(x, centers)
    assert (labels >= 0).all()
    assert (labels < 21).all()


@pytest.mark.parametrize("rung", RUNGS)
def test_far_from_the_origin_nothing_cancels(rung: Rung) -> None:
    # |x|² is 4e10 here: the expansion |x|² − 2x·c + |c|² would have no correct digit in float32.
    x = np.array([[1e5 + 1.0] * 4, [1e5 + 3.0] * 4], np.float32)
    centers = np.array([[1e5 + 3.0] * 4, [1e5] * 4], np.float32)
    labels, distances = rung.assign(x, centers)
    np.testing.assert_array_equal(labels, [1, 0])
    np.testing.assert_array_equal(distances, [4.0, 0.0])


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("d", [10, 33, 200])
def test_a_row_alone_gives_the_same_bits(rung: Rung, d: int) -> None:
    x, centers = draw(257, d, 7, np.float32)
    labels, distances = rung.assign(x, centers)
    for i in (0, 63, 64, 256):
        label, distance = rung.assign(x[i : i + 1], centers)
        assert (label[0], distance[0]) == (labels[i], distances[i])


@pytest.mark.skipif(MOST < 2, reason="one thread only")
@pytest.mark.parametrize("d", [10, 33, 110])
@pytest.mark.parametrize("rung", ALL[1:], ids=lambda rung: rung.name + "-" + rung.vectors)
def test_bits_do_not_depend_on_the_number_of_threads(rung: Rung, d: int) -> None:
    # sums of float32 would often be exact
    x, centers = draw(70_001, d, 10, np.float64 if rung.takes(np.float64) else np.float32)
    runs = []
    for count in (1, 2):
        with threads(count):
            labels, distances = rung.assign(x, centers)
            runs.append([labels, distances, *rung.update(x, labels, len(centers))])
    for one, two in zip(*runs, strict=True):
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("rung", RUNGS)
def test_any_memory_layout(rung: Rung) -> None:
    dtype = np.float64 if rung.takes(np.float64) else np.float32
    x, centers = draw(257, 3, 7, dtype)
    labels, distances = rung.assign(x, centers)
    strided = np.repeat(x, 2, axis=0)[::2]
    strided.flags.writeable = False
    again = rung.assign(strided, np.asfortranarray(centers))
    np.testing.assert_array_equal(again[0], labels)
    np.testing.assert_allclose(again[1], distances, rtol=RTOL[dtype])
    sums, counts = rung.update(strided, labels.astype(np.int64), 7)
    np.testing.assert_allclose(sums, rung.update(x, labels, 7)[0], rtol=0, atol=1e-12)
    assert counts.sum() == 257
