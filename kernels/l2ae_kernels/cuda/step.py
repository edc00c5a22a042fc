"""Rungs of training_step for arrays of a device: one network, as `Network` launches it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.cuda import optim
from l2ae_kernels.cuda.blocks import Batch, Impl
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.network import Network
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.stages import AdamSettings, Params, Reduction, Stage, TrainingStep

SIZES = 2  # of batches whose arrays are kept: full ones, and the last of an epoch


def takes(x: Array, stages: Sequence[Stage]) -> bool:
    """Whether there are kernels for the stages: for all but an activation after l2_normalize."""
    return all(s.kind != "l2_normalize" or s.slope == 1 for s in stages)


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
        self.sums = self.device.zeros(self.layout.size, like.dtype)
        self.errors = self.device.zeros(1, np.float64)
        self.networks: dict[int, Network] = {}

    def loss(self, x: Array, reduction: Reduction = "mean") -> float:
        if device_name(x) != "cuda" or device_of(x) is not self.device:
            raise ValueError(f"training_step: x is on {device_name(x)} but expected {self.device}")
        divisor = self.divisor(x, reduction)
        self.device.write(self.errors, np.zeros(1))
        params = {name: p[None] for name, p in (*self.params.items(), *self.state.items())}
        network = self._network(len(x))
        network.loss_and_grads(x[None], params, 1 / divisor, self.sums, self.errors)
        return float(self.device.to_host(self.errors)[0]) / divisor

    def grads(self) -> Params:
        return {name: g[0] for name, g in self.layout.views(self.sums).items()}

    def adam(self, m: Params, v: Params, settings: AdamSettings, step: int) -> None:
        self.require_moments(m, v)
        for name, g in self.grads().items():
            optim.adam_step(self.params[name], m[name], v[name], g, settings, step=step)

    def _network(self, samples: int) -> Network:
        if samples not in self.networks:
            if len(self.networks) == SIZES:
                del self.networks[next(iter(self.networks))]  # the oldest
            like = next(iter(self.params.values()))
            batch = Batch(self.device, 1, samples, like.dtype, self.impl)
            self.networks[samples] = Network(self.stages, batch, self.layout)
        return self.networks[samples]
