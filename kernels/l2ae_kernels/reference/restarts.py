"""Several Lloyd runs over the same samples, one assignment at a time: the specification.

Every rung has these arrays and methods, and each method does its work on every rung. The caller
writes `centers` and decides what becomes of a run; the kernels write the rest. What a faster rung
keeps between two assignments (packed samples, bounds, sums that only change with a label) is not
part of the interface: the numbers are those of this file.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.reference import kmeans

MEMORY = 1 << 26  # bytes that runs side by side may always take
BLOCK = 512  # samples whose squared distances are summed up apart by `min_sq_distances`


class Iterated(NamedTuple):
    """What `iterate` did with a run."""

    inertias: list[float]  # after each iteration, at least one
    moved: float  # Σ_j |c_j' − c_j|² of the last


class Restarts:
    """R runs over samples x (n, d) with k centers each.

    centers (R, k, d) are the caller's, in the dtype of x. An assignment writes, for its runs:
    labels (R, n) int32, −1 before the first; sums (R, k, d) float64 and counts (R, k) int64 of the
    samples of each cluster; inertia (R,) float64; changed (R,), how many labels are new. `max_abs`
    is max |x|, and not finite where x holds NaN or infinity: then no number has a meaning.

    Every method raises ValueError for runs that do not exist and for arrays that do not fit. The
    arrays above stay where they are: write to them, never bind others.
    """

    max_abs: float
    takes_parts: ClassVar[bool] = False  # whether there is such a rung for `PartedSamples`, too

    nearest_centers: ClassVar[Callable[..., tuple[Array, Array]]] = staticmethod(kmeans.assign)
    update = staticmethod(kmeans.update)

    def __init__(self, x: Array, k: int, runs: int) -> None:
        n, d = x.shape
        self.x = x
        self.centers = np.zeros((runs, k, d), x.dtype)
        self.labels = self._no_labels(runs, n)
        self.sums = np.zeros((runs, k, d))
        self.counts = np.zeros((runs, k), np.int64)
        self.inertia = np.zeros(runs)
        self.changed = np.zeros(runs, np.int64)
        self._find_max_abs()

    def _no_labels(self, runs: int, n: int) -> Array:
        return np.full((runs, n), -1, np.int32)

    def _infinite_distances(self, runs: int, n: int) -> Array:
        """Return D² of runs without a center, for `init_centers`."""
        return np.full((runs, n), np.inf, self.x.dtype)

    def _find_max_abs(self) -> None:
        self.max_abs = float(np.maximum(self.x.max(initial=0), -self.x.min(initial=0)))

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n samples, about."""
        return 4 * n

    @classmethod
    def runs_together(cls, x: Array, k: int) -> int:
        """Return how many runs share a pass over x: as many as fit the memory that x takes twice.

        One at least, and more where MEMORY holds them.
        """
        return max(1, max(MEMORY, 2 * x.nbytes) // cls.bytes_per_run(len(x), k))

    def reset(self) -> None:
        """Let every run begin anew, from other centers."""
        self.labels[:] = -1

    def init_centers(self, first: Array, draws: Array) -> Array:
        """Write the centers of greedy k-means++ to the first len(first) runs.

        Center 0 of run r is row first[r] of x. For center j + 1 each number of draws[r, j], of
        draws (len(first), k − 1, m) in [0, 1), draws a candidate: row i in proportion to D²_i, D_i
        the distance to the nearest center so far. The candidate that leaves the lowest Σ D², the
        potential, becomes the center; the first of equals.

        Returns stuck (len(first),): j where all samples lie on centers 0 … j, so that none can be
        drawn, and the centers from j + 1 on mean nothing; −1 where that did not happen.
        """
        runs, k = np.arange(len(first)), self.centers.shape[1]
        nearest = self._infinite_distances(len(first), len(self.x))  # D² of each run
        stuck = np.full(len(first), -1)
        rows = first[:, None]  # of the candidates
        for j in range(k):
            potentials = self.min_sq_distances(self.x[rows], nearest, keep=False)
            best = potentials.sum(axis=2).argmin(axis=1)
            self.centers[runs, j] = self.x[rows[runs, best]]
            if j + 1 < k:
                potentials = potentials[runs, best]  # (runs, blocks)
                self.min_sq_distances(self.centers[runs, j : j + 1], nearest, keep=True)
                stuck[(potentials.sum(axis=1) == 0) & (stuck < 0)] = j
                pairs = zip(nearest, potentials, draws[:, j], strict=True)
                rows = np.stack([draw_rows(*pair) for pair in pairs])
        return stuck

    def min_sq_distances(self, candidates: Array, nearest: Array, keep: bool) -> Array:
        """Return the potentials of m candidates (R, m, d) beside squared distances nearest (R, n).

        They are Σ_i min(nearest_i, |x_i − candidate|²) over blocks of BLOCK samples of x:
        (R, m, ⌈n / BLOCK⌉) float64. `nearest` only changes if `keep`: to its minimum with the
        squared distances to candidate 0.
        """
        R, m, d = self._require_candidates(candidates, nearest)
        lower = self._sq_distances(candidates.reshape(R * m, d)).reshape(R, m, -1)
        return potentials_of(lower, nearest, keep)

    def assign(self, active: list[int]) -> None:
        """Assign every sample to its nearest center, in the active runs; ties take the first."""
        self._require_runs(active)
        for r in active:
            labels, distances = self.nearest_centers(self.x, self.centers[r])
            self.changed[r] = np.count_nonzero(labels != self.labels[r])
            self.apply_assignment(r, labels, distances)

    def iterate(
        self, active: list[int], remaining: list[int], shift: float, spherical: bool
    ) -> list[Iterated]:
        """Move the centers of the active runs to the means and assign, once or more.

        A faster rung may go on with a run until an iteration that ends it: one that changes no
        label, moves the centers by Σ_j |c_j' − c_j|² <= shift, or is the last of `remaining`; or
        one that leaves a cluster empty. It may return sooner. This one returns after one.
        spherical: means are brought to unit length.
        """
        moved = [self._move_to_means(r, spherical) for r in active]
        self.assign(active)
        return [
            Iterated([float(self.inertia[r])], distance)
            for r, distance in zip(active, moved, strict=True)
        ]

    def apply_assignment(self, r: int, labels: Array, distances: Array) -> None:
        """Make labels (n,) and squared distances (n,) those of run r, as if it had found them."""
        self._require_assignment(r, labels, distances)
        self.labels[r] = labels
        self.sums[r], self.counts[r] = self.update(self.x, labels, len(self.centers[r]))
        self.inertia[r] = distances.sum(dtype=np.float64)

    def fill(self, r: int, limit: float) -> None:
        """Move the empty clusters of run r, one after the other, each to the farthest sample.

        That is the one with the largest squared distance to its center, until none is empty or
        that distance is no more than `limit`. The labels are then those of an assignment to the
        moved centers.
        """
        x, centers = self.x, self.centers[r]
        labels, distances = self.nearest_centers(x, centers)
        counts = self.counts[r]
        while counts.min() == 0 and distances.max() > limit:
            self._move_to_farthest(int(counts.argmin()), centers, labels, distances)
            self.apply_assignment(r, labels, distances)  # and the counts
            self.changed[r] = len(x)  # or fewer; but this run goes on

    def _move_to_farthest(self, j: int, centers: Array, labels: Array, distances: Array) -> None:
        """Move the empty cluster j to the sample farthest from its center; update the assignment.

        No sample had label j, so only samples that are nearer to j now change: Σ distances falls,
        and the sample itself stays with j. The loop around it ends after at most K moves.
        """
        x = self.x
        centers[j] = to_host(x[int(distances.argmax())])
        to_j = self.nearest_centers(x, centers[j : j + 1])[1]
        nearer = (to_j < distances) | ((to_j == distances) & (labels > j))  # ties: the lowest index
        labels[nearer] = j
        distances[nearer] = to_j[nearer]

    def _move_to_means(self, r: int, spherical: bool) -> float:
        """Move the centers of run r to the means of their samples; return Σ_j |c_j' − c_j|².

        A cluster without samples keeps its center, and so does, when spherical, one whose samples
        cancel: their mean has no direction.
        """
        sums, counts, centers = self.sums[r], self.counts[r], self.centers[r]
        size = (np.linalg.norm(sums, axis=1) if spherical else counts)[:, None]  # (k, 1)
        means = np.where(size > 0, sums / np.where(size > 0, size, 1), centers)
        means = means.astype(centers.dtype)
        difference = (means - centers).astype(np.float64)
        centers[:] = means
        return float((difference * difference).sum())  # no BLAS: its threads would spin for a while

    def _sq_distances(self, candidates: Array) -> Array:
        """Return the squared distances (m, n) of candidates (m, d) to all of x."""
        return np.stack([self.nearest_centers(self.x, c[None])[1] for c in candidates])

    def _require_runs(self, active: Sequence[int]) -> None:
        runs = len(self.centers)
        if not 0 < len(set(active)) == len(active) or min(active) < 0 or max(active) >= runs:
            raise ValueError(
                f"Restarts: runs {active} but expected different ones of 0 … {runs - 1}"
            )

    def _require_assignment(self, r: int, labels: Array, distances: Array) -> None:
        self._require_runs([r])
        n, k = len(self.x), self.centers.shape[1]
        self._require("distances", distances, (n,), distances.dtype)
        self._require("labels", labels, (n,), np.dtype(np.int32))
        self._require_labels(labels, k)

    def _require_labels(self, labels: Array, k: int) -> None:
        if not 0 <= int(labels.min()) <= int(labels.max()) < k:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"Restarts: labels span {found} but expected 0 to {k - 1}")

    def _require_candidates(self, candidates: Array, nearest: Array) -> tuple[int, int, int]:
        """Return (R, m, d) of the candidates."""
        n, d = self.x.shape
        R, m = (*candidates.shape, 0, 0)[:2]
        self._require("candidates", candidates, (R, max(m, 1), d), self.x.dtype)
        self._require("nearest", nearest, (R, n), self.x.dtype)
        return R, m, d

    @staticmethod
    def _require(name: str, a: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if a.shape != shape or a.dtype != dtype:
            raise ValueError(
                f"Restarts: {name} is {a.shape} {a.dtype} but expected {shape} {dtype}"
            )


def potentials_of(distances: Array, nearest: Array, keep: bool) -> Array:
    """Return the potentials, and change nearest; squared distances (R, m, n) become the lower."""
    np.minimum(distances, nearest[:, None], out=distances)
    if keep:
        nearest[:] = distances[:, 0]
    blocks = np.arange(0, distances.shape[2], BLOCK)
    potentials: Array = np.add.reduceat(distances, blocks, axis=2, dtype=np.float64)
    return potentials


def draw_rows(weights: Array, sums: Array, draws: Array) -> Array:
    """Return for each of draws (m,) in [0, 1) an index of weights (n,), drawn in their proportion.

    sums are those of blocks of BLOCK weights: only the blocks that are hit are looked at. Zeros
    where all sums are zero.
    """
    rows = np.zeros(len(draws), np.int64)
    for i, (block, target) in enumerate(zip(*draw_blocks(sums, draws), strict=True)):
        first = block * BLOCK
        rows[i] = first + draw_in_block(weights[first : first + BLOCK], target)
    return rows


def draw_blocks(sums: Array, draws: Array) -> tuple[Array, Array]:
    """Return the block that each of draws (m,) hits, and its target within; none for zero sums."""
    cumulative = np.cumsum(sums)
    if cumulative[-1] == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    targets = draws * cumulative[-1]
    blocks = _find(cumulative, targets)
    targets -= cumulative[blocks] - sums[blocks]
    return blocks, targets


def draw_in_block(weights: Array, target: float) -> int:
    """Return the index of the weight of a block that a target hits."""
    inside = np.cumsum(weights, dtype=np.float64)
    return int(_find(inside, np.array([target]))[0])


def _find(cumulative: Array, targets: Array) -> Array:
    """Return where the targets lie; never in a step of height 0, for side="right" skips these.

    A target that rounding took to the end or past it belongs to the last step that has a height.
    """
    last = np.searchsorted(cumulative, cumulative[-1])
    found: Array = np.minimum(np.searchsorted(cumulative, targets, side="right"), last)
    return found
