"""Launchers of elementwise.cu: activations, gradients of biases, sums that come in parts.

leaky_relu          y = x where x > 0, else slope · x
leaky_relu_adjoint  dx = dy where y > 0, else slope · dy
bias_adjoint        db = Σ_rows dy
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.launch import THREADS, ceil_div, distance, model_count, real

BLOCKS_EACH = 16  # of a multiprocessor, where threads stride over the numbers
MOST_PARTS = 64  # of the rows of a bias's gradient
WORTH_A_PART = 1 << 14  # numbers


def leaky_relu(x: Array, slope: float, out: Array) -> None:
    """Write x where it is positive, else slope · x, to `out`."""
    add_parts(device_of(x), x, out, slope=slope)


def leaky_relu_adjoint(dy: Array, y: Array, slope: float, out: Array) -> None:
    """Write dy where y is positive, else slope · dy, to `out`."""
    add_parts(device_of(dy), dy, out, y=y, slope=slope)


def add_parts(
    device: Device,
    parts: Array,
    out: Array,
    *,
    count: int = 1,
    models: int = 1,
    bias: Array | None = None,
    y: Array | None = None,
    slope: float = 1.0,
) -> None:
    """Write the sum of `count` parts, each of the size of `out`, with bias and activation to it.

    parts (count, M, ...), out (M, ..., features), bias (M, features) or (features,).
    """
    elements = out.size // models
    features = out.shape[-1] if out.ndim else 1
    most = device.properties.multiprocessors * BLOCKS_EACH
    device.launch(
        device.kernel("elementwise.cu", "finish_sums", real(out.dtype)),
        (min(ceil_div(elements, THREADS), most), 1, models),
        (THREADS,),
        (
            parts, out, np.int64(elements), np.int64(features), np.int32(count),
            np.int64(out.size), np.int64(elements),
            bias, distance("add_parts", "bias", bias, (features,), models),
            y, out.dtype.type(slope),
        ),
    )  # fmt: skip


def bias_adjoint(dy: Array, out: Array) -> None:
    """Write the sum of dy (R, C) over its rows to `out` (C,), or of (M, R, C) to (M, C).

    Rows are cut into parts by the shape alone, and parts are added in order: equal bits in every
    run, on every device, for any number of models.
    """
    device, models = device_of(dy), model_count(out, 1)
    rows, features = dy.shape[-2:]
    if not features:
        return
    dy_models = distance("bias_adjoint", "dy", dy, (rows, out.shape[-1]), models)
    wanted = min(MOST_PARTS, rows * features // WORTH_A_PART, rows)
    rows_of_part = ceil_div(rows, max(1, wanted))
    count = ceil_div(rows, rows_of_part) if rows else 1
    sums = out if count == 1 else device.empty((count, models, features), dy.dtype)
    device.launch(
        device.kernel("elementwise.cu", "column_sums", real(dy.dtype)),
        (count, ceil_div(features, THREADS), models),
        (THREADS,),
        (dy, sums, np.int64(rows), np.int64(features), np.int64(rows_of_part), dy_models),
    )
    if count > 1:
        add_parts(device, sums, out, count=count, models=models)
