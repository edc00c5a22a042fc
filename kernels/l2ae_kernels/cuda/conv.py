"""Launchers of the strided correlation and its two adjoints, see reference/conv.py.

    correlate            y = finish(A_W x)      x (N, H, W, C) → y (N, OH, OW, K)
    correlate_adjoint_x  x = finish(A_Wᵀ y)     y (N, OH, OW, K) → x (N, H, W, C)
    correlate_adjoint_W  dW, and with it db     x, y → (kh, kw, C, K), (K,)

for one network, or for M of them, each array with a leading axis M or shared by all. `finish` adds
a bias and is the activation, or, where `y_below` is given, the adjoint of the activation whose
output it is: y is written once, and so is dx.
"""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.elementwise import bias_adjoint
from l2ae_kernels.cuda.launch import THREADS, ceil_div, distance, model_count, real
from l2ae_kernels.cuda.products import Epilogue
from l2ae_kernels.geometry import Geometry, Padding, Pair, output_size

RUNGS = ("naive",)


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
    impl: str = "naive",
) -> None:
    """Write y (N, OH, OW, K) of x (N, H, W, C) and W (kh, kw, C, K) to `out`.

    b (K,) is added, then slope 1 is no activation, 0 is ReLU; with `y_below`, of the shape of
    `out`, numbers are multiplied by slope where it is not positive. ValueError, by name, for an
    array that does not fit.
    """
    _require_axes("correlate", x=x, W=W, out=out)
    g = _geometry("correlate", x, W.shape[-4:-2], W.shape[-1], stride, padding)
    epilogue = Epilogue(b, y_below, slope)
    _run("correlate", ("x", "W"), x, W, out, g, epilogue, impl)


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
    impl: str = "naive",
) -> None:
    """Write x (N, H, W, C) of y (N, OH, OW, K) and W (kh, kw, C, K) to `out`, b (C,) added.

    Else as `correlate`; H and W are those of `out`.
    """
    _require_axes("correlate_adjoint_x", y=y, W=W, out=out)
    g = _geometry("correlate_adjoint_x", out, W.shape[-4:-2], W.shape[-1], stride, padding)
    epilogue = Epilogue(b, y_below, slope)
    _run("correlate_adjoint_x", ("y", "W"), y, W, out, g, epilogue, impl)


def correlate_adjoint_W(
    x: Array,
    y: Array,
    out: Array,
    stride: Pair,
    padding: Padding,
    *,
    db: Array | None = None,
    impl: str = "naive",
) -> None:
    """Write dW (kh, kw, C, K) of x (N, H, W, C) and y (N, OH, OW, K) to `out`.

    With `db` (K,), the sum of y over samples and pixels goes there. Sums over samples are taken in
    an order that the shapes of one model fix. ValueError, by name, for an array that does not fit.
    """
    _require_axes("correlate_adjoint_W", x=x, y=y, out=out)
    g = _geometry("correlate_adjoint_W", x, out.shape[-4:-2], out.shape[-1], stride, padding)
    _run("correlate_adjoint_W", ("x", "y"), x, y, out, g, Epilogue(), impl)
    if db is not None:
        bias_adjoint(y.reshape(*y.shape[:-4], -1, g.K), db)


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


def _shapes(operation: str, N: int, g: Geometry) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the first operand, of the second, and of the result of one model."""
    x, y, W = (N, g.H, g.W, g.C), (N, g.OH, g.OW, g.K), (g.kh, g.kw, g.C, g.K)
    order = {
        "correlate": (x, W, y),
        "correlate_adjoint_x": (y, W, x),
        "correlate_adjoint_W": (x, y, W),
    }
    return order[operation]


def _run(
    operation: str,
    names: tuple[str, str],
    A: Array,
    B: Array,
    out: Array,
    g: Geometry,
    epilogue: Epilogue,
    impl: str,
) -> None:
    """Check every shape, and queue the operation on a rung."""
    N = A.shape[-4]
    A_shape, B_shape, shape = _shapes(operation, N, g)
    models = model_count(out, 4)
    A_models = distance(operation, names[0], A, A_shape, models)
    B_models = distance(operation, names[1], B, B_shape, models)
    bias_models = distance(operation, "b", epilogue.bias, shape[-1:], models)
    distance(operation, "out", out, shape, models)
    if epilogue.y is not None:
        distance(operation, "y_below", epilogue.y, out.shape, 1)
    if not out.size:
        return
    device = device_of(out)
    sizes = g.H, g.W, g.C, g.OH, g.OW, g.K, g.kh, g.kw, g.sh, g.sw, g.top, g.left
    arguments: tuple[Any, ...] = (A, B, out, np.int64(N), *map(np.int32, sizes), A_models, B_models)
    if operation != "correlate_adjoint_W":
        arguments += epilogue.bias, bias_models, epilogue.y, out.dtype.type(epilogue.slope)
    kernel = device.kernel("conv_naive.cu", f"{operation}_naive", real(out.dtype))
    grid = ceil_div(out.size // models, THREADS), 1, models
    device.launch(kernel, grid, (THREADS,), arguments)
