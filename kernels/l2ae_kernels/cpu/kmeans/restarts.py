"""Several Lloyd runs over the same samples: see the reference of the same name.

What changed against one assignment after the other: the samples are packed once; a block of them
stays in cache for all runs; an assignment that can be proved is not made (bounds.py); the sums
follow the labels that change (sums.py); and the inertia comes from the sums, with T the
scatter of all samples around a sample m amid them:

    Σ_i |x_i − c_{l_i}|² = T − 2 Σ_j ⟨c_j − m, s_j − n_j m⟩ + Σ_j n_j |c_j − m|²

in float64, so no distance is ever written. Where it is nearly 0 the distances are summed instead.

Every number is bit-equal whatever the number of threads.
"""

from collections.abc import Iterator

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.barrier import run_team
from l2ae_kernels.cpu.kmeans import bounds, part, short, sums
from l2ae_kernels.cpu.kmeans.assign import assign, is_short
from l2ae_kernels.cpu.kmeans.library import kernels
from l2ae_kernels.cpu.kmeans.lloyd import Iterations, Runs, iterate_short
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.numba.kmeans import read_only
from l2ae_kernels.cpu.threads import get_threads, in_ranges
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.reference.restarts import Iterated
from l2ae_kernels.samples import BLOCK

AT_A_TIME = 1 << 31  # multiply-adds, some tens of milliseconds, before Ctrl-C is heard
CANCELLED = 1e-6  # of the scatter: a lower inertia would have lost ten digits of sixteen


