"""Batch and layer normalization over the last axis, and their adjoints.

Without affine parameters γ is 1 and β is 0: None stands for both.
"""

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.implementations import pick
from l2ae_kernels.ops.checks import output, same


def moments(x: Array, *, rung: str | None = None) -> tuple[Array, Array]:
    """Return mean and biased variance, (C,) each, of x (..., C) over all axes but the last.

    Raises ValueError when there is nothing to take the mean of.
    """
    (x,) = same("moments", x=x)  # type: ignore[assignment]
    if not x.size:
        raise ValueError(f"moments: x has shape {x.shape}, an empty array has no mean")
    mean, variance = (output("moments", None, x.shape[-1:], x) for _ in range(2))
    pick("moments", x, rung)(_rows(x), mean, variance)
    return mean, variance


def batch_norm(
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    out: Array | None = None,
    rung: str | None = None,
) -> Array:
    """Return γ (x − μ)/σ + β (..., C); μ, σ, γ and β are (C,).

    Raises ValueError when shapes or dtypes do not fit.
    """
    vectors = {"mean": mean, "sigma": sigma, "gamma": gamma, "beta": beta}
    x, mean, sigma, gamma, beta = _columns("batch_norm", {"x": x}, **vectors)
    out = output("batch_norm", out, x.shape, x)
    pick("batch_norm", x, rung)(_rows(x), mean, sigma, gamma, beta, _rows(out))
    return out


def batch_norm_adjoint(
    dy: Array,
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None = None,
    *,
    of_batch: bool,
    out: Array | None = None,
    rung: str | None = None,
) -> tuple[Array, Array, Array]:
    """Return dx (..., C), dγ and dβ (C,); `of_batch` says that μ and σ were made of x, and move.

    Raises ValueError when shapes or dtypes do not fit.
    """
    vectors = {"mean": mean, "sigma": sigma, "gamma": gamma}
    dy, x, mean, sigma, gamma = _columns("batch_norm_adjoint", {"dy": dy, "x": x}, **vectors)
    out, dgamma, dbeta = _gradients("batch_norm_adjoint", x, out)
    pick("batch_norm_adjoint", dy, rung)(
        _rows(dy), _rows(x), mean, sigma, gamma, of_batch, _rows(out), dgamma, dbeta
    )
    return out, dgamma, dbeta


def layer_norm(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float,
    out: Array | None = None,
    rung: str | None = None,
) -> Array:
    """Return γ (x − μ)/√(v + ε) + β (..., C) with mean μ and variance v along the last axis.

    Raises ValueError when shapes or dtypes do not fit.
    """
    x, gamma, beta = _columns("layer_norm", {"x": x}, gamma=gamma, beta=beta)
    out = output("layer_norm", out, x.shape, x)
    pick("layer_norm", x, rung)(_rows(x), gamma, beta, eps, _rows(out))
    return out


def layer_norm_adjoint(
    dy: Array,
    x: Array,
    gamma: Array | None = None,
    *,
    eps: float,
    out: Array | None = None,
    rung: str | None = None,
) -> tuple[Array, Array, Array]:
    """Return dx (..., C), dγ and dβ (C,); ValueError when shapes or dtypes do not fit."""
    dy, x, gamma = _columns("layer_norm_adjoint", {"dy": dy, "x": x}, gamma=gamma)
    out, dgamma, dbeta = _gradients("layer_norm_adjoint", x, out)
    pick("layer_norm_adjoint", dy, rung)(_rows(dy), _rows(x), gamma, eps, _rows(out), dgamma, dbeta)
    return out, dgamma, dbeta


def _rows(x: Array) -> Array:
    """A view (R, C) of x (..., C)."""
    return x.reshape(-1, x.shape[-1])


def _columns(operation: str, arrays: dict[str, Array], **vectors: Array | None) -> list[Array]:
    """Check that arrays have the shape of x, and vectors an element for each column of it.

    All have one dtype and place. None stands for γ = 1 or β = 0.
    """
    x = arrays["x"]
    xp, C = array_module(x), x.shape[-1:]
    for name, a in arrays.items():
        require_shape(operation, name, a.shape, x.shape)
    for name, vector in vectors.items():
        if vector is None:
            vectors[name] = (xp.zeros_like if name == "beta" else xp.ones_like)(x, shape=C)
        else:
            require_shape(operation, name, vector.shape, C)
    return same(operation, **arrays, **vectors)  # type: ignore[return-value]


def _gradients(operation: str, x: Array, out: Array | None) -> tuple[Array, Array, Array]:
    """Room for dx, dγ and dβ."""
    dgamma, dbeta = (output(operation, None, x.shape[-1:], x) for _ in range(2))
    return output(operation, out, x.shape, x), dgamma, dbeta
