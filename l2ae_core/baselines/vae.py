"""The variational auto-encoder, and the reconstruction probability of An and Cho (2015): AVAE.

    q(z | x) = N(μ, σ²)       (μ, log σ²) = encoder(x)                 z (N, D)
    z        = μ + σ ε        ε ~ N(0, 1), one sample an image
    p(x | z)                  from decoder(z): Gaussian or Bernoulli, see likelihood.py

    loss = 1/N Σ_n [ −log p(x_n | z_n) + KL(q(z | x_n) ‖ N(0, 1)) ]    in nats an image
    KL   = ½ Σ_d [ σ_d² + μ_d² − 1 − log σ_d² ]

Labels of the clustering baseline "VAE + k-means" come from k-means on `encode`; it is not GMVAE.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.baselines import gaussian
from l2ae_core.baselines.generative import Generative, GenerativeStep
from l2ae_core.baselines.likelihood import LikelihoodName, halves, make_likelihood
from l2ae_core.images import Images
from l2ae_core.layers import Cache, Params, ReLU, Reshape, Sequential
from l2ae_core.layers.base import weight_grads
from l2ae_core.networks.parts import dense_stack, in_batches, named, require_counts
from l2ae_kernels.arrays import Array


@dataclass(frozen=True)
class VAEArchitecture:
    """What fixes a dense VAE up to its weights.

    One hidden layer of 400 on each side and 200 latent units are what is told of the AVAE report,
    which was not available: a guess, so all of it can be changed. The latent width decides much of
    how well anomalies are found; try 2, 10, 32 and 200. ValueError, naming the field, for bad ones.
    """

    input_shape: tuple[int, int, int]  # (H, W, C)
    latent_dim: int = 10  # D
    hidden: tuple[int, ...] = (400,)  # of the encoder; the decoder has them in reverse
    likelihood: LikelihoodName = "gaussian"
    floor: float = -6.0  # of log σ² of the pixels; Gaussian only

    def __post_init__(self) -> None:
        require_counts("VAEArchitecture: input_shape", self.input_shape, 3)
        require_counts("VAEArchitecture: latent_dim", (self.latent_dim,))
        require_counts("VAEArchitecture: hidden", self.hidden)
        make_likelihood(self.likelihood, self.floor)


@dataclass(eq=False)
class VAE(Generative):
    """The formulas are those of the module; the encoder returns μ, then log σ²: (2D,).

    `encode` returns μ (N, D), which "VAE + k-means" clusters. ValueError when parts do not fit.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        h, expected = self.encoder.shapes()[-1], (2 * self.latent_dim,)
        if h != expected:
            raise ValueError(f"VAE: encoder returns {h} but expected {expected}: μ and log σ²")

    def __repr__(self) -> str:
        name = type(self).__qualname__
        return f"{name}({self.input_shape} -> {self.latent_dim}, {self.likelihood})"

    @property
    def noise_dim(self) -> int:
        return self.latent_dim

    def loss(self, x: Array, noise: Array) -> tuple[float, Cache]:
        h, encoder_cache = self.encoder.forward(x, train=True)
        mean, log_var = halves(h)  # (N, D) each
        z = gaussian.sample(mean, log_var, noise)
        output, decoder_cache = self.decoder.forward(z, train=True)  # (N, P · per_pixel)
        pixels = x.reshape(len(x), -1)  # (N, P)
        log_p = self.likelihood.log_probability(pixels, output)  # (N,)
        loss = (gaussian.standard_kl(mean, log_var) - log_p).mean().item()
        return loss, (pixels, noise, mean, log_var, output, encoder_cache, decoder_cache)

    def weight_grads(self, cache: Cache) -> Params:
        """Return the gradients of the loss, named like `params`.

        dμ       = dz + μ / N
        d log σ² = dz ε σ / 2 + (σ² − 1) / 2N          dz from the decoder
        """
        pixels, noise, mean, log_var, output, encoder_cache, decoder_cache = cache
        N = len(pixels)
        doutput = -self.likelihood.gradient(pixels, output) / N
        dz, decoder_grads = self.decoder.backward(doutput, decoder_cache)
        dmean, dlog_var = gaussian.sample_adjoint(dz, log_var, noise)
        kl_mean, kl_log_var = gaussian.standard_kl_gradients(mean, log_var)
        dh = np.concatenate([dmean + kl_mean / N, dlog_var + kl_log_var / N], axis=1)
        encoder_grads = weight_grads(self.encoder, dh, encoder_cache)
        return named(encoder=encoder_grads, decoder=decoder_grads)

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return μ and log σ² (N, D) of q(z | x) for images x (N, H, W, C)."""
        return halves(self.encoder.forward(x)[0])

    def code(self, x: Array) -> Array:
        return self.posterior(x)[0]


@dataclass(eq=False)
class VAEStep(GenerativeStep):
    """A training step of a VAE; for `fit(..., step=VAEStep(model, optimizer, rng))`."""

    model: VAE


def build_vae(
    architecture: VAEArchitecture, rng: Generator, dtype: npt.DTypeLike = np.float32
) -> VAE:
    """Return the dense VAE with Glorot-uniform weights, drawn in layer order, and zero biases."""
    a = architecture
    likelihood = make_likelihood(a.likelihood, a.floor)
    P, D = prod(a.input_shape), a.latent_dim
    down = (P, *a.hidden, 2 * D)
    up = (D, *reversed(a.hidden), P * likelihood.per_pixel)
    encoder = [Reshape((P,)), *dense_stack(down, ReLU(), rng, dtype)]
    decoder = dense_stack(up, ReLU(), rng, dtype)
    return VAE(Sequential(encoder, a.input_shape), Sequential(decoder, (D,)), likelihood)


def reconstruction_probability(
    model: VAE, images: Images, samples: int, rng: Generator, batch_size: int = 256
) -> Array:
    """Return 1/L Σ_l log p(x | z_l), z_l ~ q(z | x): (N,) float64, HIGH for normal images.

    The score of AVAE with L = `samples`, 10 as a rule: a joint log-probability over the pixels, in
    nats, not an average of densities. The noise of an image does not depend on `batch_size`.
    ValueError for `samples` below 1 and for images that do not fit.
    """
    if samples < 1:
        raise ValueError(
            f"reconstruction_probability: samples is {samples} but expected an integer ≥ 1"
        )

    def score(x: Array) -> Array:
        mean, log_var = (a[:, None] for a in model.posterior(x))  # (n, 1, D)
        noise = rng.standard_normal((len(x), samples, model.latent_dim))  # image by image
        z = gaussian.sample(mean, log_var, noise.astype(mean.dtype))  # (n, L, D)
        output, _ = model.decoder.forward(z.reshape(-1, model.latent_dim))
        pixels = np.repeat(x.reshape(len(x), -1), samples, axis=0)  # (n L, P)
        log_p = model.likelihood.log_probability(pixels, output)
        means: Array = log_p.reshape(len(x), samples).mean(axis=1)
        return means

    return in_batches(score, images, batch_size)
