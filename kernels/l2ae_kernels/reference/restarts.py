"""Several Lloyd runs over the same points, one assignment at a time: the specification.

Who owns what: the caller writes `centers`, the kernels write the rest. What the faster rungs may
keep between two assignments (packed points, bounds, sums that only change with a label) is their
own business: the numbers are those of this file.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.reference import kmeans

BLOCK = 512  # points that are summed up apart in the start of a run


class Restarts:
    """R runs over points x (n, d) with k centers each.

    centers (R, k, d) are the caller's, in the dtype of x. An assignment writes, for its runs:
    labels (R, n) int32, −1 before the first; sums (R, k, d) float64 and counts (R, k) int64 of the
    points of each cluster; inertia (R,) float64; changed (R,), how many labels are new. `largest`
    is max |x|, and not finite where x holds NaN or infinity: then no number has a meaning.

    Every method raises ValueError for runs that do not exist and for arrays that do not fit. The
    arrays above stay where they are: write to them, never bind others.
    """

    largest: float

    nearest: ClassVar[Callable[..., tuple[Array, Array]]] = staticmethod(kmeans.assign)
    total = staticmethod(kmeans.update)

    def __init__(self, x: Array, k: int, runs: int) -> None:
        n, d = x.shape
        self.x = x
        self.centers = np.zeros((runs, k, d), x.dtype)
        self.labels = np.full((runs, n), -1, np.int32)
        self.sums = np.zeros((runs, k, d))
        self.counts = np.zeros((runs, k), np.int64)
        self.inertia = np.zeros(runs)
        self.changed = np.zeros(runs, np.int64)
        self._survey()

    def _survey(self) -> None:
        self.largest = float(np.maximum(self.x.max(initial=0), -self.x.min(initial=0)))

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n points, about."""
        return 4 * n

    def assign(self, which: list[int]) -> None:
        """Assign every point to its nearest center, in the runs `which`; ties take the first."""
        self._require_runs(which)
        for r in which:
            labels, distances = self.nearest(self.x, self.centers[r])
            self.changed[r] = np.count_nonzero(labels != self.labels[r])
            self.adopt(r, labels, distances)

    def run_ahead(
        self, which: list[int], at_most: list[int], shift: float, spherical: bool
    ) -> list[tuple[list[float], float]] | None:
        """Iterate the runs `which` without the caller; None: this one cannot, the caller does.

        A run ends where k-means ends it: after an iteration that changes no label, that moves the
        centers by Σ_j |c_j' − c_j|² <= shift, or that is its at_most-th; and where a cluster is
        empty. It may come back sooner, after one iteration or more. Returns the inertia of each
        iteration and how far the last moved, for each run; the rest is written as an assignment
        does, and the centers.
        """
        return None

    def forget(self) -> None:
        """Let every run start anew, from other centers."""
        self.labels[:] = -1

    def adopt(self, r: int, labels: Array, distances: Array) -> None:
        """Take labels (n,) and squared distances (n,) of an assignment of run r made elsewhere."""
        self._require_assignment(r, labels, distances)
        self.labels[r] = labels
        self.sums[r], self.counts[r] = self.total(self.x, labels, len(self.centers[r]))
        self.inertia[r] = distances.sum(dtype=np.float64)

    def distances(self, points: Array) -> Array:
        """Return the squared distances (m, n) of m points (m, d) to all of x, in the dtype of x."""
        self._require("points", points, (len(points), self.x.shape[1]), self.x.dtype)
        out = np.empty((len(points), len(self.x)), self.x.dtype)
        for row, point in zip(out, points, strict=True):
            row[:] = self.nearest(self.x, point[None])[1]
        return out

    def start(self, first: Array, draws: Array) -> Array:
        """Write starts to `centers` from what the host drew: of a device, see cuda/kmeans."""
        raise NotImplementedError

    def lower(self, points: Array, nearest: Array, keep: bool) -> Array:
        """Lower the squared distances `nearest` (R, n) of R runs to those of m points (R, m, d).

        Returns what would be left by each point, as sums over blocks of BLOCK points of x:
        (R, m, ⌈n / BLOCK⌉) float64. `nearest` only changes if `keep`, and becomes that of point 0.
        """
        R, m, d = self._require_start(points, nearest)
        left = self.distances(points.reshape(R * m, d)).reshape(R, m, -1)
        np.minimum(left, nearest[:, None], out=left)
        if keep:
            nearest[:] = left[:, 0]
        starts = np.arange(0, left.shape[2], BLOCK)
        sums: Array = np.add.reduceat(left, starts, axis=2, dtype=np.float64)
        return sums

    def _require_runs(self, which: Sequence[int]) -> None:
        runs = len(self.centers)
        if not 0 < len(set(which)) == len(which) or min(which) < 0 or max(which) >= runs:
            raise ValueError(
                f"Restarts: runs {which} but expected different ones of 0 … {runs - 1}"
            )

    def _require_assignment(self, r: int, labels: Array, distances: Array) -> None:
        self._require_runs([r])
        n, k = len(self.x), self.centers.shape[1]
        self._require("distances", distances, (n,), distances.dtype)
        self._require("labels", labels, (n,), np.dtype(np.int32))
        if not 0 <= int(labels.min()) <= int(labels.max()) < k:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"Restarts: labels span {found} but expected 0 to {k - 1}")

    def _require_start(self, points: Array, nearest: Array) -> tuple[int, int, int]:
        """Return (R, m, d) of points."""
        n, d = self.x.shape
        R, m = (*points.shape, 0, 0)[:2]
        self._require("points", points, (R, max(m, 1), d), self.x.dtype)
        self._require("nearest", nearest, (R, n), self.x.dtype)
        return R, m, d

    @staticmethod
    def _require(name: str, a: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if a.shape != shape or a.dtype != dtype:
            raise ValueError(
                f"Restarts: {name} is {a.shape} {a.dtype} but expected {shape} {dtype}"
            )
