"""Several Lloyd runs over the same points, one assignment at a time: the specification.

Who owns what: the caller writes `centers`, the kernels write the rest. What the faster rungs may
keep between two assignments (packed points, bounds, sums that only change with a label) is their
own business: the numbers are those of this file.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.reference import kmeans


class Restarts:
    """R runs over points x (n, d) with k centers each.

    centers (R, k, d) are the caller's, in the dtype of x. An assignment writes, for its runs:
    labels (R, n) int32, −1 before the first; sums (R, k, d) float64 and counts (R, k) int64 of the
    points of each cluster; inertia (R,) float64; changed (R,), how many labels are new.
    """

    nearest = staticmethod(kmeans.assign)
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

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n points, about."""
        return 4 * n

    def assign(self, which: list[int]) -> None:
        """Assign every point to its nearest center, in the runs `which`; ties take the first."""
        for r in which:
            labels, distances = self.nearest(self.x, self.centers[r])
            self.changed[r] = np.count_nonzero(labels != self.labels[r])
            self.adopt(r, labels, distances)

    def forget(self) -> None:
        """Let every run start anew, from other centers."""
        self.labels[:] = -1

    def adopt(self, r: int, labels: Array, distances: Array) -> None:
        """Take labels (n,) and squared distances (n,) of an assignment of run r made elsewhere."""
        self.labels[r] = labels
        self.sums[r], self.counts[r] = self.total(self.x, labels, len(self.centers[r]))
        self.inertia[r] = distances.sum(dtype=np.float64)

    def distances(self, points: Array) -> Array:
        """Return the squared distances (m, n) of m points (m, d) to all of x, in the dtype of x."""
        out = np.empty((len(points), len(self.x)), self.x.dtype)
        for row, point in zip(out, points, strict=True):
            row[:] = self.nearest(self.x, point[None])[1]
        return out
