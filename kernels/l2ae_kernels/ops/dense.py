"""Dense products, sums over samples, rectifiers."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import inputs, number, output


def dense(
    x: Array, W: Array, b: Array | None = None, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return x (N, I) @ W (I, O) + b (O,); ValueError when an argument does not fit."""
    x, W, b = inputs("dense", x, W, b)
    run = pick("dense", x, impl)
    y = output("dense", out, (len(x), W.shape[1]), x, W, b)
    if y.size:
        run(x, W, b, y)
    return y if out is None else out


def dense_adjoint_x(
    dy: Array, W: Array, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return dy (N, O) @ W (I, O)ᵀ; ValueError when an argument does not fit."""
    dy, W = inputs("dense_adjoint_x", dy, W)
    run = pick("dense_adjoint_x", dy, impl)
    dx = output("dense_adjoint_x", out, (len(dy), W.shape[0]), dy, W)
    if dx.size:
        run(dy, W, dx)
    return dx if out is None else out


def dense_adjoint_W(
    x: Array, dy: Array, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return x (N, I)ᵀ @ dy (N, O); ValueError when an argument does not fit."""
    x, dy = inputs("dense_adjoint_W", x, dy)
    run = pick("dense_adjoint_W", x, impl)
    dW = output("dense_adjoint_W", out, (x.shape[1], dy.shape[1]), x, dy)
    if x.size and dy.size:
        run(x, dy, dW)
    else:
        dW[...] = 0
    return dW if out is None else out


def bias_adjoint(dy: Array, *, out: Array | None = None, impl: str | None = None) -> Array:
    """Return the sum of dy (..., C) over all axes but the last: (C,)."""
    (dy,) = inputs("bias_adjoint", dy)
    run = pick("bias_adjoint", dy, impl)
    db = output("bias_adjoint", out, dy.shape[-1:], dy)
    if dy.size:
        run(dy.reshape(-1, dy.shape[-1]), db)
    else:
        db[...] = 0
    return db if out is None else out


def leaky_relu(
    x: Array, slope: float, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return x where it is positive, else slope · x; `slope` ≥ 0, and 0 is ReLU."""
    (x,) = inputs("leaky_relu", x)
    run, slope = pick("leaky_relu", x, impl), number("leaky_relu", "slope", slope)
    y = output("leaky_relu", out, x.shape, x)
    if y.size:
        run(x, slope, y)
    return y if out is None else out


def leaky_relu_adjoint(
    dy: Array, y: Array, slope: float, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return dy where the output y is positive, else slope · dy; dy has the shape of y."""
    y, dy = inputs("leaky_relu_adjoint", y, dy)
    run = pick("leaky_relu_adjoint", y, impl)
    slope = number("leaky_relu_adjoint", "slope", slope)
    dx = output("leaky_relu_adjoint", out, y.shape, y, dy)
    if dx.size:
        run(dy, y, slope, dx)
    return dx if out is None else out
