"""The strided correlation of NHWC maps and its two adjoints.

`stride` is (rows, columns) or one integer for both; `padding` is ((top, bottom), (left, right)),
one integer for all four, "valid" for none, or "same" for TensorFlow's rule: ⌈H/stride⌉ outputs.
"""

from typing import Any, Literal, TypeAlias

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Geometry, Padding, Pair, output_size, require_shape, same_padding
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import inputs, output, pair, zeros

PaddingRule: TypeAlias = int | Padding | Literal["same", "valid"]


def correlate(
    x: Array,
    W: Array,
    b: Array | None = None,
    *,
    stride: int | Pair,
    padding: PaddingRule,
    out: Array | None = None,
    impl: str | None = None,
) -> Array:
    """Strided correlation of x (N, H, W, C) with W (kh, kw, C, K), plus b (K,): (N, OH, OW, K).

    Raises ValueError when an argument does not fit.
    """
    x, W, b = inputs("correlate", x, W, b)
    steps, around, size = _geometry("correlate", x.shape[1:3], W.shape[:2], stride, padding)
    g = Geometry.of(x.shape, (*size, W.shape[3]), W.shape[:2], steps, around)
    run = pick("correlate", x, impl, g)
    y = output("correlate", out, (len(x), *size, W.shape[3]), x, W, b)
    if y.size:
        run(x, W, b, y, steps, around)
    return y if out is None else out


def correlate_adjoint_x(
    y: Array,
    W: Array,
    b: Array | None = None,
    *,
    image_size: Pair,
    stride: int | Pair,
    padding: PaddingRule,
    out: Array | None = None,
    impl: str | None = None,
) -> Array:
    """Adjoint of `correlate` in x: y (N, OH, OW, K), W (kh, kw, C, K) → (N, H, W, C), plus b (C,).

    `image_size` is (H, W). Raises ValueError when an argument does not fit.
    """
    y, W, b = inputs("correlate_adjoint_x", y, W, b)
    image = pair("correlate_adjoint_x", "image_size", image_size)
    steps, around, size = _geometry("correlate_adjoint_x", image, W.shape[:2], stride, padding)
    require_shape("correlate_adjoint_x", "y", y.shape[1:3], size)
    g = Geometry.of((*image, W.shape[2]), y.shape, W.shape[:2], steps, around)
    run = pick("correlate_adjoint_x", y, impl, g)
    x = output("correlate_adjoint_x", out, (len(y), *image, W.shape[2]), y, W, b)
    if x.size:
        run(y, W, b, x, steps, around)
    return x if out is None else out


def correlate_adjoint_W(
    x: Array,
    y: Array,
    *,
    kernel_size: Pair,
    stride: int | Pair,
    padding: PaddingRule,
    out: Array | None = None,
    impl: str | None = None,
) -> Array:
    """Adjoint of `correlate` in W: x (N, H, W, C), y (N, OH, OW, K) → (kh, kw, C, K).

    Raises ValueError when an argument does not fit.
    """
    x, y = inputs("correlate_adjoint_W", x, y)
    kernel = pair("correlate_adjoint_W", "kernel_size", kernel_size)
    steps, around, size = _geometry("correlate_adjoint_W", x.shape[1:3], kernel, stride, padding)
    require_shape("correlate_adjoint_W", "y", y.shape[1:3], size)
    g = Geometry.of(x.shape, y.shape, kernel, steps, around)
    run = pick("correlate_adjoint_W", x, impl, g)
    W = output("correlate_adjoint_W", out, (*kernel, x.shape[3], y.shape[3]), x, y)
    if x.size:
        run(x, y, W, steps, around)
    else:
        W[...] = 0
    return W if out is None else out


def _geometry(
    operation: str, image: Any, kernel: Any, stride: Any, padding: Any
) -> tuple[Pair, Padding, Pair]:
    """Return strides, zeros around the image, and the size of the output; see the module."""
    steps = pair(operation, "stride", stride)
    if isinstance(padding, str) and padding == "same":
        rows, columns = (same_padding(*side) for side in zip(image, kernel, steps, strict=True))
        around = rows, columns
    else:
        around = zeros(operation, 0 if isinstance(padding, str) and padding == "valid" else padding)
    return steps, around, output_size(image, kernel, steps, around, operation)
