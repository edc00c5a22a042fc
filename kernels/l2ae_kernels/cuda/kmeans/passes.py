"""Launchers of passes over the samples that several rungs share. They only queue."""

from collections.abc import Iterable

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import shapes
from l2ae_kernels.cuda.launch import Kernel


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
    totals: Array,
    scale: float,
    inertia_scale: float,
) -> None:
    """Make `found` the labels of a run, and add what changed to its totals.

    labels: of all runs, `pitch` from one to the next, from the first sample of x on. totals:
    (R, k · d + k + 2) int64: sums, counts, changed and inertia of each run.
    """
    n, d = x.shape
    shared, kept = shapes.private_bytes(device, x, k)
    kernel = shapes.kernel_for(device, "lloyd.cu", "lloyd_apply_assignment", x)
    grid = shapes.grid_of(device, -(-n // shapes.TILE_THREADS))
    sizes = np.int64(n), np.int32(d), np.int32(k), np.int32(run)
    scales = np.float64(1 / scale), np.float64(1 / inertia_scale), kept
    arguments = x, *sizes, found, distances, labels, np.int64(pitch), totals, *scales
    device.launch(kernel, grid, (shapes.TILE_THREADS,), arguments, shared)


def max_abs(device: Device, parts: Iterable[Array]) -> float:
    """Return max |x| over parts of x; not finite where x holds NaN or infinity (max_abs.cu)."""
    bits = device.zeros(1, np.uint64)
    for x in parts:
        _maximum(device, shapes.kernel_for(device, "max_abs.cu", "max_abs", x), x, bits)
    return float(device.to_host(bits).view(np.float64)[0])


def max_abs_and_label(device: Device, x: Array, labels: Array) -> tuple[float, int]:
    """Return max |x| and the largest of labels int32, in one read; below zero counts as huge."""
    bits = device.zeros(2, np.uint64)
    for name, values, place in (("max_abs", x, bits[:1]), ("max_label", labels, bits[1:])):
        _maximum(device, shapes.kernel_for(device, "max_abs.cu", name, x), values, place)
    found = device.to_host(bits)
    return float(found[:1].view(np.float64)[0]), int(found[1])


def max_label(device: Device, labels: Array) -> int:
    """Return the largest of labels int32; one below zero counts as huge."""
    bits = device.zeros(1, np.uint64)
    _maximum(device, device.kernel("max_abs.cu", "max_label"), labels, bits)
    return int(device.to_host(bits)[0])


def _maximum(device: Device, kernel: Kernel, values: Array, bits: Array) -> None:
    """Queue a kernel of max_abs.cu: it raises bits (1,) to what it finds in the values."""
    grid = shapes.grid_of(device, -(-values.size // 256))
    device.launch(kernel, grid, (256,), (values, np.int64(values.size), bits))


def require_labels(operation: str, labels: Array, highest: int, k: int) -> None:
    """Raise a ValueError unless the highest of labels, below zero counted as huge, is below k."""
    if highest >= k:
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"{operation}: labels span {found} but expected 0 to {k - 1}")
