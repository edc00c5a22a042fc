"""assign and update of k-means on a device: rungs 3 and 7, and the sums of given labels.

Each distance is summed feature after feature with fused multiply-adds, so labels and distances have
the same bits whichever of these kernels finds them.
"""

import numpy as np

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.kmeans import fixed_point, shapes
from l2ae_kernels.cuda.kmeans.passes import (
    apply_assignment,
    assign_tiled,
    max_abs_and_label,
    require_labels,
)
from l2ae_kernels.cuda.kmeans.tensor import assign_tensor, pays


def assign_registers(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,), on the device of x (n, d)."""
    device = device_of(x)
    labels, nearest = device.empty(len(x), np.int32), device.empty(len(x), x.dtype)
    n, k = np.int64(len(x)), len(centers)
    if shapes.is_short(x) and short_bytes(x, k) <= device.properties.shared_per_block:
        kernel = shapes.kernel_for(device, "assign_short.cu", "assign_short", x, k)
        grid = shapes.grid_of(device, -(-len(x) // shapes.BLOCK))
        arguments = x, centers, n, np.int32(k), labels, nearest
        device.launch(kernel, grid, (shapes.BLOCK,), arguments, short_bytes(x, k))
    else:
        assign_tiled(device, x, centers, labels, nearest)
    return labels, nearest


def assign_best(x: Array, centers: Array) -> tuple[Array, Array]:
    """As `assign_registers`, by tensor cores where their products pay."""
    if pays(device_of(x), x, len(centers)):
        return assign_tensor(x, centers)
    return assign_registers(x, centers)


def short_bytes(x: Array, k: int) -> int:
    """Return the shared memory that assign_short asks for: rows, and the padded centers."""
    return shapes.rows_bytes(x) + shapes.center_bytes(x, k)


def update(x: Array, labels: Array, k: int) -> tuple[Array, Array]:
    """Return sums float64 (k, d) and counts int64 (k,) of the samples x (n, d), on their device.

    ValueError when a label is not one of 0 … k − 1.
    """
    n, d = x.shape
    device, found = device_of(x), _as_int32(labels, k)
    largest, highest = max_abs_and_label(device, x, found)
    require_labels("update", labels, highest, k)
    scale = fixed_point.scale_of_sums(n, largest, x.dtype)
    totals, before = device.zeros((1, k * d + k + 2), np.int64), device.full(n, -1, np.int32)
    apply_assignment(device, x, k, 0, found, None, before, n, totals, scale, 1.0)
    sums, counts = totals[0, : k * d].reshape(k, d), totals[0, k * d : -2]
    return sums.astype(np.float64) * scale, counts


def _as_int32(labels: Array, k: int) -> Array:
    """Return labels of any integers as int32; those out of range stay out of it."""
    if labels.dtype.itemsize >= 4 and labels.dtype != np.int32:
        xp = array_module(labels)
        labels = xp.minimum(labels, k)
        if labels.dtype.kind == "i":
            labels = xp.maximum(labels, -1)
    return labels.astype(np.int32, copy=False)
