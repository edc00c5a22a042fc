"""The operations: shapes are checked, outputs allocated where none is given, the rung is picked.

All arrays are C-contiguous, images and feature maps NHWC, every argument of one dtype: float32 or
float64 for the fast implementations, complex128 for complex steps. `out` is written and returned.
`rung` forces an implementation of the table by name. `l2ae_kernels.reference` has the formulas.
"""

from l2ae_kernels.arrays import Array, array_module, get_place
from l2ae_kernels.geometry import Padding, Pair, output_size, require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.reference.restarts import Restarts


def _output(operation: str, out: Array | None, shape: tuple[int, ...], like: Array) -> Array:
    if out is None:
        return array_module(like).empty_like(like, order="C", shape=shape)  # type: ignore[no-any-return]
    require_shape(operation, "out", out.shape, shape)
    if out.dtype != like.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"{operation}: out must be C-contiguous {like.dtype}, it is {out.dtype} with strides "
            f"{out.strides}"
        )
    return out


def _same(operation: str, **arrays: Array | None) -> list[Array | None]:
    """Check that all arrays have one dtype and one place, and return them C-contiguous."""
    if len({a.dtype for a in arrays.values() if a is not None}) != 1:
        found = {name: str(a.dtype) for name, a in arrays.items() if a is not None}
        raise ValueError(f"{operation}: arguments must have one dtype, they have {found}")
    if len({get_place(a) for a in arrays.values() if a is not None}) != 1:
        found = {name: get_place(a) for name, a in arrays.items() if a is not None}
        raise ValueError(f"{operation}: arguments must be in one memory, they are on {found}")
    return [None if a is None else _contiguous(a) for a in arrays.values()]


def _contiguous(a: Array) -> Array:
    return a if a.flags.c_contiguous else a.copy(order="C")


def _require_axes(operation: str, **arrays: tuple[Array, int]) -> None:
    for name, (a, axes) in arrays.items():
        if a.ndim != axes:
            raise ValueError(f"{operation}: {name} must have {axes} axes, it has shape {a.shape}")


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
    _require_axes("correlate", x=(x, 4), W=(W, 4))
    require_shape("correlate", "W", W.shape[2:3], x.shape[3:])
    x, W, b = _same("correlate", x=x, W=W, b=b)  # type: ignore[assignment]
    OH, OW = output_size(x.shape[1:3], W.shape[:2], stride, padding)
    out = _output("correlate", out, (len(x), OH, OW, W.shape[3]), x)
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
    _require_axes("correlate_adjoint_x", y=(y, 4), W=(W, 4))
    size = output_size(image_size, W.shape[:2], stride, padding)
    require_shape("correlate_adjoint_x", "y", y.shape[1:], (*size, W.shape[3]))
    y, W, b = _same("correlate_adjoint_x", y=y, W=W, b=b)  # type: ignore[assignment]
    out = _output("correlate_adjoint_x", out, (len(y), *image_size, W.shape[2]), y)
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
    _require_axes("correlate_adjoint_W", x=(x, 4), y=(y, 4))
    size = output_size(x.shape[1:3], kernel_size, stride, padding)
    require_shape("correlate_adjoint_W", "y", y.shape[:3], (len(x), *size))
    x, y = _same("correlate_adjoint_W", x=x, y=y)  # type: ignore[assignment]
    out = _output("correlate_adjoint_W", out, (*kernel_size, x.shape[3], y.shape[3]), x)
    pick("correlate_adjoint_W", x, rung)(x, y, out, stride, padding)
    return out


