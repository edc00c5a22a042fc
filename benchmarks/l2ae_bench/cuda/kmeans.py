"""k-means on a device: whole runs, an iteration of them, and equal runs.

    NAME-cuda            as many updates from given centers as in `../kmeans.py`, and an assignment
    NAME-cuda-iteration  (seconds of that − seconds of one update) / (updates − 1):
                         what a call costs once cancels; left out where that is not above 0
    NAME-cuda-bits       ours alone; its agreement is the share of bytes of the centers and labels
                         that differ between two runs

Where memory is the limit, the peer of an iteration is "copy": the time in which the device copies
half as many bytes as x has, since a copy reads and writes. Data that do not fit are streamed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from l2ae_bench.comparison import OURS, Contender, Measurement, make_row, measure, require_agreement
from l2ae_bench.cuda.kmeans_peers import runs
from l2ae_bench.kmeans import INERTIA, ITERATIONS, SampleSet, lloyd_work
from l2ae_bench.kmeans import WORKLOADS as ON_CPU
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cuda.device import Device

BANDWIDTH = 1 << 30  # bytes of x from which on an iteration is measured beside a copy
ONCE = ", one update"
WORKLOADS = {
    "kmeans-70000x10-k10": ON_CPU["kmeans-70000x10-k10"],
    "kmeans-1000000x128-k1024": SampleSet(1_000_000, 128, 1024, groups=1024, noise=0.1),
    "kmeans-100000000x10-k10": SampleSet(100_000_000, 10, 10, groups=10, noise=0.3),
}


@dataclass(frozen=True)
class Workload:
    """Samples of the host and of a device (or streamed through it), and the first centers."""

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
        nearest_centers = ops.restarts_class(self.x, len(centers)).nearest_centers
        _, distances = nearest_centers(self.x, centers)
        return float(to_host(distances).sum(dtype=np.float64))


def prepare(samples: SampleSet, device: Device) -> Workload:
    """Make the samples, and move them to the device if half of its free memory holds them."""
    host, centers = samples.make()
    resident = 2 * host.nbytes < device.free_memory()
    x = device.to_device(host) if resident else device.stream(host)
    return Workload(host, x, centers, device, resident)


def rows(
    workload: str,
    device: Device,
    repeats: int,
    seconds: float | None = None,
    samples: SampleSet | None = None,
    done: Callable[[], object] = lambda: None,
) -> list[Measurement]:
    """Return the rows of one workload, after all contenders were found to reach our inertia."""
    p = prepare(WORKLOADS[workload] if samples is None else samples, device)
    most = p.run(ITERATIONS).n_iter
    iterations = most if most == ITERATIONS else max(2, most - 1)  # none has converged
    peers = runs(p.host, p.centers, "cpu" if device.emulated else "cuda", p.resident)
    first = p.run(iterations)
    expected = p.inertia(to_host(first.centers))
    agreement = max(
        (
            require_agreement(f"{workload}, {name}", "the inertias",
                              abs(p.inertia(run(iterations)) - expected) / expected, INERTIA)
            for name, run in peers.items()
        ),
        default=None,
    )  # fmt: skip
    contenders: dict[str, Contender] = {}
    for name, run in {OURS: p.run, **peers}.items():
        contenders[name] = partial(run, iterations)
        contenders[name + ONCE] = partial(run, 1)
    copy = p.resident and p.host.nbytes >= BANDWIDTH
    if copy:
        contenders["copy"] = _copy(p)
    times = measure(contenders, repeats, device.properties.name, seconds=seconds, done=done)
    whole = {name: t for name, t in times.items() if not name.endswith(ONCE) and name != "copy"}
    single = _single(times, whole, iterations) | ({"copy": times["copy"]} if copy else {})
    where = device.properties.name + ("" if p.resident else ", streamed")
    bits = differing(first, p.run(iterations))
    found = [make_row(f"{workload}-cuda", where, whole, agreement,
                      lloyd_work(p.host, len(p.centers), iterations + 1))]  # fmt: skip
    if OURS in single:
        found.append(make_row(f"{workload}-cuda-iteration", where, single, agreement,
                              lloyd_work(p.host, len(p.centers), 1)))  # fmt: skip
    return [*found, make_row(f"{workload}-cuda-bits", where, {OURS: whole[OURS]}, bits)]


def _single(
    times: dict[str, list[float]], whole: dict[str, list[float]], iterations: int
) -> dict[str, list[float]]:
    """Return the seconds of an iteration by contender, without those that were not measurable.

    That is where many iterations took no longer than one, in any repeat.
    """
    differences = {
        name: [a - b for a, b in zip(t, times[name + ONCE], strict=True)]
        for name, t in whole.items()
    }
    return {
        name: [d / (iterations - 1) for d in each]
        for name, each in differences.items()
        if min(each) > 0
    }


def _copy(p: Workload) -> Contender:
    """Copy half of x to other memory of the device: as many bytes move as x has."""
    half = p.x[: len(p.x) // 2]
    other = p.device.empty(half.shape, half.dtype)

    def copy() -> None:
        other[...] = half
        p.device.synchronize()

    return copy


def differing(a: Clustering, b: Clustering) -> float:
    """Return the share of bytes of centers and labels that differ."""
    pairs = ((a.centers, b.centers), (a.labels, b.labels))
    bytes_of = [[to_host(x).view(np.uint8).ravel() for x in pair] for pair in pairs]
    return max(float((x != y).mean()) for x, y in bytes_of)
