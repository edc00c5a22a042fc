"""Normalizations over the last axis (Eq. 4 of the paper, batch, layer), and their adjoints.

Without affine parameters γ is 1 and β is 0: None stands for both.
"""

import numpy as np

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import inputs, number, output, readable


def l2_normalize(
    z: Array, *, eps: float, out: Array | None = None, impl: str | None = None
) -> tuple[Array, Array]:
    """Return u = z / n (..., C) and n = √(|z|² + ε²) (..., 1) of z (..., C); ε > 0.

    Raises ValueError when an argument does not fit.
    """
    (z,) = inputs("l2_normalize", z)
    run = pick("l2_normalize", z, impl)
    eps = number("l2_normalize", "eps", eps, positive=True)
    u = output("l2_normalize", out, z.shape, z)
    n = output("l2_normalize", None, (*z.shape[:-1], 1), z)
    if u.size:
        run(_rows(z), eps, _rows(u), _rows(n))
    return (u if out is None else out), n


def l2_normalize_adjoint(
    du: Array, u: Array, n: Array, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return dz = (du − u ⟨u, du⟩) / n (..., C); ValueError when an argument does not fit."""
    operation = "l2_normalize_adjoint"
    u, du, n = inputs(operation, u, du, n)
    run = pick(operation, u, impl)
    dz = output(operation, out, u.shape, u, du, n)
    if dz.size:
        run(_rows(du), _rows(u), _rows(n), _rows(dz))
    return dz if out is None else out


def moments(x: Array, *, impl: str | None = None) -> tuple[Array, Array]:
    """Return mean and biased variance, (C,) each, of x (..., C) over all axes but the last.

    Raises ValueError when there is nothing to take the mean of.
    """
    (x,) = inputs("moments", x)
    run = pick("moments", x, impl)
    if not x.size:
        raise ValueError(f"moments: x has shape {x.shape}, an empty array has no mean")
    mean, variance = (output("moments", None, x.shape[-1:], x) for _ in range(2))
    run(_rows(x), mean, variance)
    return mean, variance


def batch_norm(
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    out: Array | None = None,
    impl: str | None = None,
) -> Array:
    """Return γ (x − μ)/σ + β (..., C); μ, σ, γ and β are (C,).

    Raises ValueError when an argument does not fit.
    """
    x, mean, sigma, gamma, beta = inputs("batch_norm", x, mean, sigma, gamma, beta)
    run = pick("batch_norm", x, impl)
    y = output("batch_norm", out, x.shape, x, mean, sigma, gamma, beta)
    if y.size:
        run(_rows(x), mean, sigma, _ones(gamma, x), _zeros(beta, x), _rows(y))
    return y if out is None else out


def batch_norm_adjoint(
    dy: Array,
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None = None,
    *,
    of_batch: bool,
    out: Array | None = None,
    impl: str | None = None,
) -> tuple[Array, Array, Array]:
    """Return dx (..., C), dγ and dβ (C,); `of_batch` says that μ and σ were made of x, and move.

    Raises ValueError when an argument does not fit.
    """
    operation = "batch_norm_adjoint"
    x, dy, mean, sigma, gamma = inputs(operation, x, dy, mean, sigma, gamma)
    run = pick(operation, x, impl)
    if not isinstance(of_batch, bool | np.bool_):
        raise ValueError(f"{operation}: of_batch is {of_batch!r} but expected True or False")
    dx = output(operation, out, x.shape, x, dy, mean, sigma, gamma)
    dgamma, dbeta = _columns(x), _columns(x)
    if dx.size:
        affine = mean, sigma, _ones(gamma, x)
        run(_rows(dy), _rows(x), *affine, bool(of_batch), _rows(dx), dgamma, dbeta)
    return (dx if out is None else out), dgamma, dbeta


def layer_norm(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    *,
    eps: float,
    out: Array | None = None,
    impl: str | None = None,
) -> Array:
    """Return γ (x − μ)/√(v + ε) + β (..., C) with mean μ and variance v along the last axis.

    Raises ValueError when an argument does not fit.
    """
    x, gamma, beta = inputs("layer_norm", x, gamma, beta)
    run, eps = pick("layer_norm", x, impl), number("layer_norm", "eps", eps)
    y = output("layer_norm", out, x.shape, x, gamma, beta)
    if y.size:
        run(_rows(x), _ones(gamma, x), _zeros(beta, x), eps, _rows(y))
    return y if out is None else out


def layer_norm_adjoint(
    dy: Array,
    x: Array,
    gamma: Array | None = None,
    *,
    eps: float,
    out: Array | None = None,
    impl: str | None = None,
) -> tuple[Array, Array, Array]:
    """Return dx (..., C), dγ and dβ (C,); ValueError when an argument does not fit."""
    operation = "layer_norm_adjoint"
    x, dy, gamma = inputs(operation, x, dy, gamma)
    run, eps = pick(operation, x, impl), number(operation, "eps", eps)
    dx = output(operation, out, x.shape, x, dy, gamma)
    dgamma, dbeta = _columns(x), _columns(x)
    if dx.size:
        run(_rows(dy), _rows(x), _ones(gamma, x), eps, _rows(dx), dgamma, dbeta)
    return (dx if out is None else out), dgamma, dbeta


def _rows(x: Array) -> Array:
    """A view (R, C) of x (..., C)."""
    return x.reshape(-1, x.shape[-1])


def _ones(gamma: Array | None, x: Array) -> Array:
    """γ, or 1 in each column of x."""
    return readable(array_module(x).ones_like(x, shape=x.shape[-1:])) if gamma is None else gamma


def _zeros(beta: Array | None, x: Array) -> Array:
    """β, or 0 in each column of x."""
    return readable(_columns(x)) if beta is None else beta


def _columns(x: Array) -> Array:
    """Zeros in each column of x, to write to."""
    zeros: Array = array_module(x).zeros_like(x, shape=x.shape[-1:])
    return zeros
