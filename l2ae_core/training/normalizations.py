"""The calls of a compiled step for what normalizes: Eq. 4, and layer normalization."""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from l2ae_core.layers import Params
from l2ae_core.training.stages import Linear, Normalize, Stage, Standardize
from l2ae_kernels.cpu.microkernels.calls import Call
from l2ae_kernels.cpu.microkernels.elementwise import NORMALIZE, NORMALIZE_ADJOINT
from l2ae_kernels.cpu.microkernels.ops import address
from l2ae_kernels.cpu.microkernels.standardize import STANDARDIZE, STANDARDIZE_ADJOINT

Normalization: TypeAlias = Normalize | Standardize


class Constants:
    """What the kernels of all threads read: parameters, and numbers at an address."""

    def __init__(self, stages: list[Stage], params: Params) -> None:
        self.params = params
        shapes = [stages[0].input_shape, *(s.output_shape for s in stages)]
        self.zeros = np.zeros(max(map(prod, shapes)), np.float32)
        self.ones, self.scale = np.ones_like(self.zeros), np.ones(1, np.float32)
        self.slopes = np.array([s.slope for s in stages], np.float32)
        guards = [0 if isinstance(s, Linear) else s.guard for s in stages]
        self.guards = np.array(guards, np.float32)  # ε or ε² under a root


@dataclass(frozen=True)
class Place:
    """Addresses of a stage's samples: what goes in, what comes out, what is kept for the way back.

    inverse and mean have one number for each row.
    """

    samples: int
    x: int
    y: int
    inverse: int
    mean: int


def forward(i: int, s: Normalization, here: Place, shared: Constants) -> Call:
    """The call of stage i."""
    guard = address(shared.guards[i:])
    if isinstance(s, Normalize):
        return Call("normalize", NORMALIZE.row(
            z=here.x, u=here.y, inverse=here.inverse, samples=here.samples, D=s.D, eps2=guard,
        ))  # fmt: skip
    gamma, beta = shared.ones, shared.zeros
    if s.affine:
        gamma, beta = (shared.params[f"{s.name}.{name}"] for name in ("gamma", "beta"))
    return Call("standardize", STANDARDIZE.row(
        x=here.x, y=here.y, mean=here.mean, inverse=here.inverse, gamma=address(gamma),
        beta=address(beta), eps=guard, slope=address(shared.slopes[i:]),
        rows=here.samples * s.rows, D=s.D,
    ))  # fmt: skip


def backward(
    s: Normalization, here: Place, dy: int, dx: int, shared: Constants, sums: dict[str, int]
) -> Call:
    """The call on the way back; `sums` has the addresses of dγ and dβ, where there are any."""
    if isinstance(s, Normalize):
        return Call("normalize_adjoint", NORMALIZE_ADJOINT.row(
            u=here.y, inverse=here.inverse, du=dy, dz=dx, samples=here.samples, D=s.D,
        ))  # fmt: skip
    gamma = shared.params[f"{s.name}.gamma"] if s.affine else shared.ones
    dgamma, dbeta = (sums[f"{s.name}.{n}"] if s.affine else 0 for n in ("gamma", "beta"))
    return Call("standardize_adjoint" + "_affine" * s.affine, STANDARDIZE_ADJOINT.row(
        x=here.x, dy=dy, dx=dx, mean=here.mean, inverse=here.inverse, gamma=address(gamma),
        dgamma=dgamma, dbeta=dbeta, rows=here.samples * s.rows, D=s.D,
    ))  # fmt: skip
