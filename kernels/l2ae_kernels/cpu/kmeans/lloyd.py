"""Lloyd's iterations over short samples without a step in Python, by a thread team.

What changed against a call a pass: a pass over 70,000 samples of 10 features takes 40 µs on two
cores, and to return to Python, to move ten centers there and to start the next pass takes longer
than that. So a team runs many iterations. Between two passes one of its threads adds up the sums
and moves the centers to the means, while the others wait at a barrier (barrier.py).

The kernel returns as soon as there is something to decide: a run whose labels no longer change,
an empty cluster, an inertia that cancelled, or enough iterations for the caller to hear Ctrl-C.

Reads and writes: those of a pass, and 2·k·d numbers between two.
"""

from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.barrier import Barrier, wait
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.library import Kernels
from l2ae_kernels.cpu.kmeans.short import FIRST, pass_short
from l2ae_kernels.cpu.kmeans.sums import Differences, add_up, inertia_around


class Runs(NamedTuple):
    """What the runs of a `Restarts` hold, and where the samples are measured from."""

    centers: Array  # (R, k, d)
    labels: Array  # (R, n or more) int32
    sums: Array  # (R, k, d) float64
    counts: Array  # (R, k) int64
    changed: Array  # (R,) int64
    largest: float  # max |x|
    middle: Array  # (d,) float64, amid the samples
    scatter: float  # Σ |x_i − middle|²
    cancelled: float  # an inertia below this has lost too many digits


class Iterations(NamedTuple):
    """What a team writes: inertias (most, runs), made (2,): how many, and whether it has ended;
    moved (runs,): Σ_j |c_j' − c_j|² of the last."""

    inertias: Array
    made: Array
    moved: Array

    @classmethod
    def of(cls, most: int, runs: int) -> "Iterations":
        """Return a workspace for at most so many iterations."""
        return cls(np.empty((most, runs)), np.zeros(2, np.int64), np.zeros(runs))


@jit()
def iterate_short(
    kernels: Kernels, x: Array, panels: Array, active: Array, runs: Runs, to: Differences,
    found: Iterations, barrier: Barrier, first: int, last: int,
) -> None:  # fmt: skip
    """Slots first … last − 1, in a team: iterations of the runs `active` until one has to end."""
    most, leads = len(found.inertias), first == 0
    for iteration in range(most):
        if leads:
            for i, r in enumerate(active):
                found.moved[i] = _move_to_means(runs.centers[r], runs.sums[r], runs.counts[r])
        if not wait(barrier):
            return
        pass_short(
            kernels, x, panels, FIRST, active, runs.centers, runs.labels, runs.largest, to, first,
            last,
        )  # fmt: skip
        if not wait(barrier):
            return
        if leads:
            add_up(active, to, runs.sums, runs.counts, runs.changed)
            found.made[0] = iteration + 1
            if _needs_a_decision(active, runs, found.inertias[iteration]) or iteration + 1 == most:
                found.made[1] = 1
        if not wait(barrier) or found.made[1]:
            return


@jit()
def _move_to_means(centers: Array, sums: Array, counts: Array) -> float:
    """Move centers (k, d) to the means and return Σ_j |c_j' − c_j|²."""
    k, d = centers.shape
    moved = 0.0
    for j in range(k):
        for f in range(d):
            before = np.float64(centers[j, f])
            centers[j, f] = sums[j, f] / counts[j]
            moved += (np.float64(centers[j, f]) - before) ** 2
    return moved


@jit()
def _needs_a_decision(active: Array, runs: Runs, inertias: Array) -> bool:
    """Write the inertia of every run, and tell whether the caller has to look at one of them."""
    decide = False
    for i, r in enumerate(active):
        around = inertia_around(runs.middle, runs.centers[r], runs.sums[r], runs.counts[r])
        inertias[i] = runs.scatter + around
        decide |= runs.changed[r] == 0 or runs.counts[r].min() == 0
        decide |= inertias[i] < runs.cancelled
    return decide
