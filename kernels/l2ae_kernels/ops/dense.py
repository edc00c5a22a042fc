"""Dense products, sums over samples, rectifiers."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import output, require_axes, same


def dense(
    x: Array, W: Array, b: Array | None = None, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x (N, I) @ W (I, O) + b (O,); ValueError when shapes or dtypes do not fit."""
    require_axes("dense", x=(x, 2), W=(W, 2))
    require_shape("dense", "x", x.shape[1:], W.shape[:1])
    x, W, b = same("dense", x=x, W=W, b=b)  # type: ignore[assignment]
    out = output("dense", out, (len(x), W.shape[1]), x)
    pick("dense", x, rung)(x, W, b, out)
    return out


def dense_adjoint_x(
    dy: Array, W: Array, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return dy (N, O) @ W (I, O)ᵀ; ValueError when shapes or dtypes do not fit."""
    require_axes("dense_adjoint_x", dy=(dy, 2), W=(W, 2))
    require_shape("dense_adjoint_x", "dy", dy.shape[1:], W.shape[1:])
    dy, W = same("dense_adjoint_x", dy=dy, W=W)  # type: ignore[assignment]
    out = output("dense_adjoint_x", out, (len(dy), W.shape[0]), dy)
    pick("dense_adjoint_x", dy, rung)(dy, W, out)
    return out


def dense_adjoint_W(
    x: Array, dy: Array, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x (N, I)ᵀ @ dy (N, O); ValueError when shapes or dtypes do not fit."""
    require_axes("dense_adjoint_W", x=(x, 2), dy=(dy, 2))
    require_shape("dense_adjoint_W", "dy", dy.shape[:1], x.shape[:1])
    x, dy = same("dense_adjoint_W", x=x, dy=dy)  # type: ignore[assignment]
    out = output("dense_adjoint_W", out, (x.shape[1], dy.shape[1]), x)
    pick("dense_adjoint_W", x, rung)(x, dy, out)
    return out


def bias_adjoint(dy: Array, *, out: Array | None = None, rung: str | None = None) -> Array:
    """Return the sum of dy (..., C) over all axes but the last: (C,)."""
    (dy,) = same("bias_adjoint", dy=dy)  # type: ignore[assignment]
    out = output("bias_adjoint", out, dy.shape[-1:], dy)
    pick("bias_adjoint", dy, rung)(dy.reshape(-1, dy.shape[-1]), out)
    return out


def leaky_relu(
    x: Array, slope: float, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x where it is positive, else slope · x; `slope` ≥ 0, and 0 is ReLU."""
    (x,) = same("leaky_relu", x=x)  # type: ignore[assignment]
    out = output("leaky_relu", out, x.shape, x)
    pick("leaky_relu", x, rung)(x, slope, out)
    return out


def leaky_relu_adjoint(
    dy: Array, y: Array, slope: float, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return dy where the output y is positive, else slope · dy; dy has the shape of y."""
    require_shape("leaky_relu_adjoint", "dy", dy.shape, y.shape)
    dy, y = same("leaky_relu_adjoint", dy=dy, y=y)  # type: ignore[assignment]
    out = output("leaky_relu_adjoint", out, y.shape, y)
    pick("leaky_relu_adjoint", y, rung)(dy, y, slope, out)
    return out
