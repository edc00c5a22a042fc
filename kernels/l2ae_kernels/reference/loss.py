"""The squared error in NumPy, or where the arrays are: the specification.

    squared_error          E = Σ (y − x)²                 Eq. 3 of the paper is E / N of N images
    squared_error_adjoint  dy = 2 (y − x) dE              dE = ∂loss/∂E

Eq. 3 is computed by these functions for any array, and by `squared_error` of
cpu/microkernels/elementwise.py (rung `register`, and the compiled training step).
"""

import numpy as np

from l2ae_kernels.arrays import Array


def squared_error(y: Array, x: Array) -> complex:
    """Return Σ (y − x)², summed in float64; complex where y is: complex steps work."""
    residual = y - x
    wide = np.complex128 if np.iscomplexobj(residual) else np.float64
    error: complex = (residual * residual).sum(dtype=wide).item()
    return error


def squared_error_adjoint(y: Array, x: Array, dE: float, out: Array) -> None:
    """Write 2 (y − x) dE to `out`."""
    out[...] = (y - x) * (2.0 * dE)
