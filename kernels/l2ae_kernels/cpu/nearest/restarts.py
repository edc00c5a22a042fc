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
from l2ae_kernels.cpu.kmeans import read_only
from l2ae_kernels.cpu.nearest import bounds, short
from l2ae_kernels.cpu.nearest.assign import assign, is_short
from l2ae_kernels.cpu.nearest.library import kernels
from l2ae_kernels.cpu.nearest.sums import BLOCK, padded, rounding_constant, settle, survey_blocks
from l2ae_kernels.cpu.nearest.tiles import COLUMNS
from l2ae_kernels.cpu.threads import get_threads, in_ranges
from l2ae_kernels.reference import restarts as reference

CANCELLED = 1e-6  # of the scatter: a lower inertia would have lost ten digits of sixteen


class Restarts(reference.Restarts):
    """R runs over points x (n, d) float32 with k centers each."""

    nearest = staticmethod(assign)

    def __init__(self, x: Array, k: int, runs: int) -> None:
        x = read_only(x)
        super().__init__(x, k, runs)
        n, d = x.shape
        self.emitted = kernels()
        largest, self.middle, self.scatter = _survey(x)
        self.constant = rounding_constant(n, largest)
        self.slots = get_threads()
        self.differences = (
            np.zeros((self.slots, runs, k, padded(d))),
            np.zeros((self.slots, *self.counts.shape), np.int64),
            np.zeros((self.slots, runs), np.int64),
        )
        self.short = is_short(d, k)
        if self.short:
            self.panels = np.empty((-(-n // COLUMNS), d, COLUMNS), x.dtype)
            in_ranges(short.pack_panels, len(self.panels), 4 * x.size, x, self.panels)
        else:
            G = bounds.group_count(k)
            self.chunk = bounds.chunk_points(d, self.emitted.rows)
            self.before = np.zeros((runs, k, d), x.dtype)  # the centers that the bounds are of
            self.packed = np.empty((runs, G, d, COLUMNS), x.dtype)
            self.upper = np.full((runs, n), np.inf, x.dtype)
            self.lower = np.full((runs, n, G), -np.inf, x.dtype)

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n points, at most."""
        return 4 * n * (2 + bounds.group_count(k))

    def assign(self, which: list[int]) -> None:
        """Assign every point to its nearest center, in the runs `which`; ties take the first."""
        runs = np.array(which, np.int64)
        work = 2 * self.x.size * self.centers.shape[1] * len(runs)
        if self.short:
            arguments = (
                self.emitted.short,
                self.emitted.move,
                self.x,
                self.panels,
                runs,
                self.centers,
                self.labels,
            )
            in_ranges(
                short.pass_short, self.slots, work, *arguments, self.constant, *self.differences
            )
        else:
            in_ranges(
                bounds.pass_long, self.slots, work, self.emitted.long, self.emitted.move,
                self.emitted.rows, self.chunk, self.x, runs, self.centers, self.packed,
                *self._moves(runs), self.labels, self.upper, self.lower,
                self.constant, *self.differences,
            )  # fmt: skip
        sums, counts, changed = self.differences
        d = self.x.shape[1]
        for r in which:
            self.sums[r] += sums[:, r, :, :d].sum(axis=0)  # exact, see sums.py
            self.counts[r] += counts[:, r].sum(axis=0)
            self.changed[r] = changed[:, r].sum()
            self.inertia[r] = self._inertia(r)

    def _moves(self, runs: Array) -> tuple[Array, Array]:
        """Pack the centers; return how far each moved, and the most in its group, rounded up."""
        R, k, _ = self.centers.shape
        G = self.packed.shape[1]
        moved = np.zeros((R, G * COLUMNS), np.float32)
        for r in runs:
            difference = self.centers[r].astype(np.float64) - self.before[r]
            moved[r, :k] = np.sqrt((difference**2).sum(axis=1)) * (1 + bounds.STEP)
            bounds.pack_groups(self.centers[r], self.packed[r])
            self.before[r] = self.centers[r]
        return moved, moved.reshape(R, G, COLUMNS).max(axis=2)

    def _inertia(self, r: int) -> float:
        centers = self.centers[r] - self.middle  # (k, d) float64
        counts = self.counts[r][:, None]
        inertia = self.scatter + float(
            (centers * (counts * centers - 2 * (self.sums[r] - counts * self.middle))).sum()
        )
        if inertia < CANCELLED * self.scatter:
            inertia = float(assign(self.x, self.centers[r])[1].sum(dtype=np.float64))
        return inertia

    def forget(self) -> None:
        """Let every run start anew, from other centers."""
        self.labels[:], self.sums[:], self.counts[:] = -1, 0, 0
        if not self.short:
            self.upper[:], self.lower[:] = np.inf, -np.inf

    def adopt(self, r: int, labels: Array, distances: Array) -> None:
        """Take labels (n,) and squared distances (n,) of an assignment of run r made elsewhere."""
        sums, counts, _ = self.differences
        sums[0, r], counts[0, r] = 0, 0
        moves = np.empty((3, len(labels)), np.int32)
        arguments = self.x, labels, self.labels[r], moves, self.constant
        settle(self.emitted.move, *arguments, sums[0, r], counts[0, r])
        self.sums[r] += sums[0, r, :, : self.x.shape[1]]
        self.counts[r] += counts[0, r]
        self.inertia[r] = distances.sum(dtype=np.float64)
        if not self.short:
            self.upper[r], self.lower[r] = np.inf, -np.inf

    def distances(self, points: Array) -> Array:
        """Return the squared distances (m, n) of m points (m, d) to all of x, in one pass."""
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


def _survey(x: Array) -> tuple[float, Array, float]:
    """Return max |x|, a point m (d,) amid the points of x (n, d), and Σ |x_i − m|² in float64.

    One pass; the same bits whatever the number of threads, since blocks are added in order.
    """
    middle = x[:BLOCK].mean(axis=0, dtype=np.float64)
    blocks = -(-len(x) // BLOCK)
    largest, scatter = np.zeros(blocks), np.zeros(blocks)
    in_ranges(survey_blocks, blocks, 4 * x.size, x, middle, largest, scatter)
    return float(largest.max(initial=0)), middle, float(scatter.sum())
