"""Several Lloyd runs over the samples of a Dask array: see the reference of the same name.

What changed against samples in memory: x stays where its chunks are. A pass sends the centers to
all chunks, and from each come sums and counts, which are put together in the order of the chunks.
So the numbers are those of the rung that takes x in memory, bit for bit: the chunks decide on none,
nor do the workers.

No labels are kept, neither here nor there: a chunk and the centers say what they are. Whether any
has changed, sums and counts tell. For Σ_i |x_i − c_{l_i}|² depends on labels l through these alone:
labels with equal ones are both nearest, for the centers before and now. They could differ where
distances are equal, but there both are the lowest index. (Were they to differ by rounding, the next
iteration, which a run then lacks, would have the same centers, labels and inertia.)

To start a run takes more: squared distances, those before and after a center is taken, stay where
the chunks are, and of each candidate come the potentials, 8 bytes for 512 samples. So many runs
are side by side that these distances take no more memory than x does. What comes from the chunks
in a pass is added up on the way where it would take more than COMING here.
"""

from dataclasses import dataclass, replace

import dask.array as da
import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import Vectors, get_vectors
from l2ae_kernels.cpu.kmeans.restarts import CANCELLED
from l2ae_kernels.cpu.kmeans.sums import inertia_around, rounding_constant
from l2ae_kernels.cpu.numba.kmeans import block_count
from l2ae_kernels.dask import ordered, passes
from l2ae_kernels.dask.chunks import Chunks, aligned
from l2ae_kernels.dask.numpy_sums import sum_of_pieces
from l2ae_kernels.dask.passes import Hit, Plan
from l2ae_kernels.dask.tasks import Task, compute
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.reference.restarts import BLOCK, MEMORY, draw_blocks

COMING = 1 << 26  # bytes of sums that come here in a pass, about, however many chunks there are
TOGETHER = 8  # neighbours whose sums are added up on a worker


class Restarts(reference.Restarts):
    """R runs over samples x (n, d) of a Dask array."""

    def __init__(self, x: da.Array, k: int, runs: int) -> None:
        x = aligned("restarts", x)
        vectors = _vectors(x)
        self.chunks = Chunks(x, "none" if vectors is None else vectors.name)
        self.plan = Plan(len(x), k, vectors is not None)
        super().__init__(x, k, runs)

    @classmethod
    def runs_together(cls, x: Array, k: int) -> int:
        """Return how many runs share a pass over x, one at least."""
        n, d = x.shape
        distances = 2 * n * x.dtype.itemsize  # of a run, before and after
        sums = 8 * k * d * (1 if _vectors(x) else 2 * block_count(n, k))
        together: int = min(int(max(MEMORY, x.nbytes) // distances), COMING // sums)
        return max(1, together)

    def _no_labels(self, runs: int, n: int) -> Array:
        return np.empty((runs, 0), np.int32)  # centers and chunks say what they are

    def _find_max_abs(self) -> None:
        """Find max |x|, a sample m amid those of x, and Σ |x_i − m|²."""
        (self.middle,) = compute([self.chunks.task(0, passes.middle)])
        sent = self._all(self.middle)
        found = compute(self.chunks.map(passes.measure, sent, plan=self.plan))
        self.max_abs = float(np.max([most for most, _ in found]))
        self.scatter = float(np.concatenate([blocks for _, blocks in found]).sum())
        if self.plan.emitted:
            constant = rounding_constant(self.plan.n, self.max_abs)
            self.plan = replace(self.plan, constant=constant)

    def reset(self) -> None:
        """Let every run begin anew, from other centers."""
        self.counts[:] = 0  # which no assignment has

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
        sent = self._all(candidates)
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
        sent = self._all(centers)
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
        """Assign every sample to its nearest center, in the active runs; ties take the first.

        `changed` is n where labels are new: how many they are, nobody has counted.
        """
        self._require_runs(active)
        runs = self._pass(active, with_distances=not self.plan.emitted)
        for r, run in zip(active, runs, strict=True):
            self._adopt(r, run)
            if self.plan.emitted:
                self.inertia[r] = self._inertia(r)

    def fill(self, r: int, limit: float) -> None:
        """Move the empty clusters of run r, one after the other, each to the farthest sample.

        Until none is empty, or no squared distance is above `limit`. An assignment follows each
        move, and is the one that a pass which only looks at the moved center would find.
        """
        (run,) = self._pass([r], with_distances=True)
        while run.counts.min() == 0 and run.farthest[0] > limit:
            self.centers[r, run.counts.argmin()] = self.rows(np.array([run.farthest[1]]))[0]
            (run,) = self._pass([r], with_distances=True)
            self._adopt(r, run)

    def _adopt(self, r: int, run: "_Run") -> None:
        same = np.array_equal(run.counts, self.counts[r]) and np.array_equal(run.sums, self.sums[r])
        self.changed[r] = 0 if same else self.plan.n
        self.sums[r], self.counts[r], self.inertia[r] = run.sums, run.counts, run.inertia

    def _inertia(self, r: int) -> float:
        """Return the inertia of a run from its sums; see cpu/kmeans/restarts.py."""
        state = self.centers[r], self.sums[r], self.counts[r]
        inertia = float(self.scatter + inertia_around(self.middle, *state))
        if inertia < CANCELLED * self.scatter:
            return self._pass([r], with_distances=True)[0].inertia
        return inertia

    def _pass(self, active: list[int], with_distances: bool) -> list["_Run"]:
        """Assign every sample in the active runs; return what was found in each."""
        chunks, plan = self.chunks, self.plan
        sent = self._all(self.centers[active])
        tasks = chunks.map(passes.assign_chunk, sent, plan=plan, with_distances=with_distances)
        by_block: list[Task] = []
        if plan.emitted:
            tasks = self._added_up(tasks, len(active))
        else:
            by_block = ordered.sum_tasks(chunks, tasks, sent[0], plan.n, plan.k)
        come = compute([*tasks, *by_block])
        found = passes.add_up(*come[: len(tasks)])
        sums = ordered.total(come[len(tasks) :]) if found.sums is None else found.sums
        runs = [_Run(*of_run) for of_run in zip(sums, found.counts, strict=True)]
        if with_distances:
            for run, pieces, farthest in zip(runs, found.distances, found.farthest, strict=True):
                run.inertia = sum_of_pieces(pieces, plan.n, self.x.dtype)
                run.farthest = farthest
        return runs

    def _added_up(self, tasks: list[Task], runs: int) -> list[Task]:
        """Return tasks with what chunks have together, few enough for their sums to come here."""
        while len(tasks) > 1 and len(tasks) * runs * self.sums[0].nbytes > COMING:
            groups = range(0, len(tasks), TOGETHER)
            tasks = [Task(passes.add_up, *tasks[i : i + TOGETHER]) for i in groups]
        return tasks

    def _all(self, a: Array) -> list[Task | Array]:
        """Return for each chunk what its task takes for an array that is here."""
        return [self.chunks.send(a)] * len(self.chunks)


def _vectors(x: Array) -> Vectors | None:
    """Return what kernels are emitted for that take samples x, None where none are."""
    return get_vectors() if x.dtype == np.float32 else None


@dataclass(eq=False)
class _Run:
    """What a pass found in a run; inertia and farthest only with distances."""

    sums: Array  # (k, d) float64
    counts: Array  # (k,) int64
    inertia: float = 0.0  # Σ of the squared distances
    farthest: tuple[float, int] = (0.0, 0)  # the largest of them, and the first row that has it
