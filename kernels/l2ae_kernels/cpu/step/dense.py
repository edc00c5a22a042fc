"""The compiled step of a network of dense layers: three parallel regions, each in one call a
thread.

    forward    all layers, Eq. 3 and its gradient        threads take ranges of samples
    (code)     du of a second loss, see stages.LatentGrad    in Python, if there is one
    backward   all dx                                    threads take ranges of samples
    weights    all dW, db, and Adam on them              threads take panels of weights

Dense layers have many weights and small activations: 3.3 million and 1.7 for a batch of 256 of the
network in the paper. So, unlike with convolutions, the whole batch is kept, and dW is made last, a
few columns over all samples at a time (kernels: l2ae_kernels.cpu.microkernels.dense). There are no
private sums of 13 MB a thread to write, read and add; where Adam follows at once there is no dW in
memory at all.

A batch norm cuts forward and backward in two: it needs sums over all samples (dense_batch.py).
Every number is one sum in a fixed order, so no result depends on the number of threads.
"""

from collections.abc import Iterator

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels.adam import REDUCE_ADAM
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import vectors_here
from l2ae_kernels.cpu.microkernels.program import Call, Program, address
from l2ae_kernels.cpu.step.dense_batch import Batch
from l2ae_kernels.cpu.step.dense_weights import (
    Addresses,
    WeightGradient,
    gradient_workspace,
    in_ranges_of_work,
)
from l2ae_kernels.cpu.step.memory import Constants, Workspace
from l2ae_kernels.stages import (
    AdamSettings,
    Params,
    Reduction,
    Stage,
    TrainingStep,
    code_stage,
)

BATCHES = 4  # sizes of batches whose buffers are kept


class DenseStep(TrainingStep):
    """Loss and gradients of a batch, or a step of Adam, for one network of dense layers."""

    def __post_init__(self) -> None:
        self.code = code_stage(self.stages) if self.latent_grad else None
        self.library = library(vectors_here())
        self.constants = Constants(self.stages, self.params)
        self.sums = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.workspace = Workspace(gradient_workspace(self.library.vectors))
        self.batches: dict[int, Batch] = {}
        self.batch: Batch | None = None  # the last one

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        """Forward of all samples; the second loss."""
        divisor = self.divisor(x, reduction)
        batch = self.begin_loss(x, divisor)
        batch.run(self.library, batch.forward)
        if self.latent_grad is not None:
            batch.du[:] = self.latent_grad(0, batch.u)
        return float(batch.losses.sum()) / divisor

    def begin_loss(self, x: Array, divisor: int) -> Batch:
        """Return the buffers for x, which they have then, and let the loss be over `divisor`."""
        batch = self.batch = self._batch(len(x))
        self.constants.scale[0] = 2.0 / divisor
        batch.losses[:] = 0
        batch.x[:] = x
        return batch

    def grads(self) -> Params:
        batch = self._backward()
        if batch.write is None:
            weights = self.weights_of(batch)
            todo = (call for s, w in weights for call in w.calls(_like(s, self.sums)))
            batch.write = Program(self.library, todo)
        self._run(batch, batch.write)
        return self.sums

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        batch = self._backward()
        self._run(batch, self.adam_program(batch, m, v, settings, step))

    def adam_program(
        self, batch: Batch, m: Params, v: Params, settings: AdamSettings, step: int
    ) -> Program:
        """Return the calls that make dW and db of all samples, and a step of Adam with them."""
        return batch.apply.program(self.library, self._adam_calls, m, v, settings, step)

    def _batch(self, N: int) -> Batch:
        if N not in self.batches:
            if len(self.batches) == BATCHES:
                self.batches.clear()
            self.batches[N] = Batch(
                self.stages, self.input_shape, N, self.constants, self.code, self.state, self.sums,
                self.library.vectors,
            )  # fmt: skip
        return self.batches[N]

    def _backward(self) -> Batch:
        if self.batch is None:
            raise ValueError("training_step: no loss was asked for whose gradients these would be")
        self.batch.run(self.library, self.batch.backward)
        return self.batch

    def _run(self, batch: Batch, panels: Program) -> None:
        def calls(first: int, last: int) -> None:
            panels.run_calls(first, last, self.workspace.address)

        in_ranges_of_work(calls, panels.calls, batch.multiply_adds)

    def weights_of(self, batch: Batch) -> Iterator[tuple[Stage, WeightGradient]]:
        """dW of every dense layer."""
        return ((s, batch.weights(i)) for i, s in enumerate(self.stages) if s.linear)

    def _adam_calls(self, m: Params, v: Params, numbers: int) -> list[Call]:
        assert self.batch is not None
        self.require_moments(m, v)
        names = [f"{s.name}.{key}" for s in self.stages if not s.linear for key in s.parameters]
        norms = [
            Call("reduce_adam", REDUCE_ADAM.row(
                shards=address(self.sums[name]), shard=0, count=1, first=0,
                size=self.sums[name].size, p=address(self.params[name]), m=address(m[name]),
                v=address(v[name]), numbers=numbers,
            ))
            for name in names
        ]  # fmt: skip
        return norms + [
            call
            for s, w in self.weights_of(self.batch)
            for call in w.adam_calls(
                _like(s, self.sums), to=_like(s, self.params), m=_like(s, m), v=_like(s, v),
                numbers=numbers,
            )
        ]  # fmt: skip


def _like(s: Stage, arrays: Params) -> Addresses:
    """Where what belongs to W and b of a stage lies."""
    return Addresses(address(arrays[f"{s.name}.W"]), address(arrays[f"{s.name}.b"]))
