"""The losses of DEC, VAE, DRAE and GMVAE as functions of all parameters, for the suite.

The noise is drawn once, so that the loss is a function. Its own images, its own shaken parameters,
and a floor of log σ² that lies among the values that it bounds.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.random import Generator

from l2ae_core.baselines.drae import drae_loss
from l2ae_core.baselines.generative import Generative
from l2ae_core.baselines.gmvae import GMVAEArchitecture, build_gmvae
from l2ae_core.baselines.likelihood import LikelihoodName
from l2ae_core.baselines.vae import VAEArchitecture, build_vae
from l2ae_core.gradcheck.cases import NETWORK_ENTRIES, Builder, Case, FunctionCase, case_of
from l2ae_core.layers import Params
from l2ae_core.networks.architectures import Architecture, build
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.refinement.assignment import (
    Assignment,
    SphericalAssignment,
    StudentAssignment,
    kl_divergence,
    target_distribution,
)
from l2ae_kernels.arrays import Array

SIDE = 8  # of the images
FLOOR = -0.5
SHARP = 3.0  # λ of DRAE: large enough for a wrong ∂h to show
M = TypeVar("M", AutoEncoder, Generative)
MakeAssignment: TypeAlias = Callable[[Array], Assignment]  # of centers (K, D)


def student(alpha: float = 1.0, scale: float = 1.0) -> MakeAssignment:
    """The assignment of DEC."""
    return lambda centers: StudentAssignment(centers, alpha, scale)


def spherical(concentration: float) -> MakeAssignment:
    """The assignment of self-labelling."""
    return lambda centers: SphericalAssignment(centers, concentration)


def assignment(make: MakeAssignment) -> Builder:
    """The soft assignment of DEC, or of self-labelling."""
    return lambda rng: case_of(make(rng.standard_normal((4, 3))), (5, 3), rng)


def clustering_loss(make: MakeAssignment, distance: float) -> Builder:
    """KL(P‖Q) in codes and centers; each code lies `distance` from a center, the first on it."""

    def builder(rng: Generator) -> Case:
        centers = rng.standard_normal((3, 4))
        z = centers[[0, 1, 2, 0, 1]] + distance * rng.standard_normal((5, 4))
        z[0] = centers[0]
        p = target_distribution(np.exp(make(centers).log_q(z)))

        def loss(at: Params) -> float:
            dtype = np.result_type(at["z"], at["centers"])  # complex steps are of one at a time
            log_q, _ = make(at["centers"].astype(dtype)).forward(at["z"].astype(dtype))
            return kl_divergence(log_q, p)[0]

        def gradient(at: Params) -> Params:
            layer = make(at["centers"])
            log_q, cache = layer.forward(at["z"])
            dz, grads = layer.backward(kl_divergence(log_q, p)[1], cache)
            return {"z": dz, **grads}

        return FunctionCase(loss, gradient, {"z": z, "centers": centers})

    return builder


def vae(likelihood: LikelihoodName) -> Builder:
    """The negative ELBO of a small VAE."""
    architecture = VAEArchitecture((SIDE, SIDE, 1), 3, (5,), likelihood, FLOOR)
    return lambda rng: _generative(build_vae(architecture, rng, np.float64), rng)


def gmvae(likelihood: LikelihoodName, free_nats: float) -> Builder:
    """The loss of a small GMVAE; a `free_nats` above log K takes the z prior away."""
    architecture = GMVAEArchitecture(
        (SIDE, SIDE, 1), components=3, x_dim=4, w_dim=2, hidden=(5,), prior_hidden=6,
        likelihood=likelihood, floor=FLOOR, free_nats=free_nats,
    )  # fmt: skip
    return lambda rng: _generative(build_gmvae(architecture, rng, np.float64), rng)


def drae_errors(rng: Generator) -> FunctionCase:
    """DRAE's loss of the reconstructions of seven images."""
    x, x_hat = rng.standard_normal((2, 7, 3, 2, 1))
    return FunctionCase(
        lambda x_hat: drae_loss(x_hat, x, SHARP)[0],
        lambda x_hat: drae_loss(x_hat, x, SHARP)[1],
        x_hat,
    )


def drae(model: Literal["cae", "dense"]) -> Builder:
    """DRAE's loss of a small auto-encoder."""
    architecture = Architecture(
        model, (SIDE, SIDE, 1), latent_dim=4, norm="none", hidden=(6, 5), filters=(2, 3, 4)
    )

    def builder(rng: Generator) -> FunctionCase:
        network, x = build(architecture, rng, np.float64), rng.random((6, SIDE, SIDE, 1))

        def loss(network: AutoEncoder) -> Any:
            images = x.astype(_dtype(network))
            return drae_loss(network.forward(images)[0], images, SHARP)[0]

        def gradient(network: AutoEncoder) -> Params:
            x_hat, cache = network.forward(x)
            return network.weight_grads(drae_loss(x_hat, x, SHARP)[1], cache)

        return _of_parameters(network, loss, gradient, rng)

    return builder


def _generative(model: Generative, rng: Generator) -> FunctionCase:
    x, noise = rng.random((4, SIDE, SIDE, 1)), rng.standard_normal((4, model.noise_dim))
    return _of_parameters(
        model,
        lambda model: model.loss(x.astype(_dtype(model)), noise.astype(_dtype(model)))[0],
        lambda model: model.weight_grads(model.loss(x, noise)[1]),
        rng,
    )


def _of_parameters(
    model: M, loss: Callable[[M], Any], gradient: Callable[[M], Params], rng: Generator
) -> FunctionCase:
    """Return a loss as a function of the model's parameters, which are shaken first."""
    for p in model.params.values():
        p += 0.3 * rng.uniform(-1, 1, p.shape)
    twins: dict[Any, M] = {
        np.dtype(dtype): model.astype(dtype) for dtype in (np.float64, np.complex128)
    }

    def at(params: Params) -> M:
        twin = twins[np.result_type(*params.values())]
        for name, p in twin.params.items():
            p[...] = params[name]
        return twin

    return FunctionCase(
        lambda params: loss(at(params)),
        lambda params: gradient(at(params)),
        {name: p.copy() for name, p in model.params.items()},
        NETWORK_ENTRIES,
    )


def _dtype(model: AutoEncoder | Generative) -> Any:
    return next(iter(model.params.values())).dtype
