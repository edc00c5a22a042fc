"""Samples, starts and shapes for k-means on a device."""

import numpy as np
import pytest

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.kmeans.restarts import Restarts

SHAPES = [  # n, d, k: short samples with k known and not, whole tiles and more, long samples
    (1, 1, 1),
    (33, 10, 10),
    (257, 3, 7),
    (1025, 10, 17),
    (513, 40, 9),
]
DTYPES = [np.float32, np.float64]
# A shape of a type is seconds of compilation; float64 has every kernel in these.
EVERY_DAY = [(33, 10, 10), (513, 40, 9)]


def typed(shapes: list[tuple[int, int, int]]) -> pytest.MarkDecorator:
    """Shapes in float32, and in float64; of these only some in every run of the tests."""
    cases = []
    for dtype in DTYPES:
        for n, d, k in shapes:
            every_day = dtype == np.float32 or (n, d, k) in EVERY_DAY
            marks = () if every_day else pytest.mark.slow
            cases.append(pytest.param(n, d, k, dtype, marks=marks))
    return pytest.mark.parametrize(("n", "d", "k", "dtype"), cases)


# Sums of d squares in float32 and float64, in any order.
RTOL = {np.float32: 1e-5, np.float64: 1e-13}
ASSIGN = [("cuda-registers", 3), ("cuda-registers", 40), ("cuda-tensor", 40)]  # and d


def blobs(n: int, d: int, k: int, dtype: type = np.float32, spread: float = 0.7) -> Array:
    rng = np.random.default_rng(n + d + k)
    centers = rng.normal(size=(k, d))
    return (centers[rng.integers(0, k, n)] + spread * rng.normal(size=(n, d))).astype(dtype)


def starts(x: Array, k: int, runs: int) -> Array:
    rng = np.random.default_rng(7)
    return np.stack([x[rng.choice(len(x), k, replace=False)] for _ in range(runs)])


def move_to_means(restarts: Restarts, active: list[int]) -> None:
    for r in active:
        filled = restarts.counts[r] > 0
        means = restarts.sums[r, filled] / restarts.counts[r, filled, None]
        restarts.centers[r, filled] = means.astype(restarts.centers.dtype)


def assert_nearest(x: Array, centers: Array, labels: Array, distances: Array) -> None:
    """Labels may differ from the nearest only where the two distances agree to rounding."""
    dtype = x.dtype.type
    exact = ((x[:, None].astype(np.float64) - centers[None].astype(np.float64)) ** 2).sum(axis=2)
    chosen = exact[np.arange(len(x)), labels]
    np.testing.assert_allclose(chosen, exact.min(axis=1), rtol=RTOL[dtype])
    np.testing.assert_allclose(distances, chosen, rtol=RTOL[dtype])
