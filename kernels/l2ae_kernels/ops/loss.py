"""The squared error, Eq. 3 of the paper."""

from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import inputs, number, output


def squared_error(y: Array, x: Array, *, impl: str | None = None) -> float:
    """Return Σ (y − x)² of two arrays (...), complex where they are.

    Raises ValueError when an argument does not fit.
    """
    y, x = inputs("squared_error", y, x)
    run = pick("squared_error", y, impl)
    error: float = run(y, x) if y.size else 0.0
    return error


def squared_error_adjoint(
    y: Array, x: Array, dE: float = 1.0, *, out: Array | None = None, impl: str | None = None
) -> Array:
    """Return dy = 2 (y − x) dE, where dE ≥ 0 is ∂loss/∂E; ValueError when an input does not fit."""
    y, x = inputs("squared_error_adjoint", y, x)
    run = pick("squared_error_adjoint", y, impl)
    dE = number("squared_error_adjoint", "dE", dE)
    dy = output("squared_error_adjoint", out, y.shape, y, x)
    if dy.size:
        run(y, x, dE, dy)
    return dy if out is None else out
