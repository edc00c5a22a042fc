"""What an operation must give: the reference in float64, and how far rounding may take it.

eps is the unit of the data type, n the terms of a sum: a sum of products in any order is off by at
most (n + a few) eps Σ|terms|, and Σ|terms| is the operation itself on absolute values.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from l2ae_kernels import ops

Array = npt.NDArray[Any]
FEW = 16  # roundings of an expression beside those of its sums
WINOGRAD = 100  # eps of the largest Σ|terms|: transforms mix the pixels of a tile
LINEAR = {"correlate", "correlate_adjoint_x", "correlate_adjoint_W", "dense", "dense_adjoint_x",
          "dense_adjoint_W", "bias_adjoint"}  # fmt: skip


def expected(operation: str, arguments: dict[str, Any]) -> list[tuple[Array, Array]]:
    """Return what has to come, and its bounds; the arrays are those of the call."""
    eps = max(np.finfo(a.dtype).eps for a in arguments.values() if _real(a))
    wide = {name: _wide(a) for name, a in arguments.items() if name not in ("out", "impl")}
    with np.errstate(all="ignore"):
        if operation in LINEAR:
            return [_linear(operation, wide, float(eps))]
        if operation == "adam_step":
            return _adam(wide, float(eps))
        found = getattr(ops, operation)(**wide, impl="reference")
        results = found if isinstance(found, tuple) else (np.asarray(found),)
        bounds = BOUNDS[operation](wide, float(eps), results)
        return list(zip(results, bounds, strict=True))


def nearest(x: Array, centers: Array, labels: Array, distances: Array | None) -> bool:
    """Whether each label is that of a nearest center, up to rounding, and distances are theirs."""
    x, centers = np.asarray(x), np.asarray(centers)
    limit = (x.shape[1] + FEW) * float(np.finfo(x.dtype).eps)
    squares = ((x[:, None].astype("f8") - centers) ** 2).sum(axis=2)
    chosen, best = squares[np.arange(len(x)), labels], squares.min(axis=1, initial=np.inf)
    fine = np.all(chosen <= best * (1 + 2 * limit) + 1e-37)
    if distances is not None:
        fine &= np.all(np.abs(distances - chosen) <= limit * chosen + 1e-37)
    return bool(fine)


def assert_close(got: Array, exact: Array, bound: Array | None) -> None:
    """Assert shape and, with a bound, numbers; where one of these is not finite, nothing is."""
    assert got.shape == exact.shape, f"shape {got.shape} but expected {exact.shape}"
    if bound is not None:
        with np.errstate(all="ignore"):
            beyond = np.abs(got - exact) - bound - 1e-37  # the smallest normal number, and more
        wrong = np.isfinite(exact) & np.isfinite(bound) & ~(beyond <= 0)
        assert not wrong.any(), f"{beyond[wrong].max():.3g} beyond rounding"


def _real(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind in "fc"


def _wide(a: Any) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    wide = {"f": "f8", "c": "c16"}.get(a.dtype.kind, a.dtype)
    return np.array(a, wide, order="C", subok=False)


def _linear(operation: str, wide: dict[str, Any], eps: float) -> tuple[Array, Array]:
    run = getattr(ops, operation)
    absolute = {n: np.abs(a) if isinstance(a, np.ndarray) else a for n, a in wide.items()}
    size = run(**absolute, impl="reference")
    first = next(iter(wide.values()))
    terms = first.size + sum(a.size for a in wide.values() if _real(a) and a.ndim > 1)
    if "W" in wide:
        terms = wide["W"].size // max(1, size.shape[-1])
    elif operation != "bias_adjoint":
        terms = math.prod(wide["dy" if "dy" in wide else "y"].shape[:-1])
    bound = (terms + FEW) * eps * size
    if operation.startswith("correlate"):
        bound = bound + WINOGRAD * eps * size.max(initial=0)
    return run(**wide, impl="reference"), bound


def _adam(wide: dict[str, Any], eps: float) -> list[tuple[Array, Array]]:
    p, m, v, g = (wide[name] for name in "pmvg")
    before = [np.abs(a) for a in (p, m, v)]
    ops.adam_step(p, m, v, g, wide["settings"], step=wide["step"], impl="reference")
    sizes = [before[1] + np.abs(g), before[2] + g * g]
    s, t = wide["settings"], wide["step"]
    correction = math.sqrt(1 - s.beta2**t)
    scale = 1 / correction if s.variant == "torch" else 1.0
    rate = s.learning_rate / (1 - s.beta1**t) * (1.0 if s.variant == "torch" else correction)
    step = rate * (s.beta1 * before[1] + (1 - s.beta1) * np.abs(g)) / (np.sqrt(v) * scale + s.eps)
    bounds = [
        FEW * 2 * eps * step + 2 * eps * (before[0] + np.abs(p)),
        *(4 * eps * a for a in sizes),
    ]
    return list(zip((p, m, v), bounds, strict=True))


def _rows(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1])


def _elementwise(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    return [2 * eps * np.abs(results[0])]


def _l2_normalize(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    return [(wide["z"].shape[-1] + FEW) * eps * np.abs(a) for a in results]


def _l2_normalize_adjoint(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    u, du = np.abs(wide["u"]), np.abs(wide["du"])
    size = (du + u * (u * du).sum(axis=-1, keepdims=True)) / np.abs(wide["n"])
    return [(u.shape[-1] + FEW) * eps * size]


def _squared_error(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    y = np.abs(wide["y"] - wide["x"])
    return [(y.size + FEW) * eps * np.asarray((y * y).sum())]


def _moments(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    x = np.abs(_rows(wide["x"]))
    unit = 4 * (len(x) + FEW) * eps
    return [unit * x.mean(axis=0), unit * x.max(axis=0) ** 2]


def _batch_norm(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    x_hat = (np.abs(wide["x"]) + np.abs(wide["mean"])) / np.abs(wide["sigma"])
    gamma, beta = wide.get("gamma"), wide.get("beta")
    size = x_hat if gamma is None else x_hat * np.abs(gamma)
    return [FEW * eps * (size if beta is None else size + np.abs(beta))]


def _batch_norm_adjoint(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    x_hat = (np.abs(wide["x"]) + np.abs(wide["mean"])) / np.abs(wide["sigma"])
    return _adjoint(wide, eps, _rows(x_hat), np.abs(wide["sigma"]), axis=0)


def _layer_norm(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    size = _amplified(wide["x"], wide["eps"])
    gamma, beta = wide.get("gamma"), wide.get("beta")
    size = size if gamma is None else size * np.abs(gamma)
    terms = wide["x"].shape[-1] + FEW
    return [2 * terms * eps * size + (0 if beta is None else 2 * eps * np.abs(beta))]


def _layer_norm_adjoint(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    x = _rows(wide["x"])
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + wide["eps"])
    return _adjoint(wide, eps, np.broadcast_to(_amplified(x, wide["eps"]), x.shape), sigma, axis=1)


def _amplified(x: Array, eps: float) -> Array:
    """Bound of x̂ and of what rounding of μ and σ adds to it, in units of rounding."""
    most = np.abs(x).max(axis=-1, keepdims=True)
    sigma = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return 2 * (most / sigma) * (1 + 4 * (most / sigma) ** 2) + 0 * x


def _adjoint(
    wide: dict[str, Any], eps: float, x_hat: Array, sigma: Array, axis: int
) -> list[Array]:
    """dx, dγ and dβ of a normalization whose x̂ is at most `x_hat` in size, along an axis."""
    dy, gamma = np.abs(_rows(wide["dy"])), wide.get("gamma")
    unit = 4 * (max(x_hat.shape) + FEW) * eps
    dx_hat = dy if gamma is None else dy * np.abs(gamma)
    means = dx_hat.mean(axis=axis, keepdims=True)
    means = means + x_hat * (x_hat * dx_hat).mean(axis=axis, keepdims=True)
    dx = unit * (dx_hat + means) * (1 + x_hat) / sigma
    return [dx.reshape(wide["x"].shape), unit * (dy * x_hat).sum(axis=0), unit * dy.sum(axis=0)]


def _warp(wide: dict[str, Any], eps: float, results: Any) -> list[Array]:
    """Places are those of the reference: weights are off by eps, and their sum is 1."""
    x = np.abs(wide["x"])
    return [FEW * eps * x.max(axis=(1, 2), keepdims=True, initial=0) + 0 * x]


BOUNDS = {
    "leaky_relu": _elementwise,
    "leaky_relu_adjoint": _elementwise,
    "l2_normalize": _l2_normalize,
    "l2_normalize_adjoint": _l2_normalize_adjoint,
    "squared_error": _squared_error,
    "squared_error_adjoint": _elementwise,
    "moments": _moments,
    "batch_norm": _batch_norm,
    "batch_norm_adjoint": _batch_norm_adjoint,
    "layer_norm": _layer_norm,
    "layer_norm_adjoint": _layer_norm_adjoint,
    "warp": _warp,
}
