"""The greedy k-means++ start (Arthur & Vassilvitskii 2007, section 5)."""

import math

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, get_place, to_host
from l2ae_kernels.reference.restarts import BLOCK, Restarts


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
    if get_place(x) == "cuda":
        _start_on_device(restarts, rngs)
        return
    trials = 2 + int(math.log(n_clusters))
    rows = [rng.integers(len(x), size=1) for rng in rngs]
    nearest = np.full((len(rngs), len(x)), np.inf, x.dtype)  # D² of each run
    runs = np.arange(len(rngs))
    for j in range(n_clusters):
        candidates = np.stack(rows)  # (runs, 1 or trials)
        left = restarts.lower(x[candidates], nearest, keep=False)  # (runs, candidates, blocks)
        best = left.sum(axis=2).argmin(axis=1)
        restarts.centers[runs, j] = x[candidates[runs, best]]
        if j + 1 < n_clusters:
            restarts.lower(restarts.centers[runs, j : j + 1], nearest, keep=True)
            rows = [_draw(nearest[r], left[r, best[r]], trials, rng) for r, rng in enumerate(rngs)]


def _start_on_device(restarts: Restarts, rngs: list[np.random.Generator]) -> None:
    """Draw what `start` would draw, in its order, and leave the rest to the device.

    Where all points lie on the centers, nothing is left to draw from: rows are drawn uniformly.
    """
    n, (_, n_clusters, _) = len(restarts.x), restarts.centers.shape
    trials = 2 + int(math.log(n_clusters))
    first = np.array([rng.integers(n, size=1)[0] for rng in rngs])
    states = [rng.bit_generator.state for rng in rngs]
    draws = np.stack([rng.random((n_clusters - 1, trials)) for rng in rngs])
    stuck = restarts.start(first, draws)
    for r, rng in enumerate(rngs):
        if stuck[r] >= 0:
            rng.bit_generator.state = states[r]
            rng.random((stuck[r], trials))
            rows = [rng.integers(n, size=trials)[0] for _ in range(stuck[r] + 1, n_clusters)]
            restarts.centers[r, stuck[r] + 1 :] = to_host(restarts.x[np.array(rows)])


def _draw(weights: Array, sums: Array, size: int, rng: np.random.Generator) -> Array:
    """Draw `size` indices with probability weights / Σ weights; uniformly when all are zero.

    sums are those of blocks of weights: only the blocks that are hit are looked at.
    """
    cumulative = np.cumsum(sums)
    if cumulative[-1] == 0:
        return rng.integers(len(weights), size=size)
    targets = rng.random(size) * cumulative[-1]
    blocks = _find(cumulative, targets)
    targets -= cumulative[blocks] - sums[blocks]
    drawn = np.empty(size, np.int64)
    for i, block in enumerate(blocks):
        first = block * BLOCK
        inside = np.cumsum(weights[first : first + BLOCK], dtype=np.float64)
        drawn[i] = first + _find(inside, targets[i : i + 1])[0]
    return drawn


def _find(cumulative: Array, targets: Array) -> Array:
    """Return where the targets lie; never in a step of height 0, for side="right" skips these.

    A target that rounding took to the end or past it belongs to the last step that has a height.
    """
    last = np.searchsorted(cumulative, cumulative[-1])
    found: Array = np.minimum(np.searchsorted(cumulative, targets, side="right"), last)
    return found
