"""Rung 5: Lloyd's iteration to its end in one launch (resident.cu), where x fits on the chip."""

from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.kmeans import shapes
from l2ae_kernels.cuda.kmeans.restarts import Restarts
from l2ae_kernels.reference.restarts import Iterated

LEAST_SLICE = 128  # samples of a block: fewer do not fill its threads
MOST_THREADS = 512


class GridPlan(NamedTuple):
    """How samples and runs are laid over the blocks; all of them run at the same time."""

    slices: int
    groups: int
    samples: int  # in a slice
    threads: int
    shared: int  # bytes


def plan_grid(device: Device, x: Array, k: int, runs: int) -> GridPlan | None:
    """Return a plan for the samples x (n, d) and that many runs; None where they do not fit.

    One block on each multiprocessor, at most: so all blocks run at once, which a barrier of the
    grid needs, and a block may have all the shared memory there is.
    """
    if not shapes.is_short(x):
        return None
    most = device.properties.multiprocessors
    slices = min(most, -(-len(x) // LEAST_SLICE))
    groups = max(1, min(runs, most // slices))
    samples = -(-len(x) // slices)
    rounds = -(-samples // MOST_THREADS)
    threads = shapes.padded(-(-samples // rounds), 32)
    shared = slice_bytes(x, samples) + -(-runs // groups) * state_bytes(x, k)
    if shared > device.properties.shared_per_block:
        return None
    return GridPlan(slices, groups, samples, threads, shared)


def takes(x: Array, k: int) -> bool:
    """Whether at least one run over samples x (n, d) of a device fits, with k clusters."""
    return plan_grid(device_of(x), x, k, 1) is not None


def slice_bytes(x: Array, samples: int) -> int:
    """Return the shared memory of a slice of x."""
    return 4 * shapes.padded(int(x.shape[1]) * samples * x.dtype.itemsize // 4)


def state_bytes(x: Array, k: int) -> int:
    """Return the shared memory of a run (state_of in resident.cu)."""
    d, words = int(x.shape[1]), x.dtype.itemsize // 4
    centers, halves = k * shapes.padded(d) * words, shapes.padded(2 * k * d)
    return 4 * (2 * (2 * k + 2 * k * d) + centers + halves + shapes.padded(k) + 4)


def iterate(
    restarts: Restarts,
    plan: GridPlan,
    active: list[int],
    remaining: list[int],
    shift: float,
    spherical: bool,
) -> list[Iterated]:
    """Iterate the active runs to their ends, see the reference."""
    device, x, there = restarts.device, restarts.x, restarts.device_runs
    (n, d), k, R = x.shape, restarts.centers.shape[1], len(active)
    there.begin(active, 1.0 if spherical else 0.0)
    most = max(remaining)
    table = device.zeros((3, R, k * d + k + 2), np.int64)
    going, barrier = device.zeros(3, np.uint32), device.zeros(4, np.uint32)
    history, done = device.zeros((R, most), np.int64), device.zeros(R, np.int32)
    moved = device.zeros(len(restarts.centers), np.float64)
    runs = device.to_device(np.array(active, np.int32))
    limits = device.to_device(np.array(remaining, np.int32))
    samples = x, np.int64(n), np.int32(k), np.int32(plan.samples)
    state = there.centers, restarts.labels, *there.totals(), moved
    rules = np.float64(shift), np.int32(spherical)
    scales = np.float64(restarts.scale), *there.scales()
    arguments = (
        *samples, runs, np.int32(R), limits, np.int32(most), *state, table, going, history, done,
        barrier, *rules, *scales,
    )  # fmt: skip
    kernel = device.kernel("resident.cu", "lloyd_resident", shapes.defines(x, k), cooperative=True)
    device.launch(kernel, (plan.slices, plan.groups), (plan.threads,), arguments, plan.shared)
    there.end(active)
    restarts.centers[active] = device.to_host(there.centers)[active]
    counts, inertias = device.to_host(done), there.inertias(device.to_host(history))
    distances = device.to_host(moved)[active]
    return [Iterated(inertias[i, : counts[i]].tolist(), float(distances[i])) for i in range(R)]


class Resident(Restarts):
    """Rung 5: as rung 4, and many iterations in one launch where the active runs fit a chip."""

    def iterate(
        self, active: list[int], remaining: list[int], shift: float, spherical: bool
    ) -> list[Iterated]:
        """See the reference: to the end of every run, or one iteration where they do not fit."""
        self._require_runs(active)
        plan = plan_grid(self.device, self.x, self.centers.shape[1], len(active))
        if plan is None:
            return super().iterate(active, remaining, shift, spherical)
        return iterate(self, plan, active, remaining, shift, spherical)
