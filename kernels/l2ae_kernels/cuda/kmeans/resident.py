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
    threads = threads_of(samples)
    shared = slice_bytes(x, samples) + -(-runs // groups) * state_bytes(x, k)
    if shared > device.properties.shared_per_block:
        return None
    return GridPlan(slices, groups, samples, threads, shared)


def threads_of(samples: int) -> int:
    """Return the threads of a block for a slice, one sample each or several.

    A multiprocessor has four schedulers, and a warp belongs to one of them: where threads take
    several samples, only a multiple of four warps keeps all schedulers at work. More warps would
    cost: each pays for the start and the end of an iteration.
    """
    each = -(-samples // MOST_THREADS)
    return shapes.padded(-(-samples // each), 32 if each == 1 else 128)


def takes(x: Array, k: int) -> bool:
    """Whether at least one run over samples x (n, d) of a device fits, with k clusters."""
    return plan_grid(device_of(x), x, k, 1) is not None


def slice_bytes(x: Array, samples: int) -> int:
    """Return the shared memory of a slice of x."""
    return 4 * shapes.padded(int(x.shape[1]) * samples * x.dtype.itemsize // 4)


def state_bytes(x: Array, k: int) -> int:
    """Return the shared memory of a run (state_of in resident.cu)."""
    d = int(x.shape[1])
    whole = 2 * (2 * k + 2 * k * d) + shapes.padded(k) + 8  # words
    return 4 * whole + shapes.center_bytes(x, k) + shapes.halves_bytes(x, k)


def iterate(
    restarts: Restarts,
    plan: GridPlan,
    active: list[int],
    remaining: list[int],
    shift: float,
    spherical: bool,
) -> list[Iterated]:
    """Iterate the active runs to their ends, see the reference.

    All that the host reads is the last part of one buffer, a row a run (results in resident.cu).
    RuntimeError where the device ran fewer blocks than planned: then nothing was done.
    """
    device, x, there = restarts.device, restarts.x, restarts.device_runs
    (n, d), k, R = x.shape, restarts.centers.shape[1], len(active)
    there.write_centers(active, 1.0 if spherical else 0.0)
    most, width = max(remaining), k * d + k + 2
    tables, record = 3 * R * width + 2, width + 2 + k * d + most
    work = device.zeros(tables + R * record, np.int64)
    results = work[tables:]
    limits = device.to_device(np.array(remaining, np.int32))
    samples = x, np.int64(n), np.int32(k), np.int32(plan.samples)
    runs = there.active(active), np.int32(R), limits, np.int32(most)
    state = there.centers, restarts.labels, there.totals, work[:tables], results
    rules = np.float64(shift), np.int32(spherical), np.float64(restarts.scale), *there.scales()
    kernel = device.kernel("resident.cu", "lloyd_resident", shapes.defines(x, k), cooperative=True)
    grid, block = (plan.slices, plan.groups), (plan.threads,)
    device.launch(kernel, grid, block, (*samples, *runs, *state, *rules), plan.shared)
    rows = device.to_host(results).reshape(R, record)
    totals, moved, done, centers, history = np.split(rows, np.cumsum([width, 1, 1, k * d]), axis=1)
    if done.min() < 0:
        raise RuntimeError(
            f"lloyd_resident: the grid holds fewer than {n} samples, {plan.samples} a block; "
            f"{plan.slices} blocks were planned for a run"
        )
    there.take(active, totals)
    restarts.centers[active] = centers.view(np.float64).reshape(R, k, d)
    inertias, steps = there.inertias(history), moved.view(np.float64)
    return [Iterated(inertias[i, : done[i, 0]].tolist(), float(steps[i, 0])) for i in range(R)]


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
