"""One training step: loss, gradients, and the update of the parameters.

`Step` is what the training loop calls, for any model and loss. The steps here are those of an
AutoEncoder with Eq. 3, layer by layer or compiled; baselines have theirs beside their model.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from operator import is_
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator

from l2ae_core.images import Images, gathered
from l2ae_core.layers import Params, Shape
from l2ae_core.layers.base import HasArrays, is_exactly, weight_grads
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loss import Reduction, reconstruction_loss
from l2ae_core.training.lower import attributes_within, lower
from l2ae_core.training.optim import Optimizer
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import IMPLEMENTATIONS
from l2ae_kernels.stages import LatentGrad, Stage, TrainingStep, code_stage


class Model(HasArrays, Protocol):
    """What the training loop asks of a network."""

    @property
    def input_shape(self) -> Shape:
        """Shape (H, W, C) of one image."""
        ...

    def latent(self, images: Images) -> Array:
        """Return the codes (N, D), whose lengths the history records."""
        ...

    def describe(self) -> list[str]:
        """Return the parts as text: they must be equal for a training to be resumed."""
        ...


@dataclass(eq=False)
class Step(ABC):
    """loss = step(x) updates `model` on a batch x (B, H, W, C), whose loss it had before."""

    model: Model
    optimizer: Optimizer
    seconds_before: float = field(default=0.0, init=False, repr=False)  # of an epoch, see `losses`

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON values that name the loss: they must be equal for a training to be resumed."""

    @abstractmethod
    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        """Return loss and gradients, named like `model.params`; a next call may reuse them."""

    def __call__(self, x: Array) -> float:
        """One update; none when the loss is NaN or Inf."""
        loss, grads = self.loss_and_grads(x)
        if isfinite(loss):
            self.optimizer.step(self.model.params, grads)
        return loss

    def losses(self, images: Images, batches: list[Array], hooks: Hooks) -> Iterator[float]:
        """Make the steps of an epoch, one for each batch of indices of `images`; give each loss.

        A step that makes several at once gives the first loss after that, and `seconds_before` are
        those that it took before this call. Model and optimizer have the numbers of all steps when
        there is no further loss.
        """
        for batch, x in zip(batches, gathered(images, batches), strict=True):
            yield self(hooks.before_step(batch, x))

    def latent(self, images: Images) -> Array:
        """Return the codes (N, D) of images by the model, whose lengths the history records."""
        return self.model.latent(images)


@dataclass(eq=False)
class NoisyStep(Step):
    """A step that draws noise. `fit` takes its own generator alone: a checkpoint saves that one."""

    rng: Generator

    def noise(self, *shape: int) -> Array:
        """Return standard normal numbers in the dtype of the parameters, the same in each dtype."""
        dtype = next(iter(self.model.params.values())).dtype
        return self.rng.standard_normal(shape).astype(dtype)


@dataclass(eq=False)
class ReconstructionStep(Step):
    """A step of an AutoEncoder on Eq. 3 or 4.

    With `latent_grad` another loss acts on the codes; the loss returned is that of Eq. 3 alone.
    """

    model: AutoEncoder
    reduction: Reduction
    latent_grad: LatentGrad | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"reduction": self.reduction}


class LayerwiseStep(ReconstructionStep):
    """A whole batch through one layer after the other: any network, any data type."""

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        x_hat, cache = self.model.forward(x, train=True)  # (B, H, W, C)
        loss, dx_hat = reconstruction_loss(x_hat, x, self.reduction)
        if self.latent_grad is None:
            return loss, weight_grads(self.model, dx_hat, cache)
        du = self.latent_grad(0, self.model.code(cache))  # (B, D)
        return loss, self.model.weight_grads(dx_hat, cache, du)


@dataclass(eq=False)
class CompiledStep(ReconstructionStep):
    """Kernels that are made for this network: `compiled` of the operation training_step."""

    kernels: TrainingStep | None = field(default=None, init=False)
    held: list[object] = field(default_factory=list, init=False, repr=False)  # by its layers

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        kernels = self._kernels(x)
        return kernels.loss(np.ascontiguousarray(x), self.reduction), kernels.grads()

    def __call__(self, x: Array) -> float:
        if not is_exactly(self, CompiledStep):  # it may have other gradients
            return super().__call__(x)
        kernels = self._kernels(x)
        loss = kernels.loss(np.ascontiguousarray(x), self.reduction)
        if isfinite(loss):
            self._update(kernels)
        return loss

    def _update(self, kernels: TrainingStep) -> None:
        """Update the parameters by the gradients that the kernels have."""
        update = self.optimizer.fused(kernels.params)
        if update is None:
            self.optimizer.step(kernels.params, kernels.grads())
        else:
            kernels.adam(*update)

    def _kernels(self, x: Array) -> TrainingStep:
        """Check x, and compile anew when a layer, or what one holds, is another object."""
        held = attributes_within(self.model)
        same = len(held) == len(self.held) and all(map(is_, held, self.held))
        if self.kernels is None or not same:
            stages = compiled_stages(self.model, self.latent_grad)
            if stages is None:
                raise ValueError(
                    f"step: {self.model} cannot be compiled since it was changed: make a new step"
                )
            self.kernels = ops.training_step(
                stages, self.model.params, self.model.input_shape, self.latent_grad,
                state=self.model.state, impl="compiled",
            )  # fmt: skip
            self.held = held
        if x.shape[1:] != self.model.input_shape or x.dtype != np.float32 or not len(x):
            raise ValueError(
                f"step: x is {x.shape} {x.dtype}, expected float32 (B, *{self.model.input_shape})"
            )
        return self.kernels


def make_step(
    model: AutoEncoder,
    optimizer: Optimizer,
    reduction: Reduction = "mean",
    latent_grad: LatentGrad | None = None,
) -> Step:
    """Return the fastest step for an AutoEncoder: compiled where all its layers allow it.

    Both give the same result up to the rounding of float32. The compiled step takes float32, needs
    emitted kernels (l2ae_kernels.cpu.codegen.vectors), and layers that `lower` knows. Classes that
    override something run layer by layer.
    """
    compiled = compiled_stages(model, latent_grad) is not None
    kind = CompiledStep if compiled else LayerwiseStep
    return kind(model, optimizer, reduction, latent_grad)


def compiled_stages(model: AutoEncoder, latent_grad: LatentGrad | None) -> list[Stage] | None:
    """Return the stages of a network that the compiled training_step takes, None for others."""
    stages, rung = lower(model), IMPLEMENTATIONS["training_step"]["compiled"]
    if stages is None or (latent_grad is not None and code_stage(stages) is None):
        return None
    arrays = *model.params.values(), *model.state.values()
    takes = all(rung.takes(a, stages) and a.flags.c_contiguous for a in arrays)
    return stages if takes else None
