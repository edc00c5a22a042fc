"""Launchers of the strided correlation and its two adjoints, see reference/conv.py.

    correlate            y = finish(A_W x)      x (N, H, W, C) → y (N, OH, OW, K)
    correlate_adjoint_x  x = finish(A_Wᵀ y)     y (N, OH, OW, K) → x (N, H, W, C)
    correlate_adjoint_W  dW, and with it db     x, y → (kh, kw, C, K), (K,)

for one network, or for M of them, each array with a leading axis M or shared by all. `finish` adds
a bias and is the activation, or, where `y_below` is given, the adjoint of the activation whose
output it is: y is written once, and so is dx.

Rungs, each of which takes every geometry:

    naive   conv_naive.cu, a thread a number; float32 and float64
    tensor  conv_mma.cu, float32 in three products of TF32; conv_thin.cu, for images of one channel
    tf32    conv_mma.cu, TF32; conv_thin.cu, in float32
"""

from dataclasses import astuple
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import conv_thin
from l2ae_kernels.cuda.conv_thin import (
    Target,
    launch_thin,
    launch_thin_adjoint_W,
    rows_of_block,
    thin_parts,
)
from l2ae_kernels.cuda.conv_tiles import Call, Workspace, launch_tiles, launch_weight_tiles, splits
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.elementwise import add_parts, bias_adjoint
from l2ae_kernels.cuda.launch import THREADS, ceil_div, real
from l2ae_kernels.cuda.products import TERMS, Epilogue
from l2ae_kernels.geometry import Geometry, Padding, Pair, output_size

RUNGS = ("naive", *TERMS)


def correlate(
    x: Array,
    W: Array,
    b: Array | None,
    out: Array,
    stride: Pair,
    padding: Padding,
    *,
    slope: float = 1.0,
    y_below: Array | None = None,
    impl: str = "tensor",
    workspace: Workspace | None = None,
) -> None:
    """Write y (N, OH, OW, K) of x (N, H, W, C) and W (kh, kw, C, K) to `out`.

    b (K,) is added, then slope 1 is no activation, 0 is ReLU; with `y_below`, of the shape of
    `out`, numbers are multiplied by slope where it is not positive. workspace: that of these
    shapes, kept by who calls again. ValueError, by name, for an array that does not fit.
    """
    _require_axes("correlate", x=x, W=W, out=out)
    g = _geometry("correlate", x, W.shape[-4:-2], W.shape[-1], stride, padding)
    call = Call("correlate", ("x", "W"), x, W, out, g, Epilogue(b, y_below, slope))
    _run(call, impl, workspace)


def correlate_adjoint_x(
    y: Array,
    W: Array,
    b: Array | None,
    out: Array,
    stride: Pair,
    padding: Padding,
    *,
    slope: float = 1.0,
    y_below: Array | None = None,
    impl: str = "tensor",
    target: Target | None = None,
) -> None:
    """Write x (N, H, W, C) of y (N, OH, OW, K) and W (kh, kw, C, K) to `out`, b (C,) added.

    Else as `correlate`; H and W are those of `out`. target: images that x̂ is compared with, where
    there are `loss_parts`: the gradient of the error is written in place of x̂, and the error.
    """
    _require_axes("correlate_adjoint_x", y=y, W=W, out=out)
    g = _geometry("correlate_adjoint_x", out, W.shape[-4:-2], W.shape[-1], stride, padding)
    call = Call("correlate_adjoint_x", ("y", "W"), y, W, out, g, Epilogue(b, y_below, slope))
    if target is None:
        _run(call, impl)
    elif impl == "naive" or not launch_thin(call, target):
        raise ValueError(f"correlate_adjoint_x: target is given but {impl} makes no error of {g}")


def correlate_adjoint_W(
    x: Array,
    y: Array,
    out: Array,
    stride: Pair,
    padding: Padding,
    *,
    db: Array | None = None,
    impl: str = "tensor",
) -> None:
    """Write dW (kh, kw, C, K) of x (N, H, W, C) and y (N, OH, OW, K) to `out`.

    With `db` (K,), the sum of y over samples and pixels goes there. Sums over samples are taken in
    an order that the shapes of one model fix. ValueError, by name, for an array that does not fit.
    """
    _require_axes("correlate_adjoint_W", x=x, y=y, out=out)
    call = _adjoint_W(x, y, out, db, stride, padding)
    device, M = device_of(out), call.models
    count = weight_parts(call.geometry, call.samples, impl)
    if count == 1:
        _run_adjoint_W(call, out[None], None if db is None else db[None], impl)
        return
    parts = device.empty((count, M, *out.shape[-4:]), out.dtype)
    db_parts = None if db is None else device.empty((count, M, db.shape[-1]), out.dtype)
    _run_adjoint_W(call, parts, db_parts, impl)
    add_parts(device, parts, out, count=count, models=M)
    if db is not None and db_parts is not None:
        add_parts(device, db_parts, db, count=count, models=M)


