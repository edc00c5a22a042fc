"""A training step with a clustering loss at the codes, KL(P‖Q), beside Eq. 3 or alone."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Self

import numpy as np

from l2ae_core.layers.base import Params, is_exactly, overrides_backward_alone, weight_grads
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.refinement.assignment import Assignment, kl_divergence
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.step import Step, make_step
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class ClusteringLoss:
    """weight · KL(P‖Q) as a loss at the codes, see `stages.LatentGrad`.

    The sums over samples, KL and dμ, are kept a range each and added in order of the ranges.
    """

    assignment: Assignment
    weight: float
    p: Array | None = field(default=None, init=False)  # (B, K), the target of the batch
    ranges: dict[int, tuple[float, Array]] = field(default_factory=dict, init=False)

    def set_target(self, p: Array) -> None:
        """Set the target p (B, K) of the next batch."""
        self.p = p
        self.ranges.clear()

    def __call__(self, first: int, u: Array) -> Array:
        """Return du (n, D) of the samples first … first + n − 1 of the batch."""
        assert self.p is not None, "set_target comes first"
        share = len(u) / len(self.p)  # makes a mean over the range a part of one over the batch
        with np.errstate(over="ignore", invalid="ignore"):  # in the thread that this runs in
            log_q, cache = self.assignment.forward(u)  # (n, K)
            kl, dlog_q = kl_divergence(log_q, self.p[first : first + len(u)])
            du, grads = self.assignment.backward(self.weight * share * dlog_q, cache)
        self.ranges[first] = share * kl, grads["centers"]
        return du

    def sums(self) -> tuple[float, Params]:
        """Return KL of the batch, without the weight, and the gradient of the centers."""
        in_order = [self.ranges[first] for first in sorted(self.ranges)]
        centers = in_order[0][1].copy()
        for _, more in in_order[1:]:
            centers += more
        return sum(kl for kl, _ in in_order), {"centers": centers}


@dataclass(eq=False)
class JointStep(Step):
    """A training step on mse + gamma · KL(P‖Q), or KL alone, of the network and the centers.

    `network` is None where KL alone acts, on the encoder, as in DEC. The centers have an optimizer
    of their own with the same settings; since all rules act on each number alone, that is the same
    as one optimizer for all. `loss.set_target(p)` comes before each step.
    """

    model: AutoEncoder
    loss: ClusteringLoss
    center_optimizer: Optimizer
    network: Step | None
    mse_sum: float = field(default=0.0, init=False)
    samples: int = field(default=0, init=False)

    @classmethod
    def make(
        cls,
        model: AutoEncoder,
        assignment: Assignment,
        optimizer: Optimizer,
        center_optimizer: Optimizer,
        gamma: float | None,
    ) -> Self:
        """Return the step; of KL alone when gamma is None.

        ValueError for a model with a backward pass of its own that no loss on the codes enters.
        """
        if overrides_backward_alone(model):
            raise ValueError(
                f"refinement: {model} overrides backward but not "
                "weight_grads(dy, cache, latent_grad), which a loss on its codes needs"
            )
        loss = ClusteringLoss(assignment, 1.0 if gamma is None else gamma)
        network = None if gamma is None else make_step(model, optimizer, "mean", loss)
        return cls(model, optimizer, loss, center_optimizer, network)

    @property
    def settings(self) -> dict[str, Any]:
        return {"loss": "KL" if self.network is None else "mse + gamma KL"}

    def __call__(self, x: Array) -> float:
        """One update of the network; one of the centers unless the loss is NaN or Inf."""
        mse = 0.0
        if self.network is None:
            self.optimizer.step(encoder_params(self.model), self.encoder_grads(x))
        else:
            mse = self.network(x)
        kl, grads = self.loss.sums()
        if isfinite(mse) and isfinite(kl):
            self.center_optimizer.step(self.loss.assignment.params, grads)
        self.mse_sum, self.samples = self.mse_sum + mse * len(x), self.samples + len(x)
        return mse + self.loss.weight * kl

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        """See `Step.loss_and_grads`; the gradient of the centers is in `loss.sums()` then."""
        if self.network is None:
            mse, grads = 0.0, self.encoder_grads(x)
        else:
            mse, grads = self.network.loss_and_grads(x)
        return mse + self.loss.weight * self.loss.sums()[0], grads

    def take_reconstruction(self) -> float | None:
        """Return mse, the mean over the samples since the last call; None without one."""
        mean = None if self.network is None else self.mse_sum / self.samples
        self.mse_sum, self.samples = 0.0, 0
        return mean

    def encoder_grads(self, x: Array) -> Params:
        """Return the gradients of KL alone, named like `encoder_params`."""
        if not is_exactly(self.model, AutoEncoder):  # its forward pass may be another one
            x_hat, cache = self.model.forward(x, train=True)
            du = self.loss(0, self.model.code(cache))
            grads = self.model.weight_grads(np.zeros_like(x_hat), cache, du)
            return {name: grads[name] for name in encoder_params(self.model)}
        z, encoder_cache = self.model.encoder.forward(x, train=True)  # (B, D)
        u, normalize_cache = self.model.normalize.forward(z, train=True)  # (B, D)
        dz, normalize_grads = self.model.normalize.backward(self.loss(0, u), normalize_cache)
        encoder_grads = weight_grads(self.model.encoder, dz, encoder_cache)
        return {
            **{f"encoder.{name}": g for name, g in encoder_grads.items()},
            **{f"normalize.{name}": g for name, g in normalize_grads.items()},
        }


def encoder_params(model: AutoEncoder) -> Params:
    """Return the parameters that make the codes: all but those of the decoder."""
    return {name: p for name, p in model.params.items() if not name.startswith("decoder.")}
