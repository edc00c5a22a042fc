"""Several Lloyd runs over the same points: see the reference of the same name.

What changed against one assignment after the other: the points are packed once; a block of them
stays in cache for all runs; an assignment that can be proved is not made (bounds.py); the sums
follow the labels that change (sums.py); and the inertia comes from the sums, with T the
scatter of all points around a point m amid them:

    Σ_i |x_i − c_{l_i}|² = T − 2 Σ_j ⟨c_j − m, s_j − n_j m⟩ + Σ_j n_j |c_j − m|²

in float64, so no distance is ever written. Where it is nearly 0 the distances are summed instead.

Every number is bit-equal whatever the number of threads.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.barrier import run_team
from l2ae_kernels.cpu.kmeans import bounds, short, sums
from l2ae_kernels.cpu.kmeans.assign import assign, is_short
from l2ae_kernels.cpu.kmeans.library import kernels
from l2ae_kernels.cpu.kmeans.lloyd import Iterations, Runs, iterate_short
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.numba.kmeans import read_only
from l2ae_kernels.cpu.threads import get_threads, in_ranges
from l2ae_kernels.reference import restarts as reference

AT_A_TIME = 1 << 31  # multiply-adds, some tens of milliseconds, before Ctrl-C is heard
CANCELLED = 1e-6  # of the scatter: a lower inertia would have lost ten digits of sixteen


class Restarts(reference.Restarts):
    """R runs over points x (n, d) float32 with k centers each."""

    nearest = staticmethod(assign)

    def __init__(self, x: Array, k: int, runs: int) -> None:
        x = read_only(x)
        super().__init__(x, k, runs)
        n, d = x.shape
        self.emitted = kernels()
        self.slots = get_threads()
        self.differences = sums.differences(x, k, runs, self.slots, self.largest)
        panels = -(-n // COLUMNS)
        self._labels = np.full((runs, panels * COLUMNS), -1, np.int32)  # whole panels
        self.labels = self._labels[:, :n]
        self.short = is_short(d, k)
        if self.short:
            self.panels = np.empty((panels, d, COLUMNS), x.dtype)
            in_ranges(short.pack_panels, panels, 4 * x.size, x, self.panels)
        else:
            G = bounds.group_count(k)
            self.chunk = bounds.chunk_points(d, G, self.emitted.rows)
            self.before = np.zeros((runs, k, d), x.dtype)  # the centers that the bounds are of
            self.packed = np.empty((runs, G, d, COLUMNS), x.dtype)
            self.bounds = bounds.Bounds(
                self._labels,
                np.full((runs, n), np.inf, x.dtype),
                np.full((runs, n, G), -np.inf, x.dtype),
            )

    def _survey(self) -> None:
        """Find the largest size, a point m amid the points of x (n, d), and Σ |x_i − m|².

        One pass; the same bits whatever the number of threads, since blocks are added in order.
        """
        x, blocks = self.x, -(-len(self.x) // sums.BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):  # of x that are not finite
            self.middle = x[: sums.BLOCK].mean(axis=0, dtype=np.float64)
        middles = np.tile(self.middle, max(1, sums.BLOCK // x.shape[1]))
        largest, scatter = np.zeros(blocks, np.int32), np.zeros(blocks)
        arguments = x, x.view(np.int32), middles, largest, scatter
        in_ranges(sums.survey_blocks, blocks, 4 * x.size, *arguments)
        self.largest = float(largest.max(initial=0).view(np.float32))
        self.scatter = float(scatter.sum())

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n points, at most."""
        return 4 * n * (2 + bounds.group_count(k))

    def assign(self, which: list[int]) -> None:
        """Assign every point to its nearest center, in the runs `which`; ties take the first."""
        self._require_runs(which)
        runs = np.array(which, np.int64)
        x, centers = self.x, self.centers
        work = 2 * x.size * centers.shape[1] * len(runs)
        if self.short:
            points = self.emitted, x, self.panels, runs, centers, self._labels
            in_ranges(short.pass_short, self.slots, work, *points, self.differences)
        else:
            moved = bounds.moved_centers(centers, self.before, self.packed, runs)
            arguments = self.emitted, self.chunk, x, runs, moved, self.bounds, self.differences
            in_ranges(bounds.pass_long, self.slots, work, *arguments)
        sums.add_up(runs, self.differences, self.sums, self.counts, self.changed)
        for r in which:
            self.inertia[r] = self._inertia(r)

    def run_ahead(
        self, which: list[int], at_most: list[int], shift: float, spherical: bool
    ) -> list[tuple[list[float], float]] | None:
        """See the reference; short points need no step in Python between two iterations.

        All come back where one has to. Not for a shift, unit centers or a cluster that stays empty.
        """
        self._require_runs(which)
        if not self.short or shift > 0 or spherical or self.counts[which].min() == 0:
            return None
        work = 2 * self.x.size * self.centers.shape[1] * len(which)
        most = max(1, min(*at_most, AT_A_TIME // work)) if work else 1
        found = Iterations.of(most, len(which))
        runs = Runs(self.centers, self._labels, self.sums, self.counts, self.changed, self.middle,
                    self.scatter, CANCELLED * self.scatter)  # fmt: skip
        points = self.emitted, self.x, self.panels, np.array(which, np.int64)
        run_team(iterate_short, self.slots, *points, runs, self.differences, found)
        for i, r in enumerate(which):
            self.inertia[r] = self._checked(r, float(found.inertias[found.made[0] - 1, i]))
        found.inertias[found.made[0] - 1] = self.inertia[which]
        inertias = found.inertias[: found.made[0]].T.tolist()
        return list(zip(inertias, found.moved.tolist(), strict=True))

    def _inertia(self, r: int) -> float:
        state = self.centers[r], self.sums[r], self.counts[r]
        return self._checked(r, self.scatter + sums.inertia_around(self.middle, *state))

    def _checked(self, r: int, inertia: float) -> float:
        """Sum up the distances where the inertia is too small beside the scatter to be exact."""
        if inertia < CANCELLED * self.scatter:
            inertia = float(assign(self.x, self.centers[r])[1].sum(dtype=np.float64))
        return inertia

    def forget(self) -> None:
        """Let every run start anew, from other centers."""
        self.labels[:], self.sums[:], self.counts[:] = -1, 0, 0
        if not self.short:
            self.bounds.upper[:], self.bounds.lower[:] = np.inf, -np.inf

    def adopt(self, r: int, labels: Array, distances: Array) -> None:
        """Take labels (n,) and squared distances (n,) of an assignment of run r made elsewhere."""
        self._require_assignment(r, labels, distances)
        to, runs = self.differences, np.array([r])
        for part in (to.sums, to.counts, to.changed):
            part[:, r] = 0
        changed = self.changed.copy()  # it counts the labels of an assignment
        moves = np.empty((3, len(labels)), np.int32)
        sums.settle(self.emitted.move, self.x, labels, self._labels[r], moves, to, 0, r)
        sums.add_up(runs, to, self.sums, self.counts, changed)
        self.inertia[r] = distances.sum(dtype=np.float64)
        if not self.short:
            self.bounds.upper[r], self.bounds.lower[r] = np.inf, -np.inf

    def lower(self, points: Array, nearest: Array, keep: bool) -> Array:
        """See the reference; for short points no distance leaves the first-level cache."""
        if not self.short:
            return super().lower(points, nearest, keep)
        self._require_start(points, nearest)
        left = np.empty((*points.shape[:2], -(-len(self.x) // reference.BLOCK)))
        arguments = self.emitted.short_all, self.panels, read_only(points), nearest, left, keep
        work = 2 * self.x.size * points.shape[0] * points.shape[1]
        in_ranges(short.lower_short, left.shape[2], work, *arguments)
        return left

    def distances(self, points: Array) -> Array:
        """Return the squared distances (m, n) of m points (m, d) to all of x, in one pass."""
        self._require("points", points, (len(points), self.x.shape[1]), self.x.dtype)
        out = np.empty((len(points), len(self.x)), self.x.dtype)
        points, work = read_only(points), 2 * self.x.size * len(points)
        if self.short:
            arguments = self.emitted.short_all, self.panels, points, out
            in_ranges(short.distances_short, len(self.panels), work, *arguments)
        else:
            packed = np.empty(
                (bounds.group_count(len(points)), points.shape[1], COLUMNS), out.dtype
            )
            bounds.pack_groups(points, packed)
            chunks = -(-len(self.x) // self.chunk)
            rows = self.emitted.rows
            long = self.emitted.long_all, rows, self.chunk, self.x, packed, out
            in_ranges(bounds.distances_long, chunks, work, *long)
        return out
