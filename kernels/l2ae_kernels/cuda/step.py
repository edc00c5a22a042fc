"""Rungs of training_step for arrays of a device: one network, as `Network` launches it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.cuda import optim
from l2ae_kernels.cuda.block import Batch, Impl
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.gradients import Gradients
from l2ae_kernels.cuda.network import GradientParts, Network
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.stages import AdamSettings, Params, Reduction, Stage, TrainingStep

SIZES = 2  # of batches whose arrays are kept: full ones, and the last of an epoch


def takes(x: Array, stages: Sequence[Stage]) -> bool:
    """Whether there are kernels for the stages: for all but an activation after l2_normalize."""
    return all(s.kind != "l2_normalize" or s.slope == 1 for s in stages)


class _Sized(NamedTuple):
    """What there is for one size of batch."""

    network: Network
    gradients: Gradients
    parts: GradientParts
    errors: Array  # parts (count, 1) of Σ |x̂ − x|²


@dataclass(eq=False)
class DeviceStep(TrainingStep):
    """Launches over arrays that are allocated once for each of the last two sizes of batch.

    `loss` waits for its number; `TrainingStep` is written for a loop on the host. Many steps at
    once are `DeviceTraining`'s.
    """

    impl: Impl = "tensor"

    def __post_init__(self) -> None:
        if self.latent_grad is not None:
            raise ValueError(
                "training_step: latent_grad is given but expected None on a device: a second loss "
                "is computed on the host"
            )
        like = next(iter(self.params.values()))
        self.device = device_of(like)
        self.layout = FlatLayout({name: p.shape for name, p in self.params.items()}, 1)
        self.sizes: dict[int, _Sized] = {}
        self.last: _Sized | None = None

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        if device_name(x) != "cuda" or device_of(x) is not self.device:
            raise ValueError(f"training_step: x is on {device_name(x)} but expected {self.device}")
        divisor = self.divisor(x, reduction)
        params = {name: p[None] for name, p in (*self.params.items(), *self.state.items())}
        self.last = now = self._of_size(len(x))
        now.network.forward(x[None], params, 1 / divisor, now.errors)
        now.network.backward(params, now.parts)
        return float(self.device.to_host(now.errors).sum()) / divisor

    def grads(self) -> Params:
        if self.last is None:
            raise RuntimeError("training_step: grads() needs loss() before it")
        return {name: g[0] for name, g in self.last.gradients.added().items()}

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        self.require_moments(m, v)
        for name, g in self.grads().items():
            optim.adam_step(self.params[name], m[name], v[name], g, settings, step=step)

    def _of_size(self, samples: int) -> _Sized:
        if samples not in self.sizes:
            if len(self.sizes) == SIZES:
                del self.sizes[next(iter(self.sizes))]  # the oldest
            like = next(iter(self.params.values()))
            network = Network(self.stages, Batch(self.device, 1, samples, like.dtype, self.impl))
            gradients = Gradients(self.device, self.layout, [network.counts], like.dtype)
            errors = self.device.empty((network.loss_parts, 1), np.float64)
            parts = GradientParts(network, gradients, 0)
            self.sizes[samples] = _Sized(network, gradients, parts, errors)
        return self.sizes[samples]
