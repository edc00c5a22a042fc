"""k-means++: which samples it takes."""

import numpy as np
import pytest

from l2ae_core.clustering.init import kmeans_plus_plus
from l2ae_kernels.arrays import Array
from l2ae_kernels.reference.restarts import BLOCK, draw_rows

from .made_up import blobs, rng


def test_init_takes_distinct_rows_of_x() -> None:
    x = np.repeat(blobs(12, 3, 4), 50, axis=0)
    for seed in range(20):
        centers = kmeans_plus_plus(x, 12, rng(seed))
        assert len(np.unique(centers, axis=0)) == 12  # no duplicate although each row has 49
        assert all((x == center).all(axis=1).any() for center in centers)


def test_init_is_greedy() -> None:
    # Over 20 seeds one candidate a center hits 17.2 of these 20 clusters on average, four hit 19.2.
    x = blobs(2000, 3, 20, spread=0.1)
    hits = [len(set(assigned_cluster(x, kmeans_plus_plus(x, 20, rng(s))))) for s in range(20)]
    assert np.mean(hits) > 18.5


@pytest.mark.parametrize(("number", "row"), [(0.0, 1), (0.24, 1), (0.25, 3), (0.99, 3), (1.0, 3)])
def test_init_never_draws_a_row_of_zero_weight(number: float, row: int) -> None:
    # 1.0 stands for a product that rounds up to the total
    weights = np.array([0.0, 1.0, 0.0, 3.0, 0.0])
    draws = np.full(2, number)
    np.testing.assert_array_equal(draw_rows(weights, np.array([4.0]), draws), [row, row])
    # the same in the third of five blocks, of which the others weigh nothing
    blocks = np.zeros(4 * BLOCK + 7)
    blocks[2 * BLOCK : 2 * BLOCK + 5] = weights
    sums = np.array([0.0, 0.0, 4.0, 0.0, 0.0])
    found = draw_rows(blocks, sums, draws)
    np.testing.assert_array_equal(found, 2 * BLOCK + np.array([row, row]))


def assigned_cluster(x: Array, centers: Array) -> list[int]:
    return [int(np.flatnonzero((x == c).all(axis=1))[0]) % 20 for c in centers]
