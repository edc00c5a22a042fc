"""A training step over the workers of a Dask cluster, with the bits of one process.

    batch (B, …) ─ 8 fixed ranges of samples, shards ─ gradients of each ─ added in order ─ Adam

The compiled step of a network with convolutions has such shards anyway, and adds their gradients in
order whoever computed them. So a worker takes some shards, and the sum goes from worker to worker:
each adds those of its own. What travels in a step are the parameters and the sum, once for each
worker, and the samples. That is worth it where a worker computes for longer than this takes: for
large batches, not for 256 small images.

Networks without convolutions have one sum over all samples, and no shards; batch norm would need
the sums of all workers in every layer.
"""

from dataclasses import dataclass, field
from functools import cache
from math import isfinite, prod
from threading import Lock
from typing import Any

import numpy as np

from l2ae_core.distributed import workers
from l2ae_core.distributed.workers import require_worker
from l2ae_core.layers import Params
from l2ae_core.training.loss import Reduction
from l2ae_core.training.step import CompiledStep
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import get_vectors, vectors
from l2ae_kernels.cpu.step.convolutional import SHARDS, ConvolutionalStep
from l2ae_kernels.stages import Shape, Stage

_one_at_a_time = Lock()  # the buffers of the kernels of a worker have one user


@dataclass(eq=False)
class DataParallelStep(CompiledStep):
    """The compiled step of a network with convolutions, whose gradients workers compute.

        client = distributed.Client("tcp://10.0.0.1:8786")
        fit(model, images, step=DataParallelStep(model, optimizer, "mean", client=client), …)

    A worker that is lost has its shards computed by another. ValueError for a network without such
    a compiled step, or with batch norm, and for a second loss; ConnectionError where there is no
    worker at a step.
    """

    client: Any = field(kw_only=True)

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        kernels = self._kernels(x)
        return self._loss(kernels, x), kernels.grads()

    def __call__(self, x: Array) -> float:
        kernels = self._kernels(x)
        loss = self._loss(kernels, x)
        if isfinite(loss):
            self._update(kernels)
        return loss

    def _loss(self, kernels: Any, x: Array) -> float:
        """Let workers compute the shards of x, and the kernels here take their sum."""
        own_shards = isinstance(kernels, ConvolutionalStep) and not kernels.state
        if not own_shards or self.latent_grad is not None:
            raise ValueError(
                f"step: {self.model} has no shards of gradients but expected a compiled network "
                "with convolutions, no batch norm, and no second loss"
            )
        x, name, losses = np.ascontiguousarray(x), getattr(get_vectors(), "name", ""), []
        network = tuple(kernels.stages), tuple(kernels.input_shape)
        sums: Any = np.zeros(kernels.shards.shape[1], np.float32)
        require_worker("step", self.client, workers.RETURN)
        there = sorted(self.client.nthreads())
        for shards in _shares(len(there)):
            own = kernels.samples_of(len(x), shards)
            if own.start == own.stop:  # a small batch; its gradients are 0
                losses.append(np.zeros(len(shards)))
                continue
            at = {"workers": [there[len(losses)]], "allow_other_workers": True, "pure": False}
            computed = self.client.submit(
                _compute,
                network,
                kernels.params,
                x[own],
                shards,
                len(x),
                self.reduction,
                name,
                **at,
            )
            sums = self.client.submit(_add, sums, computed, **at)
            losses.append(self.client.submit(_losses, computed, **at))
        losses, sums = self.client.gather([losses, sums])
        divisor = len(x) * (prod(self.model.input_shape) if self.reduction == "mean" else 1)
        loss: float = kernels.take_sums(np.concatenate(losses), sums, divisor)
        return loss


def _shares(workers: int) -> list[range]:
    """Return neighbouring shards for each of the workers, of which SHARDS at most get some."""
    count = min(workers, SHARDS)
    return [range(i * SHARDS // count, (i + 1) * SHARDS // count) for i in range(count)]


def _compute(
    network: tuple[tuple[Stage, ...], Shape], params: Params, x: Array, shards: range, count: int,
    reduction: Reduction, emitted: str,
) -> tuple[Array, Array]:  # fmt: skip
    """Return losses and gradients of shards, see `ConvolutionalStep.loss_and_shards`."""
    with _one_at_a_time, vectors(emitted):
        kernels = _kernels_of(network, emitted)
        for name, values in params.items():
            kernels.params[name][...] = values
        return kernels.loss_and_shards(np.ascontiguousarray(x), shards, count, reduction)


@cache
def _kernels_of(network: tuple[tuple[Stage, ...], Shape], emitted: str) -> ConvolutionalStep:
    """Return the kernels of a network, made once in a worker: a call begins with parameters."""
    stages, shape = network
    params = {
        f"{s.name}.{name}": np.zeros(size, np.float32)
        for s in stages
        for name, size in s.parameters.items()
    }
    kernels = ops.training_step(list(stages), params, shape, None, impl="compiled")
    assert isinstance(kernels, ConvolutionalStep)
    return kernels


def _add(sums: Array, computed: tuple[Array, Array]) -> Array:
    for gradients in computed[1]:
        sums = sums + gradients
    return sums


def _losses(computed: tuple[Array, Array]) -> Array:
    return computed[0]
