"""k-means on a device: whole runs, an iteration of them, and equal runs.

    NAME-cuda            as many updates from given centers as in `points.py`, and an assignment
    NAME-cuda-iteration  (seconds of that − seconds of one update) / (updates − 1), for every side:
                         what a call costs once falls out
    NAME-cuda-bits       ours alone; its agreement is the share of bytes of the centers and labels
                         that differ between two runs

Where memory is the limit, the peer of an iteration is "copy": the time in which the device copies
half as many bytes as x has, since a copy reads and writes. Data that do not fit are streamed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from l2ae_bench.comparison import OURS, Row, Side, make_row, require_agreement, take_turns
from l2ae_bench.cuda.kmeans_peers import runs
from l2ae_bench.kmeans import INERTIA, ITERATIONS, POINTS, Points
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cuda.device import Device

BANDWIDTH = 1 << 30  # bytes of x from which on an iteration is measured beside a copy
ONCE = ", one update"
WORKS = {
    "kmeans-70000x10-k10": POINTS["kmeans-70000x10-k10"],
    "kmeans-1000000x128-k1024": Points(1_000_000, 128, 1024, groups=1024, noise=0.1),
    "kmeans-100000000x10-k10": Points(100_000_000, 10, 10, groups=10, noise=0.3),
}


@dataclass(frozen=True)
class Problem:
    """Points of the host and of a device (or streamed through it), and where they start."""

    host: Array
    x: Array
    centers: Array
    device: Device
    resident: bool

    def run(self, iterations: int) -> Clustering:
        """Make that many updates and an assignment, and wait."""
        found = kmeans(self.x, len(self.centers), init=self.centers, max_iter=iterations, tol=0,
                       rng=np.random.default_rng(0))  # fmt: skip
        self.device.synchronize()
        return found

    def inertia(self, centers: Array) -> float:
        """Return Σ |x − nearest center|², in float64."""
        _, distances = ops.restarts_class(self.x).nearest(self.x, centers)
        return float(to_host(distances).sum(dtype=np.float64))


def problem(points: Points, device: Device) -> Problem:
    """Make the points, and move them to the device if half of its free memory holds them."""
    host, centers = points.make()
    resident = 2 * host.nbytes < device.free_memory()
    x = device.to_device(host) if resident else device.stream(host)
    return Problem(host, x, centers, device, resident)


def rows(
    work: str,
    device: Device,
    rounds: int,
    turn: float,
    points: Points | None = None,
    done: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Return the rows of one work, after all sides were found to reach our inertia."""
    p = problem(WORKS[work] if points is None else points, device)
    most = p.run(ITERATIONS).n_iter
    iterations = most if most == ITERATIONS else max(2, most - 1)  # nobody has converged
    peers = runs(p.host, p.centers, "cpu" if device.emulated else "cuda", p.resident)
    first = p.run(iterations)
    expected = p.inertia(to_host(first.centers))
    agreement = max(
        (
            require_agreement(f"{work}, {name}", "the inertias",
                              abs(p.inertia(run(iterations)) - expected) / expected, INERTIA)
            for name, run in peers.items()
        ),
        default=None,
    )  # fmt: skip
    sides: dict[str, Side] = {}
    for name, run in {OURS: p.run, **peers}.items():
        sides[name] = partial(run, iterations)
        sides[name + ONCE] = partial(run, 1)
    copy = p.resident and p.host.nbytes >= BANDWIDTH
    if copy:
        sides["copy"] = _copy(p)
    times = take_turns(sides, rounds, device.properties.name, turn=turn, done=done)
    whole = {name: t for name, t in times.items() if not name.endswith(ONCE) and name != "copy"}
    single = {
        name: [max(a - b, 1e-9) / (iterations - 1)
               for a, b in zip(t, times[name + ONCE], strict=True)]
        for name, t in whole.items()
    } | ({"copy": times["copy"]} if copy else {})  # fmt: skip
    where = device.properties.name + ("" if p.resident else ", streamed")
    bits = _different(first, p.run(iterations))
    return [
        make_row(f"{work}-cuda", where, whole, agreement),
        make_row(f"{work}-cuda-iteration", where, single, agreement),
        make_row(f"{work}-cuda-bits", where, {OURS: whole[OURS]}, bits),
    ]


def _copy(p: Problem) -> Side:
    """Copy half of x to other memory of the device: as many bytes move as x has."""
    half = p.x[: len(p.x) // 2]
    other = p.device.empty(half.shape, half.dtype)

    def copy() -> None:
        other[...] = half
        p.device.synchronize()

    return copy


def _different(a: Clustering, b: Clustering) -> float:
    """Return the share of bytes of centers and labels that differ."""
    pairs = ((a.centers, b.centers), (a.labels, b.labels))
    bytes_of = [[to_host(x).view(np.uint8).ravel() for x in pair] for pair in pairs]
    return max(float((x != y).mean()) for x, y in bytes_of)
