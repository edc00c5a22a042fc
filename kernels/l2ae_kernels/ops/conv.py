"""The strided correlation of NHWC maps and its two adjoints."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Padding, Pair, output_size, require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import output, require_axes, same


def correlate(
    x: Array,
    W: Array,
    b: Array | None = None,
    *,
    stride: Pair,
    padding: Padding,
    out: Array | None = None,
    rung: str | None = None,
) -> Array:
    """Strided correlation of x (N, H, W, C) with W (kh, kw, C, K), plus b (K,): (N, OH, OW, K).

    Raises ValueError when shapes or dtypes do not fit.
    """
    require_axes("correlate", x=(x, 4), W=(W, 4))
    require_shape("correlate", "W", W.shape[2:3], x.shape[3:])
    x, W, b = same("correlate", x=x, W=W, b=b)  # type: ignore[assignment]
    OH, OW = output_size(x.shape[1:3], W.shape[:2], stride, padding)
    out = output("correlate", out, (len(x), OH, OW, W.shape[3]), x)
    pick("correlate", x, rung)(x, W, b, out, stride, padding)
    return out


def correlate_adjoint_x(
    y: Array,
    W: Array,
    b: Array | None = None,
    *,
    image_size: Pair,
    stride: Pair,
    padding: Padding,
    out: Array | None = None,
    rung: str | None = None,
) -> Array:
    """Adjoint of `correlate` in x: y (N, OH, OW, K), W (kh, kw, C, K) → (N, H, W, C), plus b (C,).

    `image_size` is (H, W). Raises ValueError when shapes or dtypes do not fit.
    """
    require_axes("correlate_adjoint_x", y=(y, 4), W=(W, 4))
    size = output_size(image_size, W.shape[:2], stride, padding)
    require_shape("correlate_adjoint_x", "y", y.shape[1:], (*size, W.shape[3]))
    y, W, b = same("correlate_adjoint_x", y=y, W=W, b=b)  # type: ignore[assignment]
    out = output("correlate_adjoint_x", out, (len(y), *image_size, W.shape[2]), y)
    pick("correlate_adjoint_x", y, rung)(y, W, b, out, stride, padding)
    return out


def correlate_adjoint_W(
    x: Array,
    y: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    out: Array | None = None,
    rung: str | None = None,
) -> Array:
    """Adjoint of `correlate` in W: x (N, H, W, C), y (N, OH, OW, K) → (kh, kw, C, K).

    Raises ValueError when shapes or dtypes do not fit.
    """
    require_axes("correlate_adjoint_W", x=(x, 4), y=(y, 4))
    size = output_size(x.shape[1:3], kernel_size, stride, padding)
    require_shape("correlate_adjoint_W", "y", y.shape[:3], (len(x), *size))
    x, y = same("correlate_adjoint_W", x=x, y=y)  # type: ignore[assignment]
    out = output("correlate_adjoint_W", out, (*kernel_size, x.shape[3], y.shape[3]), x)
    pick("correlate_adjoint_W", x, rung)(x, y, out, stride, padding)
    return out
