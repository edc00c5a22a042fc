"""Several Lloyd runs over the samples of a Dask array: see the reference of the same name.

What changed against samples in memory: x stays where its chunks are, and so do labels and squared
distances, 4 bytes each a sample and run. A pass sends the centers to all chunks, and from each come
sums, counts and how many labels are new. They are put together in the order of the chunks, so the
numbers are those of the rung that takes x in memory, bit for bit: the chunks decide on none, nor do
the workers.

To start a run takes more: of each candidate the potentials, 8 bytes for 512 samples.
"""

from dataclasses import dataclass, replace

import dask.array as da
import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.kmeans.restarts import CANCELLED
from l2ae_kernels.cpu.kmeans.sums import inertia_around, rounding_constant
from l2ae_kernels.dask import ordered, passes
from l2ae_kernels.dask.chunks import Chunks, aligned
from l2ae_kernels.dask.numpy_sums import sum_of_pieces
from l2ae_kernels.dask.passes import Change, Hit, Plan
from l2ae_kernels.dask.tasks import Task, compute, value
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.reference.restarts import BLOCK, draw_blocks


class Restarts(reference.Restarts):
    """R runs over samples x (n, d) of a Dask array."""

    def __init__(self, x: da.Array, k: int, runs: int) -> None:
        x = aligned("restarts", x)
        vectors = get_vectors() if x.dtype == np.float32 else None
        self.chunks = Chunks(x, "none" if vectors is None else vectors.name)
        self.plan = Plan(len(x), k, vectors is not None)
        # Of each run: the tasks of its last assignment, and which row of their labels is its own.
        self._found: list[tuple[list[Task], int] | None] = [None] * runs
        super().__init__(x, k, runs)

    def _no_labels(self, runs: int, n: int) -> Array:
        return np.empty((runs, 0), np.int32)  # they stay where the chunks are

    def _find_max_abs(self) -> None:
        """Find max |x|, a sample m amid those of x, and Σ |x_i − m|²."""
        middle = self.chunks.task(0, passes.middle)
        measured = self.chunks.map(passes.measure, self._all(middle), plan=self.plan)
        self.middle, *found = compute([middle, *measured])
        self.max_abs = float(np.max([most for most, _ in found]))
        self.scatter = float(np.concatenate([blocks for _, blocks in found]).sum())
        if self.plan.emitted:
            constant = rounding_constant(self.plan.n, self.max_abs)
            self.plan = replace(self.plan, constant=constant)

    def reset(self) -> None:
        """Let every run begin anew, from other centers."""
        self._found = [None] * len(self._found)

    def rows(self, rows: Array) -> Array:
        """Return rows of x (m, d), in memory."""
        at = self.chunks.holding(rows)
        tasks = [self.chunks.task(p, passes.rows_of, rows=rows[at == p]) for p in np.unique(at)]
        found = compute(tasks)
        out = np.empty((len(rows), self.x.shape[1]), self.x.dtype)
        for p, part_of in zip(np.unique(at), found, strict=True):
            out[at == p] = part_of
        return out

    # --- the start of a run

    def init_centers(self, first: Array, draws: Array) -> Array:
        """See the reference, whose steps these are; distances stay where the chunks are."""
        R, k = len(first), self.centers.shape[1]
        runs = np.arange(R)
        nearest: list[Task | None] = [None] * len(self.chunks)
        stuck = np.full(R, -1)
        candidates = self.rows(first)[:, None]  # (R, 1, d)
        for j in range(k):
            potentials = self._potentials(candidates, nearest)
            best = potentials.sum(axis=2).argmin(axis=1)
            self.centers[runs, j] = candidates[runs, best]
            if j + 1 < k:
                potentials = potentials[runs, best]  # (R, blocks)
                stuck[(potentials.sum(axis=1) == 0) & (stuck < 0)] = j
                nearest, candidates = self._draw(
                    nearest, self.centers[runs, j : j + 1], potentials, draws[:, j]
                )
        return stuck

    def _potentials(self, candidates: Array, nearest: list[Task | None]) -> Array:
        """Return the potentials (R, m, blocks) of candidates (R, m, d)."""
        sent = self._all(value(candidates))
        tasks = self.chunks.map(passes.potentials, nearest, sent, plan=self.plan)
        return np.concatenate(compute(tasks), axis=2)

    def _draw(
        self, nearest: list[Task | None], centers: Array, potentials: Array, draws: Array
    ) -> tuple[list[Task | None], Array]:
        """Take centers (R, 1, d); return the distances after it, and candidates (R, m, d) drawn.

        potentials (R, blocks) are those of the centers.
        """
        hits: list[list[Hit]] = [[] for _ in range(len(self.chunks))]
        for r, (weights, numbers) in enumerate(zip(potentials, draws, strict=True)):
            blocks, targets = draw_blocks(weights, numbers)
            at = self.chunks.holding(blocks * BLOCK).tolist()
            for c, (p, block, target) in enumerate(zip(at, blocks, targets, strict=True)):
                hits[p].append(Hit(r, c, int(block), float(target)))
        sent = self._all(value(centers))
        after = self.chunks.map(passes.nearest_after, nearest, sent, plan=self.plan)
        tasks = [
            self.chunks.task(p, passes.draw, after[p], hits=here)
            for p, here in enumerate(hits)
            if here
        ]
        drawn = compute(tasks, after)
        candidates = np.repeat(centers, draws.shape[1], axis=1)  # of a run that is stuck
        for run, candidate, sample in (one for found in drawn for one in found):
            candidates[run, candidate] = sample
        return list(after), candidates

    # --- a pass

    def assign(self, active: list[int]) -> None:
        """Assign every sample to its nearest center, in the active runs; ties take the first."""
        self._require_runs(active)
        runs = self._pass(active, with_distances=not self.plan.emitted)
        for r, run in zip(active, runs, strict=True):
            self._adopt(r, run)
            if self.plan.emitted:
                state = self.centers[r], run.sums, run.counts
                self.inertia[r] = self.scatter + inertia_around(self.middle, *state)
                if self.inertia[r] < CANCELLED * self.scatter:
                    (exact,) = self._pass([r], with_distances=True)
                    self.inertia[r] = exact.inertia

    def fill(self, r: int, limit: float) -> None:
        """Move the empty clusters of run r, one after the other, each to the farthest sample.

        Until none is empty, or no squared distance is above `limit`. An assignment follows each
        move, and is the one that a pass which only looks at the moved center would find.
        """
        (run,) = self._pass([r], with_distances=True)
        before = run
        while run.counts.min() == 0 and run.farthest[0] > limit:
            self.centers[r, run.counts.argmin()] = self.rows(np.array([run.farthest[1]]))[0]
            (run,) = self._pass([r], with_distances=True)
        if run is not before:
            self._adopt(r, run)
            self.changed[r] = self.plan.n  # or fewer; but this run goes on

    def _adopt(self, r: int, run: "_Run") -> None:
        self.sums[r], self.counts[r], self.changed[r] = run.sums, run.counts, run.changed
        self.inertia[r], self._found[r] = run.inertia, run.found

    def _pass(self, active: list[int], with_distances: bool) -> list["_Run"]:
        """Assign every sample in the active runs; return what was found in each."""
        chunks, plan = self.chunks, self.plan
        sent = self._all(value(self.centers[active]))
        found = chunks.map(passes.assign_chunk, sent, plan=plan, with_distances=with_distances)
        before = [self._found[r] for r in active]
        rows = [0 if old is None else old[1] for old in before]
        changes = [
            Task(passes.compare, one, *(old and old[0][p] for old in before), rows=rows)
            for p, one in enumerate(found)
        ]
        by_block = [] if plan.emitted else ordered.sum_tasks(chunks, found, plan)
        here = compute([*changes, *by_block], found)
        come: list[Change] = here[: len(changes)]
        if plan.emitted:
            exact = [change.sums for change in come if change.sums is not None]
            sums: Array = np.sum(exact, axis=0)
        else:
            sums = ordered.total(here[len(changes) :])
        return [
            _Run(
                changed=sum(int(change.changed[i]) for change in come),
                sums=sums[i],
                counts=np.sum([change.counts[i] for change in come], axis=0),
                inertia=self._sum_of_distances(come, i) if with_distances else 0.0,
                farthest=_farthest(come, i) if with_distances else (0.0, 0),
                found=(found, i),
            )
            for i in range(len(active))
        ]

    def _all(self, task: Task) -> list[Task]:
        """Return a task that all chunks take."""
        return [task] * len(self.chunks)

    def _sum_of_distances(self, come: list[Change], i: int) -> float:
        pieces = [change.distances[i] for change in come if change.distances is not None]
        return sum_of_pieces(pieces, self.plan.n, self.x.dtype)


@dataclass(frozen=True, eq=False)
class _Run:
    """What a pass found in a run; inertia and farthest only with distances."""

    changed: int
    sums: Array  # (k, d) float64
    counts: Array  # (k,) int64
    inertia: float  # Σ of the squared distances
    farthest: tuple[float, int]  # the largest squared distance, and the first row that has it
    found: tuple[list[Task], int]  # the tasks that hold the labels, and in which row


def _farthest(come: list[Change], i: int) -> tuple[float, int]:
    each = [change.farthest[i] for change in come if change.farthest is not None]
    return max(each, key=lambda pair: pair[0])  # the first of equals