def correlate_adjoint_W_parts(
    x: Array,
    y: Array,
    parts: Array,
    stride: Pair,
    padding: Padding,
    *,
    db: Array | None = None,
    impl: str = "tensor",
) -> None:
    """Write the parts of dW, (weight_parts, M, kh, kw, C, K), and of db, (weight_parts, M, K).

    Else as `correlate_adjoint_W`, which adds them in order.
    """
    _require_axes("correlate_adjoint_W", x=x, y=y)
    call = _adjoint_W(x, y, parts[0], None if db is None else db[0], stride, padding)
    count = weight_parts(call.geometry, call.samples, impl)
    for name, a in (("parts", parts), ("db", db)):
        if a is not None and len(a) != count:
            raise ValueError(f"correlate_adjoint_W: {name} is of {len(a)} but expected {count}")
    _run_adjoint_W(call, parts, db, impl)


def weight_parts(g: Geometry, samples: int, impl: str) -> int:
    """Return how many parts dW and db come in: by the shape of one model alone."""
    if impl == "naive":
        return 1
    if rows_of_block("correlate_adjoint_W", g):
        return thin_parts(samples)[0]
    return splits(g.taps, g.K, samples * g.OH * g.OW)[0]


def loss_parts(g: Geometry, samples: int, impl: str) -> int:
    """Return how many parts the error of a target comes in; 0 where adjoint_x takes none."""
    return 0 if impl == "naive" else conv_thin.loss_parts(g, samples)


def workspace_of(batch: Array, g: Geometry, impl: str) -> Workspace | None:
    """Return what `correlate` to (M, N, OH, OW, K) may keep; None where it needs nothing."""
    if impl == "naive" or rows_of_block("correlate", g):
        return None
    return Workspace.of(device_of(batch), g, batch.shape[1], len(batch))


def _adjoint_W(
    x: Array, y: Array, out: Array, db: Array | None, stride: Pair, padding: Padding
) -> Call:
    g = _geometry("correlate_adjoint_W", x, out.shape[-4:-2], out.shape[-1], stride, padding)
    return Call("correlate_adjoint_W", ("x", "y"), x, y, out, g, Epilogue(), db)


def _run_adjoint_W(call: Call, parts: Array, db: Array | None, impl: str) -> None:
    """Queue an adjoint in W on a rung."""
    if not parts.size:
        return
    if impl == "naive":
        _launch_naive(call)
    elif rows_of_block(call.operation, call.geometry):
        launch_thin_adjoint_W(call, parts, db)
    else:
        launch_weight_tiles(call, parts, db, TERMS[impl])


def _require_axes(operation: str, **arrays: Array) -> None:
    """Raise a ValueError for an array that has neither four axes nor those and one of models."""
    for name, a in arrays.items():
        if a.ndim not in (4, 5):
            raise ValueError(f"{operation}: {name} has shape {a.shape} but expected 4 or 5 axes")


def _geometry(
    operation: str, image: Array, kernel: Pair, K: int, stride: Pair, padding: Padding
) -> Geometry:
    """Return the geometry of a correlation over images (…, H, W, C) to K channels."""
    outputs = output_size(image.shape[-3:-1], kernel, stride, padding, operation)
    return Geometry.of(image.shape, (*outputs, K), kernel, stride, padding)


def _run(call: Call, impl: str, workspace: Workspace | None = None) -> None:
    """Queue an operation on a rung."""
    if not call.out.size:
        return
    if impl == "naive":
        _launch_naive(call)
    elif not launch_thin(call):
        launch_tiles(call, TERMS[impl], workspace)


def _launch_naive(call: Call) -> None:
    """Queue conv_naive.cu, and the sum of y over its pixels on its own."""
    device, dtype, models = device_of(call.out), call.out.dtype, call.models
    A_models, B_models, bias_models = call.distances()
    sizes = np.int64(call.samples), *map(np.int32, astuple(call.geometry))
    arguments: tuple[Any, ...] = (call.A, call.B, call.out, *sizes, A_models, B_models)
    if call.operation != "correlate_adjoint_W":
        epilogue = call.epilogue
        arguments += epilogue.bias, bias_models, epilogue.y, dtype.type(epilogue.slope)
    kernel = device.kernel("conv_naive.cu", f"{call.operation}_naive", real(dtype))
    grid = ceil_div(call.out.size // models, THREADS), 1, models
    device.launch(kernel, grid, (THREADS,), arguments)
    if call.db is not None:
        bias_adjoint(call.B.reshape(*call.B.shape[:-4], -1, call.geometry.K), call.db)
