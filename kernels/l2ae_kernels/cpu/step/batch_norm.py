"""A batch norm of a compiled step: what it keeps of all samples of a batch, and its calls.

The step makes passes over all micro-batches; between two of them a batch norm adds up what each
micro-batch left, see microkernels/batch_norm.py:

    moments of each  →  statistics  →  normalize each  …  sums of each  →  gradients  →  adjoint

A step with convolutions keeps nothing but x and dy of a batch, a dense one all that there is.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.batch_norm import (
    BATCH_GRADIENTS,
    BATCH_MOMENTS,
    BATCH_NORM,
    BATCH_NORM_ADJOINT,
    BATCH_STATISTICS,
    BATCH_SUMS,
)
from l2ae_kernels.cpu.microkernels.program import FLOAT, Call, address
from l2ae_kernels.cpu.step.memory import Constants, aligned
from l2ae_kernels.stages import Params, Stage


class BatchNorm:
    """Stage i, for batches of so many micro-batches at most; `gradients` has the address of each.

    x, y, dy and dx of its calls are buffers of one micro-batch, and those of all are kept here; or,
    with `kept`, the addresses of x and dy, of the whole batch. `total` are the samples of a batch;
    where it is 0, each call has to be told.
    """

    def __init__(
        self, i: int, s: Stage, samples: int, micro_batches: int, constants: Constants,
        state: Params, gradients: Mapping[str, int], *, kept: tuple[int, int] | None = None,
        total: int = 0,
    ) -> None:  # fmt: skip
        C, floats = s.input_shape[-1], samples * prod(s.input_shape)
        self.batch = 0 if kept is None else floats
        self.memory: list[Array] = []
        if kept is None:
            self.memory = [aligned(micro_batches * floats) for _ in range(2)]
            kept = address(self.memory[0]), address(self.memory[1])
        self.x, self.dy = kept
        self.parts = np.zeros((micro_batches, 2, C), np.float32)
        self.statistics = np.zeros((3, C), np.float32)
        self.rest = np.array([1 - s.momentum], np.float32)
        self.unused = np.zeros((2, C), np.float32)  # dγ and dβ where there is no affine map
        self.running = [address(state[f"{s.name}.{name}"]) for name in s.state]
        self.gamma, self.beta = address(constants.ones), address(constants.zeros)
        self.dgamma, self.dbeta = address(self.unused), address(self.unused) + C * FLOAT
        if s.affine:
            self.gamma, self.beta = (constants.parameter(s, name) for name in ("gamma", "beta"))
            self.dgamma, self.dbeta = (gradients[f"{s.name}.{name}"] for name in ("gamma", "beta"))
        self.eps, self.slope = address(constants.guards[i:]), address(constants.slopes[i:])
        rows = prod(s.input_shape[:-1])
        self.sizes = {"samples": samples, "rows": rows, "C": C, "total": total}

    def moments(self, x: int) -> Call:
        """Keep x of a micro-batch, and leave its moments."""
        return Call("batch_moments", BATCH_MOMENTS.row(
            x=x, batch=self.batch, all_x=self.x, parts=address(self.parts), **self.sizes,
        ))  # fmt: skip

    def add_moments(self) -> Call:
        """μ, 1/σ and γ/σ of the batch; the running statistics move."""
        mean, variance = self.running
        return Call("batch_statistics", BATCH_STATISTICS.row(
            parts=address(self.parts), statistics=address(self.statistics), gamma=self.gamma,
            eps=self.eps, running_mean=mean, running_var=variance, rest=address(self.rest),
            **self.sizes,
        ))  # fmt: skip

    def forward(self, y: int) -> Call:
        """y = act(γ x̂ + β) of a micro-batch."""
        return Call("batch_norm", BATCH_NORM.row(
            all_x=self.x, y=y, batch=self.batch, statistics=address(self.statistics),
            beta=self.beta, slope=self.slope, **self.sizes,
        ))  # fmt: skip

    def sums(self, dy: int) -> Call:
        """Keep dy of a micro-batch, and leave Σ dy and Σ (x − μ) dy."""
        return Call("batch_sums", BATCH_SUMS.row(
            dy=dy, batch=self.batch, all_x=self.x, all_dy=self.dy,
            statistics=address(self.statistics), parts=address(self.parts), **self.sizes,
        ))  # fmt: skip

    def add_sums(self) -> Call:
        """dγ and dβ of the batch."""
        return Call("batch_gradients", BATCH_GRADIENTS.row(
            parts=address(self.parts), statistics=address(self.statistics), dgamma=self.dgamma,
            dbeta=self.dbeta, **self.sizes,
        ))  # fmt: skip

    def adjoint(self, dx: int) -> Call:
        """dx of a micro-batch."""
        return Call("batch_norm_adjoint", BATCH_NORM_ADJOINT.row(
            all_x=self.x, all_dy=self.dy, dx=dx, batch=self.batch,
            statistics=address(self.statistics), dgamma=self.dgamma, dbeta=self.dbeta,
            **self.sizes,
        ))  # fmt: skip