def dense(
    x: Array, W: Array, b: Array | None = None, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x (N, I) @ W (I, O) + b (O,); ValueError when shapes or dtypes do not fit."""
    _require_axes("dense", x=(x, 2), W=(W, 2))
    require_shape("dense", "x", x.shape[1:], W.shape[:1])
    x, W, b = _same("dense", x=x, W=W, b=b)  # type: ignore[assignment]
    out = _output("dense", out, (len(x), W.shape[1]), x)
    pick("dense", x, rung)(x, W, b, out)
    return out


def dense_adjoint_x(
    dy: Array, W: Array, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return dy (N, O) @ W (I, O)ᵀ; ValueError when shapes or dtypes do not fit."""
    _require_axes("dense_adjoint_x", dy=(dy, 2), W=(W, 2))
    require_shape("dense_adjoint_x", "dy", dy.shape[1:], W.shape[1:])
    dy, W = _same("dense_adjoint_x", dy=dy, W=W)  # type: ignore[assignment]
    out = _output("dense_adjoint_x", out, (len(dy), W.shape[0]), dy)
    pick("dense_adjoint_x", dy, rung)(dy, W, out)
    return out


def dense_adjoint_W(
    x: Array, dy: Array, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x (N, I)ᵀ @ dy (N, O); ValueError when shapes or dtypes do not fit."""
    _require_axes("dense_adjoint_W", x=(x, 2), dy=(dy, 2))
    require_shape("dense_adjoint_W", "dy", dy.shape[:1], x.shape[:1])
    x, dy = _same("dense_adjoint_W", x=x, dy=dy)  # type: ignore[assignment]
    out = _output("dense_adjoint_W", out, (x.shape[1], dy.shape[1]), x)
    pick("dense_adjoint_W", x, rung)(x, dy, out)
    return out


def bias_adjoint(dy: Array, *, out: Array | None = None, rung: str | None = None) -> Array:
    """Return the sum of dy (..., C) over all axes but the last: (C,)."""
    (dy,) = _same("bias_adjoint", dy=dy)  # type: ignore[assignment]
    out = _output("bias_adjoint", out, dy.shape[-1:], dy)
    pick("bias_adjoint", dy, rung)(dy.reshape(-1, dy.shape[-1]), out)
    return out


def leaky_relu(
    x: Array, slope: float, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return x where it is positive, else slope · x; `slope` ≥ 0, and 0 is ReLU."""
    (x,) = _same("leaky_relu", x=x)  # type: ignore[assignment]
    out = _output("leaky_relu", out, x.shape, x)
    pick("leaky_relu", x, rung)(x, slope, out)
    return out


def leaky_relu_adjoint(
    dy: Array, y: Array, slope: float, *, out: Array | None = None, rung: str | None = None
) -> Array:
    """Return dy where the output y is positive, else slope · dy; dy has the shape of y."""
    require_shape("leaky_relu_adjoint", "dy", dy.shape, y.shape)
    dy, y = _same("leaky_relu_adjoint", dy=dy, y=y)  # type: ignore[assignment]
    out = _output("leaky_relu_adjoint", out, y.shape, y)
    pick("leaky_relu_adjoint", y, rung)(dy, y, slope, out)
    return out


def adam_step(
    p: Array,
    m: Array,
    v: Array,
    g: Array,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    variant: str,
    rung: str | None = None,
) -> None:
    """One step of Adam in place on p, m and v, all of g's shape; `step` counts from 1.

    Raises ValueError when shapes or dtypes differ, or `variant` is neither "keras" nor "torch".
    """
    if variant not in ("keras", "torch"):
        raise ValueError(f"adam_step: variant is {variant!r} but expected 'keras' or 'torch'")
    for name, a in {"p": p, "m": m, "v": v}.items():
        require_shape("adam_step", name, a.shape, g.shape)
    _same("adam_step", p=p, m=m, v=v, g=g)
    if not all(a.flags.c_contiguous for a in (p, m, v)):
        raise ValueError("adam_step: p, m and v are changed in place and must be C-contiguous")
    pick("adam_step", p, rung)(
        p, m, v, _contiguous(g),
        learning_rate=learning_rate, beta1=beta1, beta2=beta2, eps=eps, step=step, variant=variant,
    )  # fmt: skip


def assign(x: Array, centers: Array, *, rung: str | None = None) -> tuple[Array, Array]:
    """Nearest centre of each point: labels int32 (n,), squared distances (n,); ties take the first.

    x (n, d), centers (k, d). Raises ValueError when shapes or dtypes do not fit.
    """
    _require_axes("assign", x=(x, 2), centers=(centers, 2))
    if x.shape[1] != centers.shape[1]:
        raise ValueError(f"assign: x is {x.shape} but centers are {centers.shape}: features differ")
    x, centers = _same("assign", x=x, centers=centers)  # type: ignore[assignment]
    labels, distances = pick("assign", x, rung)(x, centers)
    return labels, distances


def update(x: Array, labels: Array, k: int, *, rung: str | None = None) -> tuple[Array, Array]:
    """Sums of the points of each cluster, float64 (k, d), and their counts, int64 (k,)."""
    _require_axes("update", x=(x, 2), labels=(labels, 1))
    require_shape("update", "labels", labels.shape, x.shape[:1])
    (x,) = _same("update", x=x)  # type: ignore[assignment]
    sums, counts = pick("update", x, rung)(x, labels, k)
    return sums, counts


def restarts(x: Array, k: int, runs: int, *, rung: str | None = None) -> Restarts:
    """Several Lloyd runs over the points x (n, d) with k centers each, see `Restarts`."""
    _require_axes("restarts", x=(x, 2))
    (x,) = _same("restarts", x=x)  # type: ignore[assignment]
    made: Restarts = restarts_class(x, rung)(x, k, runs)
    return made


def restarts_class(x: Array, rung: str | None = None) -> type[Restarts]:
    """The class of `restarts(x, …)`: it knows what memory a run takes."""
    picked: type[Restarts] = pick("restarts", x, rung)  # type: ignore[assignment]
    return picked
