"""The losses of VAE, DRAE and GMVAE as functions of all parameters, for the suite.

The noise is drawn once, so that the loss is a function. Its own images, its own shaken parameters,
and a floor of log σ² that lies among the values that it bounds.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.random import Generator

from l2ae_core.baselines.drae import drae_loss
from l2ae_core.baselines.generative import Generative
from l2ae_core.baselines.gmvae import GMVAEArchitecture, build_gmvae
from l2ae_core.baselines.likelihood import LikelihoodName
from l2ae_core.baselines.vae import VAEArchitecture, build_vae
from l2ae_core.layers import Params
from l2ae_core.networks.architectures import Architecture, build
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_kernels.arrays import Array

SIDE = 8  # of the images
FLOOR = -0.5
SHARP = 3.0  # λ of DRAE: large enough for a wrong ∂h to show
M = TypeVar("M", AutoEncoder, Generative)


class Function(NamedTuple):
    """A scalar function of named arrays, its gradient, and where to check them."""

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    x: Params | Array


def vae(likelihood: LikelihoodName, rng: Generator) -> Function:
    """Return the negative ELBO of a small VAE."""
    architecture = VAEArchitecture((SIDE, SIDE, 1), 3, (5,), likelihood, FLOOR)
    return _generative(build_vae(architecture, rng, np.float64), rng)


def gmvae(likelihood: LikelihoodName, free_nats: float, rng: Generator) -> Function:
    """Return the loss of a small GMVAE; a `free_nats` above log K takes the z prior away."""
    architecture = GMVAEArchitecture(
        (SIDE, SIDE, 1), components=3, x_dim=4, w_dim=2, hidden=(5,), prior_hidden=6,
        likelihood=likelihood, floor=FLOOR, free_nats=free_nats,
    )  # fmt: skip
    return _generative(build_gmvae(architecture, rng, np.float64), rng)


def drae_errors(rng: Generator) -> Function:
    """Return DRAE's loss of the reconstructions of seven images."""
    x, x_hat = rng.standard_normal((2, 7, 3, 2, 1))
    return Function(
        lambda x_hat: drae_loss(x_hat, x, SHARP)[0],
        lambda x_hat: drae_loss(x_hat, x, SHARP)[1],
        x_hat,
    )


def drae(model: Literal["cae", "dense"], rng: Generator) -> Function:
    """Return DRAE's loss of a small auto-encoder."""
    architecture = Architecture(
        model, (SIDE, SIDE, 1), latent_dim=4, norm="none", hidden=(6, 5), filters=(2, 3, 4)
    )
    network, x = build(architecture, rng, np.float64), rng.random((6, SIDE, SIDE, 1))

    def loss(network: AutoEncoder) -> Any:
        images = x.astype(_dtype(network))
        return drae_loss(network.forward(images)[0], images, SHARP)[0]

    def gradient(network: AutoEncoder) -> Params:
        x_hat, cache = network.forward(x)
        return network.weight_grads(drae_loss(x_hat, x, SHARP)[1], cache)

    return _of_parameters(network, loss, gradient, rng)


def _generative(model: Generative, rng: Generator) -> Function:
    x, noise = rng.random((4, SIDE, SIDE, 1)), rng.standard_normal((4, model.noise_dim))
    return _of_parameters(
        model,
        lambda model: model.loss(x.astype(_dtype(model)), noise.astype(_dtype(model)))[0],
        lambda model: model.weight_grads(model.loss(x, noise)[1]),
        rng,
    )


def _of_parameters(
    model: M, loss: Callable[[M], Any], gradient: Callable[[M], Params], rng: Generator
) -> Function:
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

    return Function(
        lambda params: loss(at(params)),
        lambda params: gradient(at(params)),
        {name: p.copy() for name, p in model.params.items()},
    )


def _dtype(model: AutoEncoder | Generative) -> Any:
    return next(iter(model.params.values())).dtype
