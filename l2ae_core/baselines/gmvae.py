"""GMVAE (Dilokthanakul et al. 2016): a variational auto-encoder whose prior is a mixture.

The paper's names: image y, latent x, latent w, component z of K. (Elsewhere here x is the image.)

    p(w) = N(0, 1)     p(z) = 1/K     p(x | w, z = k) = N(m_k(w), e^t_k(w))     p(y | x): decoder
    q(x | y) = N(μ_x, e^s_x)     q(w | y) = N(μ_w, e^s_w)     both from one encoder
    r_k = p(z = k | x, w)        by Bayes, no network of its own: the cluster of an image

One sample x = μ_x + e^(s_x/2) ε, w alike; the loss is the mean over the images of

    reconstruction       −log p(y | x)
    conditional prior    Σ_k r_k KL(q(x | y) ‖ p(x | w, z = k))       }  mixture.py
    z prior              KL(r ‖ p(z))                                 }
    w prior              KL(q(w | y) ‖ N(0, 1))

The conditional prior is the paper's estimate: r at the sample x, the KL over all x. Its mean lies
above that of the exact term by Σ_k Cov(r_k, log p(x | w, z = k)) ≥ 0, since r is a softmax of these
logarithms and so grows with them: the loss stays a bound, a looser one than the ELBO.

The z prior pulls r to the uniform. It counts only above λ nats, the paper's remedy against
components that merge before they mean anything; λ is `free_nats`, 0 gives the plain bound.

Nothing bounds the log-variances: each KL grows when two of them part, so it pulls back from both
sides. The reference run is convolutional with K = 14; this is its dense variant without batch
normalization.
"""

from dataclasses import dataclass
from math import isfinite, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.baselines import gaussian
from l2ae_core.baselines.generative import Generative, GenerativeStep
from l2ae_core.baselines.likelihood import LikelihoodName, make_likelihood
from l2ae_core.baselines.mixture import (
    Mixture,
    Posterior,
    log_responsibilities,
    mixture_cost,
    mixture_cost_gradients,
)
from l2ae_core.images import Images
from l2ae_core.layers import Cache, Params, ReLU, Reshape, Sequential, Tanh
from l2ae_core.layers.base import weight_grads
from l2ae_core.networks.parts import dense_stack, in_batches, named, require_counts
from l2ae_kernels.arrays import Array


@dataclass(frozen=True)
class GMVAEArchitecture:
    """What fixes a dense GMVAE up to its weights. ValueError, naming the field, for bad ones."""

    input_shape: tuple[int, int, int]  # (H, W, C)
    components: int = 14  # K
    x_dim: int = 200
    w_dim: int = 150
    hidden: tuple[int, ...] = (500, 500)  # of the encoder; the decoder has them in reverse
    prior_hidden: int = 500  # w -> m, t: one layer, tanh
    likelihood: LikelihoodName = "bernoulli"
    floor: float = -6.0  # of log σ² of the pixels; Gaussian only
    free_nats: float = 0.5  # λ

    def __post_init__(self) -> None:
        require_counts("GMVAEArchitecture: input_shape", self.input_shape, 3)
        for field in ("components", "x_dim", "w_dim", "prior_hidden"):
            require_counts(f"GMVAEArchitecture: {field}", (getattr(self, field),))
        require_counts("GMVAEArchitecture: hidden", self.hidden)
        make_likelihood(self.likelihood, self.floor)
        if not (isfinite(self.free_nats) and self.free_nats >= 0):
            raise ValueError(
                f"GMVAEArchitecture: free_nats is {self.free_nats} but expected a number ≥ 0"
            )


class Inference(NamedTuple):
    """What the encoder says about images: means and log-variances of q(x | y) and q(w | y)."""

    mean_x: Array  # (N, X)
    log_var_x: Array
    mean_w: Array  # (N, W)
    log_var_w: Array


