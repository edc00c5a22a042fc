"""Greedy k-means++ (Arthur & Vassilvitskii 2007, section 5)."""

import math

import numpy as np

from l2ae_core.clustering.inputs import as_samples
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.reference.restarts import Restarts


def kmeans_plus_plus(x: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return n_clusters rows of x (N, D) as centers (K, D), spread out by chance.

    The first center is any row. Each further one is drawn with probability D²(x) / Σ D²(x), where
    D(x) is the distance to the nearest center so far; of 2 + ⌊ln K⌋ such candidates the one that
    leaves the lowest Σ D² wins. No row is drawn twice, nor a duplicate of a chosen row, as long as
    there is another; with fewer than K distinct rows the rest is drawn uniformly.
    """
    restarts = ops.restarts(as_samples("kmeans_plus_plus", x), n_clusters, 1)
    init_centers(restarts, [rng])
    centers: Array = restarts.centers[0]
    return centers


def init_centers(restarts: Restarts, rngs: list[np.random.Generator]) -> None:
    """Write the centers that one run begins from for each generator, each with its own chances.

    The numbers are drawn here, all of them before the first distance; the kernels do the rest, for
    all runs at once. Where all samples lie on the centers, rows are drawn uniformly.
    """
    n, (_, n_clusters, _) = len(restarts.x), restarts.centers.shape
    trials = 2 + int(math.log(n_clusters))
    first = np.array([rng.integers(n) for rng in rngs])
    states = [rng.bit_generator.state for rng in rngs]
    draws = np.stack([rng.random((n_clusters - 1, trials)) for rng in rngs])
    stuck = restarts.init_centers(first, draws)
    for r, rng in enumerate(rngs):
        if stuck[r] >= 0:
            rng.bit_generator.state = states[r]
            rng.random((stuck[r], trials))
            rows = [rng.integers(n, size=trials)[0] for _ in range(stuck[r] + 1, n_clusters)]
            restarts.centers[r, stuck[r] + 1 :] = to_host(restarts.x[np.array(rows)])
