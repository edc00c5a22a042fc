"""Lloyd's iterations over short points without a step in Python, by a gang of threads.

What changed against a call a pass: a pass over 70,000 points of 10 features takes 40 µs on two
cores, and to come back to Python, to move ten centers there and to hand the next pass over takes
longer than that. So a gang stays for many iterations. Between two passes one of its threads adds up
the sums and moves the centers to the means, while the others wait at a barrier (gang.py).

The gang comes home as soon as there is something to decide: a run whose labels no longer change,
an empty cluster, an inertia that cancelled, or time for the caller to look around.

Reads and writes: those of a pass, and 2·k·d numbers between two.
"""

from typing import NamedTuple

from numba import njit

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.gang import Barrier, wait
from l2ae_kernels.cpu.nearest.library import Kernels
from l2ae_kernels.cpu.nearest.short import pass_short
from l2ae_kernels.cpu.nearest.sums import JIT, Differences, add_up, inertia_around


class Runs(NamedTuple):
    """What the runs of a `Restarts` hold, and where the points are measured from."""

    centers: Array  # (R, k, d)
    labels: Array  # (R, n or more) int32
    sums: Array  # (R, k, d) float64
    counts: Array  # (R, k) int64
    changed: Array  # (R,) int64
    middle: Array  # (d,) float64, amid the points
    scatter: float  # Σ |x_i − middle|²
    cancelled: float  # an inertia below this has lost too many digits


@njit(**JIT)
def iterate_short(
    kernels: Kernels, x: Array, panels: Array, which: Array, runs: Runs, to: Differences,
    inertias: Array, made: Array, barrier: Barrier, first: int, last: int,
) -> None:  # fmt: skip
    """Thread `first` of a gang: up to len(inertias) iterations of the runs `which`.

    inertias (most, len(which)) get a row an iteration, `made` (1,) how many there were. A gang is
    as large as there are slots, and each thread takes its own.
    """
    most, leads = len(inertias), first == 0
    for iteration in range(most):
        if leads:
            for r in which:
                _move_to_means(runs.centers[r], runs.sums[r], runs.counts[r])
        wait(barrier)
        pass_short(kernels, x, panels, which, runs.centers, runs.labels, to, first, last)
        wait(barrier)
        if leads:
            add_up(which, to, runs.sums, runs.counts, runs.changed)
            made[0] = iteration + 1
            if _needs_a_decision(which, runs, inertias[iteration]) or iteration + 1 == most:
                made[1] = 1
        wait(barrier)
        if made[1]:
            return


@njit(**JIT)
def _move_to_means(centers: Array, sums: Array, counts: Array) -> None:
    k, d = centers.shape
    for j in range(k):
        for f in range(d):
            centers[j, f] = sums[j, f] / counts[j]


@njit(**JIT)
def _needs_a_decision(which: Array, runs: Runs, inertias: Array) -> bool:
    """Write the inertia of every run, and tell whether the caller has to look at one of them."""
    decide = False
    for i, r in enumerate(which):
        around = inertia_around(runs.middle, runs.centers[r], runs.sums[r], runs.counts[r])
        inertias[i] = runs.scatter + around
        decide |= runs.changed[r] == 0 or runs.counts[r].min() == 0
        decide |= inertias[i] < runs.cancelled
    return decide