@dataclass(eq=False)
class GMVAE(Generative):
    """The formulas are those of the module; the encoder returns μ_x, s_x, μ_w, s_w: (2X + 2W,).

    `encode` returns μ_x (N, X), `predict` the clusters. ValueError when the parts do not fit.
    """

    prior: Sequential  # (W,) -> (K · 2X,): for each component m, then t
    free_nats: float  # λ

    def __post_init__(self) -> None:
        super().__post_init__()
        h, expected = self.encoder.shapes()[-1], (2 * self.noise_dim,)
        if h != expected:
            raise ValueError(f"GMVAE: encoder returns {h} but expected {expected}")
        (mixture,), X = self.prior.shapes()[-1], self.latent_dim
        if mixture % (2 * X):
            raise ValueError(f"GMVAE: prior returns {mixture} but expected a multiple of {2 * X}")

    def __repr__(self) -> str:
        name = type(self).__qualname__
        return f"{name}({self.input_shape} -> {self.latent_dim}, K={self.components})"

    @property
    def components(self) -> int:
        """K, the number of components."""
        return self.prior.shapes()[-1][0] // (2 * self.latent_dim)

    @property
    def noise_dim(self) -> int:
        """X + W."""
        return self.latent_dim + self.prior.input_shape[0]

    def describe(self) -> list[str]:
        return [*super().describe(), f"free_nats={self.free_nats}"]

    def loss(self, x: Array, noise: Array) -> tuple[float, Cache]:
        h, encoder_cache = self.encoder.forward(x, train=True)
        inferred = self._split(h)
        mean_x, log_var_x, mean_w, log_var_w = inferred
        noise_x, noise_w = np.split(noise, [mean_x.shape[1]], axis=1)
        q = Posterior(mean_x, log_var_x, gaussian.sample(mean_x, log_var_x, noise_x))
        w = gaussian.sample(mean_w, log_var_w, noise_w)  # (N, W)
        p, prior_cache = self._mixture(w, train=True)
        output, decoder_cache = self.decoder.forward(q.x, train=True)
        pixels = x.reshape(len(x), -1)  # (N, P)

        reconstruction = -self.likelihood.log_probability(pixels, output).mean()
        conditional_prior, z_prior, cost_cache = mixture_cost(q, p, self.free_nats)
        w_prior = gaussian.standard_kl(mean_w, log_var_w).mean()
        loss = (reconstruction + conditional_prior + z_prior + w_prior).item()
        caches = (encoder_cache, prior_cache, decoder_cache, cost_cache)
        return loss, (pixels, noise_x, noise_w, inferred, output, caches)

    def weight_grads(self, cache: Cache) -> Params:
        """Return the gradients of the loss, named like `params`.

        The latent x has them from the decoder and from the mixture, w from the network that makes
        the mixture; both go on to the encoder, joined there by those of the KL terms.
        """
        pixels, noise_x, noise_w, inferred, output, caches = cache
        N = len(pixels)
        cost = mixture_cost_gradients(caches[3])
        doutput = -self.likelihood.gradient(pixels, output) / N
        dx, decoder_grads = self.decoder.backward(doutput, caches[2])
        dmixture = np.concatenate(cost.p, axis=2).reshape(N, -1)  # (N, K · 2X)
        dw, prior_grads = self.prior.backward(dmixture, caches[1])

        _, log_var_x, mean_w, log_var_w = inferred
        dmean_x, dlog_var_x = gaussian.sample_adjoint(dx + cost.q.x, log_var_x, noise_x)
        dmean_w, dlog_var_w = gaussian.sample_adjoint(dw, log_var_w, noise_w)
        kl_mean_w, kl_log_var_w = gaussian.standard_kl_gradients(mean_w, log_var_w)
        dh = [
            dmean_x + cost.q.mean,
            dlog_var_x + cost.q.log_var,
            dmean_w + kl_mean_w / N,
            dlog_var_w + kl_log_var_w / N,
        ]
        encoder_grads = weight_grads(self.encoder, np.concatenate(dh, axis=1), caches[0])
        return named(encoder=encoder_grads, prior=prior_grads, decoder=decoder_grads)

    def code(self, x: Array) -> Array:
        return self._split(self.encoder.forward(x)[0]).mean_x

    def responsibilities(self, images: Images, batch_size: int = 1024) -> Array:
        """Return p(z | x = μ_x, w = μ_w) (N, K) float64: every row sums to 1."""

        def at_the_means(y: Array) -> Array:
            q = self._split(self.encoder.forward(y)[0])
            r: Array = np.exp(log_responsibilities(q.mean_x, self._mixture(q.mean_w)[0]))
            return r

        return in_batches(at_the_means, images, batch_size)

    def predict(self, images: Images, batch_size: int = 1024) -> Array:
        """Return the most probable component (N,) of each image: GMVAE's clusters, no k-means."""
        labels: Array = self.responsibilities(images, batch_size).argmax(axis=1)
        return labels

    def _split(self, h: Array) -> Inference:
        X, W = self.latent_dim, self.prior.input_shape[0]
        return Inference(*np.split(h, [X, 2 * X, 2 * X + W], axis=1))

    def _mixture(self, w: Array, train: bool = False) -> tuple[Mixture, Cache]:
        """Return p(x | w, z) for every z, and the cache of the network that makes it."""
        flat, cache = self.prior.forward(w, train)
        return Mixture(*np.split(flat.reshape(len(w), self.components, -1), 2, axis=2)), cache


