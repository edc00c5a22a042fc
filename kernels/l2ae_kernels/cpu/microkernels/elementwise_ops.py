"""Rows of the implementations table: Eq. 3 and Eq. 4 by the kernels of a training step, float32."""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.elementwise import NORMALIZE, NORMALIZE_ADJOINT, SQUARED_ERROR
from l2ae_kernels.cpu.microkernels.ops import run, vectors_here
from l2ae_kernels.cpu.microkernels.program import Call, address


def l2_normalize(z: Array, eps: float, u: Array, n: Array) -> None:
    """Write z / n to `u` (R, C), and n (R, 1)."""
    inverse, eps2 = np.empty_like(n), np.array([eps**2], np.float32)
    run(vectors_here(), [Call("normalize", NORMALIZE.row(
        z=address(z), u=address(u), inverse=address(inverse), samples=len(z), D=z.shape[1],
        eps2=address(eps2),
    ))])  # fmt: skip
    with np.errstate(divide="ignore"):
        np.divide(1, inverse, out=n)


def l2_normalize_adjoint(du: Array, u: Array, n: Array, dz: Array) -> None:
    """Write (du − u ⟨u, du⟩) / n to `dz` (R, C)."""
    with np.errstate(divide="ignore"):
        inverse = 1 / n
    run(vectors_here(), [Call("normalize_adjoint", NORMALIZE_ADJOINT.row(
        u=address(u), inverse=address(inverse), du=address(du), dz=address(dz), samples=len(u),
        D=u.shape[1],
    ))])  # fmt: skip


def squared_error(y: Array, x: Array) -> float:
    """Return Σ (y − x)²: rows in float32, their sum in float64."""
    return _squared_error(y, x, 0.0, np.empty_like(y))


def squared_error_adjoint(y: Array, x: Array, dE: float, out: Array) -> None:
    """Write 2 (y − x) dE to `out`."""
    _squared_error(y, x, 2 * dE, out)


def _squared_error(y: Array, x: Array, scale: float, d: Array) -> float:
    columns = y.shape[-1] if y.ndim else 1
    factor, loss = np.array([scale], np.float32), np.zeros(1)
    run(vectors_here(), [Call("squared_error", SQUARED_ERROR.row(
        y=address(y), x=address(x), x_sample=0, x_row=columns, d=address(d), d_sample=0,
        d_row=columns, samples=1, rows=y.size // columns, columns=columns, total=1,
        scale=address(factor), loss=address(loss), loss_sample=0,
    ))])  # fmt: skip
    return float(loss[0])