class Restarts(reference.Restarts):
    """R runs over samples x (n, d) float32 with k centers each."""

    nearest_centers = staticmethod(assign)
    takes_parts = True

    def __init__(self, x: Array, k: int, runs: int) -> None:
        super().__init__(self._readable(x), k, runs)
        n, d = x.shape
        self.emitted = kernels()
        self.slots = get_threads()
        constant = sums.rounding_constant(n, self.max_abs)
        self.differences = sums.differences(constant, d, k, runs, self.slots)
        self.short = is_short(d, k)
        if self.short:
            self.panels = self._packed()
        else:
            G = bounds.group_count(k)
            self.chunk = bounds.chunk_samples(d, G, self.emitted.rows)
            self.before = np.zeros((runs, k, d), x.dtype)  # the centers that the bounds are of
            self.packed = np.empty((runs, G, d, COLUMNS), x.dtype)
            bounded = self._bounded()
            self.bounds = bounds.Bounds(
                self._labels,
                np.full((runs, bounded), np.inf, x.dtype),
                np.full((runs, bounded, G), -np.inf, x.dtype),
            )

    _readable = staticmethod(read_only)

    def _no_labels(self, runs: int, n: int) -> Array:
        self._labels = short.in_lines((runs, -(-n // COLUMNS) * COLUMNS), np.int32)  # whole panels
        self._labels[:] = -1
        return self._labels[:, :n]

    def _packed(self) -> Array:
        """Return the samples as panels, or none of them: then every pass packs."""
        n, d = self.x.shape
        panels = short.in_lines((-(-n // COLUMNS), d, COLUMNS), self.x.dtype)
        in_ranges(short.pack_panels, len(panels), 4 * n * d, self.emitted.pack, self.x, panels)
        return panels

    def _bounded(self) -> int:
        """Return how many samples have bounds, the first ones."""
        return len(self.x)

    def parts(self) -> Iterator[tuple[int, Array]]:
        """Yield the samples part by part, each with the number of its first one."""
        yield 0, self.x

    def _find_max_abs(self) -> None:
        """Find max |x|, a point m amid the samples of x (n, d), and Σ |x_i − m|².

        One pass; the same bits whatever the number of threads, since blocks are added in order.
        """
        self.middle = part.middle_of(self.x[:BLOCK])
        found = [part.max_abs_and_scatter(x, self.middle) for _, x in self.parts()]
        largest, scatters = zip(*found, strict=True)
        self.max_abs = float(np.max(largest))  # NaN if one of them is
        self.scatter = float(np.concatenate(scatters).sum())

    @staticmethod
    def bytes_per_run(n: int, k: int) -> int:
        """Return how much memory a run takes for n samples, at most."""
        return 4 * n * (2 + bounds.group_count(k))

    def assign(self, active: list[int]) -> None:
        """Assign every sample to its nearest center, in the runs `active`; ties take the first."""
        self._require_runs(active)
        runs, to = np.array(active, np.int64), self.differences
        if not self.short:
            moved = bounds.moved_centers(self.centers, self.before, self.packed, runs)
        changed, new = np.zeros_like(self.changed), np.zeros_like(self.changed)
        for at, x in self.parts():
            work = 2 * x.size * self.centers.shape[1] * len(runs)
            if self.short:
                samples = self.emitted, x, self.panels, at, runs, self.centers, self._labels
                in_ranges(short.pass_short, self.slots, work, *samples, self.max_abs, to)
            else:
                arguments = self.emitted, self.chunk, x, at, runs, moved, self.bounds
                in_ranges(bounds.pass_long, self.slots, work, *arguments, to)
            sums.add_up(runs, to, self.sums, self.counts, new)
            changed += new
        self.changed[active] = changed[active]
        for r in active:
            self.inertia[r] = self._inertia(r)

    def iterate(
        self, active: list[int], remaining: list[int], shift: float, spherical: bool
    ) -> list[Iterated]:
        """See the reference; short samples need no step in Python between two iterations.

        The first run that ends makes all return. One iteration for long samples, a shift, unit
        centers, and a cluster that stays empty.
        """
        self._require_runs(active)
        if not self.short or shift > 0 or spherical or self.counts[active].min() == 0:
            return super().iterate(active, remaining, shift, spherical)
        work = 2 * self.x.size * self.centers.shape[1] * len(active)
        most = max(1, min(*remaining, AT_A_TIME // work)) if work else 1
        found = Iterations.of(most, len(active))
        runs = Runs(self.centers, self._labels, self.sums, self.counts, self.changed, self.max_abs,
                    self.middle, self.scatter, CANCELLED * self.scatter)  # fmt: skip
        samples = self.emitted, self.x, self.panels, np.array(active, np.int64)
        run_team(iterate_short, self.slots, *samples, runs, self.differences, found)
        for i, r in enumerate(active):
            self.inertia[r] = self._checked(r, float(found.inertias[found.made[0] - 1, i]))
        found.inertias[found.made[0] - 1] = self.inertia[active]
        inertias = found.inertias[: found.made[0]].T.tolist()
        return list(map(Iterated, inertias, found.moved.tolist()))

    def _inertia(self, r: int) -> float:
        state = self.centers[r], self.sums[r], self.counts[r]
        return self._checked(r, self.scatter + sums.inertia_around(self.middle, *state))

    def _checked(self, r: int, inertia: float) -> float:
        """Sum up the distances where the inertia is too small beside the scatter to be exact."""
        if inertia < CANCELLED * self.scatter:
            distances = self.nearest_centers(self.x, self.centers[r])[1]
            inertia = float(distances.sum(dtype=np.float64))
        return inertia

    def reset(self) -> None:
        """Let every run begin anew, from other centers."""
        self.labels[:], self.sums[:], self.counts[:] = -1, 0, 0
        if not self.short:
            self.bounds.upper[:], self.bounds.lower[:] = np.inf, -np.inf

    def apply_assignment(self, r: int, labels: Array, distances: Array) -> None:
        """Make labels (n,) and squared distances (n,) those of run r, as if it had found them."""
        self._require_assignment(r, labels, distances)
        to, runs = self.differences, np.array([r])
        changed = self.changed.copy()  # it counts the labels of an assignment
        for at, x in self.parts():
            for a in (to.sums, to.counts, to.changed):
                a[:, r] = 0
            old, new = (a[at : at + len(x)] for a in (self._labels[r], labels))
            moves = np.empty((3, len(x)), np.int32)
            sums.apply_assignment(self.emitted.move, x, new, old, moves, to, 0, r)
            sums.add_up(runs, to, self.sums, self.counts, changed)
        self.inertia[r] = distances.sum(dtype=np.float64)
        if not self.short:
            self.bounds.upper[r], self.bounds.lower[r] = np.inf, -np.inf

    def min_sq_distances(self, candidates: Array, nearest: Array, keep: bool) -> Array:
        """See the reference; for short samples no distance leaves the first-level cache."""
        R, m, d = self._require_candidates(candidates, nearest)
        potentials = np.empty((R, m, -(-len(self.x) // reference.BLOCK)))
        candidates = read_only(candidates)
        for at, x in self.parts():
            blocks = -(-len(x) // reference.BLOCK)
            if self.short:
                arguments = x, self.panels, at, candidates, nearest, potentials, keep
                work = 2 * x.size * R * m
                in_ranges(short.min_sq_distances, blocks, work, self.emitted, *arguments)
            else:
                lower = part.sq_distances(x, candidates.reshape(R * m, d)).reshape(R, m, -1)
                first, near = at // reference.BLOCK, nearest[:, at : at + len(x)]
                here = potentials[:, :, first : first + blocks]
                here[:] = reference.potentials_of(lower, near, keep)
        return potentials