@dataclass(eq=False)
class GMVAEStep(GenerativeStep):
    """A training step of a GMVAE; for `fit(..., step=GMVAEStep(model, optimizer, rng))`."""

    model: GMVAE


def build_gmvae(
    architecture: GMVAEArchitecture, rng: Generator, dtype: npt.DTypeLike = np.float32
) -> GMVAE:
    """Return the network with Glorot-uniform weights, drawn in layer order, and zero biases."""
    a = architecture
    likelihood = make_likelihood(a.likelihood, a.floor)
    P = prod(a.input_shape)
    down = (P, *a.hidden, 2 * (a.x_dim + a.w_dim))
    mixture = (a.w_dim, a.prior_hidden, a.components * 2 * a.x_dim)
    up = (a.x_dim, *reversed(a.hidden), P * likelihood.per_pixel)
    encoder = [Reshape((P,)), *dense_stack(down, ReLU(), rng, dtype)]
    return GMVAE(
        Sequential(encoder, a.input_shape),
        Sequential(dense_stack(up, ReLU(), rng, dtype), (a.x_dim,)),
        likelihood,
        Sequential(dense_stack(mixture, Tanh(), rng, dtype), (a.w_dim,)),
        a.free_nats,
    )


def most_confident_member_accuracy(true: Array, responsibilities: Array) -> float:
    """Return GMVAE's own accuracy, MANY-TO-ONE: never put it beside the ACC of Eq. 6.

    Each component takes the class of the sample that is surest to be in it (of equal ones the
    first), whatever the other components take; a sample counts when its component has its class.
    Several components may share a class and K may exceed the number of classes, which Eq. 6 would
    count as errors; but one odd sample can name a whole component.

    true (N,) are the classes, responsibilities (N, K). ValueError when they do not fit.
    """
    true, r = np.asarray(true), np.asarray(responsibilities)
    if r.ndim != 2 or true.shape != r.shape[:1] or not r.size or not np.isfinite(r).all():
        raise ValueError(
            f"most_confident_member_accuracy: true is {true.shape} and responsibilities are "
            f"{r.shape} but expected (N,) and finite (N, K) with N, K >= 1"
        )
    class_of = true[r.argmax(axis=0)]  # (K,)
    return float((class_of[r.argmax(axis=1)] == true).mean())
