"""The greedy k-means++ start (Arthur & Vassilvitskii 2007, section 5)."""

import math

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.reference.restarts import Restarts


def kmeans_plus_plus(x: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return n_clusters rows of x (N, D) as centers (K, D), spread out by chance.

    The first center is any row. Each further one is drawn with probability D²(x) / Σ D²(x), where
    D(x) is the distance to the nearest center so far; of 2 + ⌊ln K⌋ such candidates the one that
    leaves the lowest Σ D² wins. No row is drawn twice, nor a duplicate of a chosen row, as long as
    there is another; with fewer than K distinct rows the rest is drawn uniformly.
    """
    restarts = ops.restarts(x, n_clusters, 1)
    start(restarts, [rng])
    centers: Array = restarts.centers[0]
    return centers


def start(restarts: Restarts, rngs: list[np.random.Generator]) -> None:
    """Write the start of one run for each generator to its centers, each with its own chances.

    The runs go side by side: the distances to the candidates of all of them take one pass.
    """
    x, (_, n_clusters, _) = restarts.x, restarts.centers.shape
    trials = 2 + int(math.log(n_clusters))
    rows = [rng.integers(len(x), size=1) for rng in rngs]
    nearest = np.full((len(rngs), len(x)), np.inf, x.dtype)  # D² of each run
    for j in range(n_clusters):
        if j > 0:
            rows = [_draw(nearest[r], trials, rng) for r, rng in enumerate(rngs)]
        distances = restarts.distances(x[np.concatenate(rows)]).reshape(len(rngs), -1, len(x))
        for r in range(len(rngs)):
            left = np.minimum(distances[r], nearest[r])  # (candidates, N)
            best = int(left.sum(axis=1, dtype=np.float64).argmin())
            restarts.centers[r, j], nearest[r] = x[rows[r][best]], left[best]


def _draw(weights: Array, size: int, rng: np.random.Generator) -> Array:
    """Draw `size` indices with probability weights / Σ weights; uniformly when all are zero."""
    cumulative = np.cumsum(weights, dtype=np.float64)
    if cumulative[-1] == 0:
        return rng.integers(len(weights), size=size)
    # side="right" skips rows of zero weight; rounding up to the total would run past the last row
    rows = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    drawn: Array = rows
    if drawn.max() == len(weights):
        drawn = np.minimum(rows, np.flatnonzero(weights)[-1])
    return drawn
