"""Launchers of passes over the samples that several rungs share. They only queue."""

from collections.abc import Iterable

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import shapes


def assign_tiled(
    device: Device,
    x: Array,
    centers: Array,
    labels: Array,
    nearest: Array,
    rows: Array | None = None,
    count: Array | None = None,
) -> None:
    """Write labels and nearest of all samples, or of the `count` (1,) ones that rows lists."""
    n, d = x.shape
    kernel = shapes.kernel_for(device, "assign.cu", "assign_tiled", x)
    grid = shapes.grid_of(device, -(-n // shapes.TILE))
    sizes = np.int64(n), np.int32(d), np.int32(len(centers))
    arguments = x, centers, *sizes, rows, count, labels, nearest
    device.launch(kernel, grid, (shapes.TILE_THREADS,), arguments)


def apply_assignment(
    device: Device,
    x: Array,
    k: int,
    run: int,
    found: Array,
    distances: Array | None,
    labels: Array,
    pitch: int,
    totals: tuple[Array, Array, Array, Array],
    scale: float,
    inertia_scale: float,
) -> None:
    """Make `found` the labels of a run, and add what changed to its totals.

    labels: of all runs, `pitch` from one to the next, from the first sample of x on. totals: sums
    (R, k, d), counts (R, k), changed (R,) and inertia (R,), all int64.
    """
    n, d = x.shape
    shared, private = shapes.private_bytes(k, d)
    kernel = shapes.kernel_for(device, "lloyd.cu", "lloyd_apply_assignment", x)
    grid = shapes.grid_of(device, -(-n // shapes.TILE_THREADS))
    sizes = np.int64(n), np.int32(d), np.int32(k), np.int32(run)
    scales = np.float64(1 / scale), np.float64(1 / inertia_scale), np.int32(private)
    arguments = x, *sizes, found, distances, labels, np.int64(pitch), *totals, *scales
    device.launch(kernel, grid, (shapes.TILE_THREADS,), arguments, shared)


def max_abs(device: Device, parts: Iterable[Array]) -> float:
    """Return max |x| over parts of x; not finite where x holds NaN or infinity (max_abs.cu)."""
    bits = device.zeros(1, np.uint64)
    for x in parts:
        kernel = shapes.kernel_for(device, "max_abs.cu", "max_abs", x)
        grid = shapes.grid_of(device, -(-x.size // 256))
        device.launch(kernel, grid, (256,), (x, np.int64(x.size), bits))
    return float(device.to_host(bits).view(np.float64)[0])
