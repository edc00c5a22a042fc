"""One iteration of DEC, IDEC or DCEC: the clustering loss at the codes, beside Eq. 3 or alone."""

from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

import numpy as np

from l2ae_core.baselines.dec.assignment import StudentAssignment, kl_divergence
from l2ae_core.layers.base import Params, is_exactly, overrides_backward_alone, weight_grads
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.step import Step, make_step
from l2ae_kernels.arrays import Array


class Losses(NamedTuple):
    """Of a batch, before its update; each a mean over the samples."""

    reconstruction: float  # mse; 0 for "dec", which reconstructs nothing
    kl: float  # without its weight gamma


@dataclass(eq=False)
class ClusterPull:
    """weight · KL(P‖Q) as a loss at the codes, see `stages.LatentGrad`.

    The sums over samples, KL and dμ, are kept a range each and added in order of the ranges.
    """

    assignment: StudentAssignment
    weight: float
    p: Array | None = field(default=None, init=False)  # (B, K), the target of the batch
    ranges: dict[int, tuple[float, Array]] = field(default_factory=dict, init=False)

    def aim(self, p: Array) -> None:
        """Set the target p (B, K) of the next batch."""
        self.p = p
        self.ranges.clear()

    def __call__(self, first: int, u: Array) -> Array:
        """Return du (n, D) of the samples first … first + n − 1 of the batch."""
        assert self.p is not None, "aim comes first"
        share = len(u) / len(self.p)  # turns means over the range into parts of one over the batch
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
class JointStep:
    """losses = step(x, p) updates the network and the centers on images x with targets p.

    `network` is None for DEC: then KL alone acts, on the encoder. The centers have an optimizer of
    their own with the same settings; since all rules act on each number alone, that is the same as
    one optimizer for all.
    """

    model: AutoEncoder
    pull: ClusterPull
    optimizer: Optimizer
    center_optimizer: Optimizer
    network: Step | None

    @classmethod
    def make(
        cls,
        model: AutoEncoder,
        assignment: StudentAssignment,
        optimizer: Optimizer,
        center_optimizer: Optimizer,
        gamma: float | None,
    ) -> "JointStep":
        """Return the step of loss = mse + gamma · KL, or, when gamma is None, of KL alone.

        ValueError for a model with a backward pass of its own that no loss on the codes enters.
        """
        if overrides_backward_alone(model):
            raise ValueError(
                f"refine: {model} overrides backward but not "
                "weight_grads(dy, cache, latent_grad), which a loss on its codes needs"
            )
        pull = ClusterPull(assignment, 1.0 if gamma is None else gamma)
        network = None if gamma is None else make_step(model, optimizer, "mean", pull)
        return cls(model, pull, optimizer, center_optimizer, network)

    def __call__(self, x: Array, p: Array) -> Losses:
        """One update on x (B, H, W, C) and p (B, K); when a loss is NaN or Inf, of no use."""
        self.pull.aim(p)
        reconstruction = 0.0
        if self.network is not None:
            reconstruction = self.network(x)
        else:
            grads = self.encoder_gradients(x)
            self.optimizer.step(encoder_params(self.model), grads)
        kl, grads = self.pull.sums()
        if isfinite(reconstruction) and isfinite(kl):
            self.center_optimizer.step(self.pull.assignment.params, grads)
        return Losses(reconstruction, kl)

    def encoder_gradients(self, x: Array) -> Params:
        """Return the gradients of KL alone, named like `encoder_params`."""
        if not is_exactly(self.model, AutoEncoder):  # its forward pass may be another one
            x_hat, cache = self.model.forward(x, train=True)
            du = self.pull(0, self.model.code(cache))
            grads = self.model.weight_grads(np.zeros_like(x_hat), cache, du)
            return {name: grads[name] for name in encoder_params(self.model)}
        z, encoder_cache = self.model.encoder.forward(x, train=True)  # (B, D)
        u, normalize_cache = self.model.normalize.forward(z, train=True)  # (B, D)
        dz, normalize_grads = self.model.normalize.backward(self.pull(0, u), normalize_cache)
        encoder_grads = weight_grads(self.model.encoder, dz, encoder_cache)
        return {
            **{f"encoder.{name}": g for name, g in encoder_grads.items()},
            **{f"normalize.{name}": g for name, g in normalize_grads.items()},
        }


def encoder_params(model: AutoEncoder) -> Params:
    """Return the parameters that make the codes: all but those of the decoder."""
    return {name: p for name, p in model.params.items() if not name.startswith("decoder.")}
