"""The greedy k-means++ start (Arthur & Vassilvitskii 2007, section 5)."""

import math

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array


def kmeans_plus_plus(x: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return n_clusters rows of x (N, D) as centers (K, D), spread out by chance.

    The first center is any row. Each further one is drawn with probability D²(x) / Σ D²(x), where
    D(x) is the distance to the nearest center so far; of 2 + ⌊ln K⌋ such candidates the one that
    leaves the lowest Σ D² wins. No row is drawn twice, nor a duplicate of a chosen row, as long as
    there is another; with fewer than K distinct rows the rest is drawn uniformly.
    """
    candidates = 2 + int(math.log(n_clusters))
    centers = np.empty((n_clusters, x.shape[1]), x.dtype)
    centers[0] = x[rng.integers(len(x))]
    nearest = ops.assign(x, centers[:1])[1]  # (N,) D²
    for j in range(1, n_clusters):
        rows = _draw(nearest, candidates, rng)
        trials = [np.minimum(nearest, ops.assign(x, x[row : row + 1])[1]) for row in rows]
        best = int(np.argmin([trial.sum(dtype=np.float64) for trial in trials]))
        centers[j], nearest = x[rows[best]], trials[best]
    return centers


def _draw(weights: Array, size: int, rng: np.random.Generator) -> Array:
    """Draw `size` indices with probability weights / Σ weights; uniformly when all are zero."""
    cumulative = np.cumsum(weights, dtype=np.float64)
    if cumulative[-1] == 0:
        return rng.integers(len(weights), size=size)
    # side="right" skips rows of zero weight; rounding up to the total would run past the last row
    rows = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    drawn: Array = np.minimum(rows, np.flatnonzero(weights)[-1])
    return drawn
