"""Several Lloyd runs over samples that are read a part at a time: see the reference.

What changed against samples in memory: a pass takes x part by part, where it lies; short samples
are packed a block at a time, for all active runs; and only as many samples have bounds as fit the
memory. Beside x there are 4 bytes a sample and run: its label, and before that its distance in
k-means++. More runs share the packing, and none has to be the fastest.

The numbers are those of samples in memory, bit for bit: a label belongs to a sample, exact sums do
not mind in which part it is, and the other sums are of fixed blocks of samples, in order.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.kmeans import restarts
from l2ae_kernels.cpu.kmeans.assign import assign, is_short
from l2ae_kernels.cpu.kmeans.bounds import group_count
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.numba import kmeans as blocked
from l2ae_kernels.cpu.numba.kmeans import read_only
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.reference.restarts import Iterated
from l2ae_kernels.samples import BLOCK, PartedSamples

MEMORY = 1 << 25  # bytes that runs side by side may always take
MOST = 1 << 29  # bytes that they may take in all, where one does not take more
AT_A_TIME = 64 * BLOCK  # samples whose distances to all candidates are kept
LABEL = 4  # bytes; as many as a float32


def memory_for_runs(x: PartedSamples) -> int:
    """Return the bytes that runs over x may take: with the labels returned, about half of x."""
    return MEMORY + max(0, min(MOST - MEMORY, x.nbytes // 2 - LABEL * len(x)))


def nearest_of_parts(
    assign_part: Callable[[Array, Array], tuple[Array, Array]], x: PartedSamples, centers: Array
) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,)."""
    labels, distances = np.empty(len(x), np.int32), np.empty(len(x), x.dtype)
    for at, part in x.parts():
        here = slice(at, at + len(part))
        labels[here], distances[here] = assign_part(part, centers)
    return labels, distances


class _Parts(reference.Restarts):
    """What both rungs do part by part. Labels and distances are the only arrays of all samples."""

    x: PartedSamples  # type: ignore[assignment]
    assign_part: ClassVar[Callable[..., tuple[Array, Array]]]

    def _move_to_farthest(self, j: int, centers: Array, labels: Array, distances: Array) -> None:
        """See the reference."""
        centers[j] = self.x[int(distances.argmax())]
        for at, part in self.x.parts():
            own, near = (a[at : at + len(part)] for a in (labels, distances))
            to_j = self.assign_part(part, centers[j : j + 1])[1]
            nearer = (to_j < near) | ((to_j == near) & (own > j))  # ties: the lowest index
            own[nearer] = j
            near[nearer] = to_j[nearer]


class Restarts(_Parts, restarts.Restarts):
    """R runs over parts of float32 samples x (n, d) with k centers each."""

    assign_part = staticmethod(assign)
    nearest_centers = staticmethod(partial(nearest_of_parts, assign))

    @classmethod
    def runs_together(cls, x: PartedSamples, k: int) -> int:  # type: ignore[override]
        """Return how many runs share a pass over x, one at least."""
        n, d = x.shape
        each = LABEL * n * (1 if is_short(d, k) else 2 + group_count(k))
        return max(1, memory_for_runs(x) // each)

    @staticmethod
    def _readable(x: PartedSamples) -> PartedSamples:  # type: ignore[override]
        return x

    def parts(self) -> Iterator[tuple[int, Array]]:
        """Yield the samples part by part, each with the number of its first one."""
        for at, x in self.x.parts():
            yield at, read_only(x)

    def _packed(self) -> Array:
        return np.empty((0, self.x.shape[1], COLUMNS), self.x.dtype)

    def _bounded(self) -> int:
        runs, k, _ = self.centers.shape
        memory = memory_for_runs(self.x) - self._labels.nbytes
        most = max(0, memory) // (LABEL * runs * (1 + group_count(k)))
        return min(len(self.x), most // BLOCK * BLOCK)

    def init_centers(self, first: Array, draws: Array) -> Array:
        """See the reference; the distances lie where the labels will."""
        stuck = super().init_centers(first, draws)
        self._labels[:] = -1
        return stuck

    def _infinite_distances(self, runs: int, n: int) -> Array:
        nearest: Array = self._labels.view(self.x.dtype).reshape(-1)[: runs * n].reshape(runs, n)
        nearest[:] = np.inf
        return nearest

    def iterate(
        self, active: list[int], remaining: list[int], shift: float, spherical: bool
    ) -> list[Iterated]:
        """See the reference: one iteration."""
        return reference.Restarts.iterate(self, active, remaining, shift, spherical)


class Blocked(_Parts, blocked.Restarts):
    """R runs over parts of samples x (n, d) whose sums depend on the order of the additions."""

    assign_part = staticmethod(blocked.assign)
    nearest_centers = staticmethod(partial(nearest_of_parts, blocked.assign))

    @staticmethod
    def update(x: PartedSamples, labels: Array, k: int) -> tuple[Array, Array]:  # type: ignore[override]
        """Return sums float64 (k, d) and counts int64 (k,)."""
        sums, counts = blocked.private_sums(len(x), x.shape[1], k)
        for at, here in x.parts():
            blocked.update_part(here, labels[at : at + len(here)], at, len(x), sums, counts)
        return sums.sum(axis=0), counts.sum(axis=0)

    @classmethod
    def runs_together(cls, x: PartedSamples, k: int) -> int:  # type: ignore[override]
        """Return how many runs share a pass over x, one at least."""
        each = (LABEL + x.dtype.itemsize) * len(x)  # a label, and a distance
        return max(1, memory_for_runs(x) // each)

    def _find_max_abs(self) -> None:
        extremes = [(x.max(), -x.min()) for _, x in self.x.parts()]
        self.max_abs = float(np.max(extremes))  # NaN if one of them is

    def assign(self, active: list[int]) -> None:
        """Assign every sample to its nearest center, in the runs `active`; ties take the first."""
        self._require_runs(active)
        n, k = len(self.x), self.centers.shape[1]
        distances = np.empty((len(active), n), self.x.dtype)
        private = [blocked.private_sums(n, self.x.shape[1], k) for _ in active]
        self.changed[active] = 0
        for at, x in self.x.parts():
            here = slice(at, at + len(x))
            for i, r in enumerate(active):
                labels, distances[i, here] = blocked.assign(x, self.centers[r])
                self.changed[r] += np.count_nonzero(labels != self.labels[r, here])
                self.labels[r, here] = labels
                blocked.update_part(x, labels, at, n, *private[i])
        for i, r in enumerate(active):
            self.sums[r], self.counts[r] = (a.sum(axis=0) for a in private[i])
            self.inertia[r] = distances[i].sum(dtype=np.float64)

    def min_sq_distances(self, candidates: Array, nearest: Array, keep: bool) -> Array:
        """See the reference."""
        R, m, _ = self._require_candidates(candidates, nearest)
        potentials = []
        for at, part in self.x.parts():
            for start in range(0, len(part), AT_A_TIME):
                x, first = part[start : start + AT_A_TIME], at + start
                lower = np.empty((R, m, len(x)), x.dtype)
                for r, c in np.ndindex(R, m):
                    lower[r, c] = blocked.assign(x, candidates[r, c, None])[1]
                near = nearest[:, first : first + len(x)]
                potentials.append(reference.potentials_of(lower, near, keep))
        return np.concatenate(potentials, axis=2)
