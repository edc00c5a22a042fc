"""What a decoder's output says about the pixels: the two likelihoods p(x | z) of the baselines.

A likelihood takes pixels x (N, P) and the decoder's output (N, P · per_pixel):

    log_probability(x, output)   log p(x | z), joint over the P pixels, (N,) float64
    gradient(x, output)          its derivative by the output, (N, P · per_pixel)
    mean(output)                 E[x | z] (N, P), the reconstruction
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from scipy.special import expit

from l2ae_core.baselines import gaussian
from l2ae_kernels.arrays import Array

LikelihoodName: TypeAlias = Literal["gaussian", "bernoulli"]


@dataclass(frozen=True)
class Gaussian:
    """x ~ N(μ, σ²), both from the decoder for every pixel: output = (μ, a).

        log σ² = f + softplus(a − f),     ∂ log σ² / ∂a = sigmoid(a − f)

    f is the `floor` of log σ². Without one the likelihood has no maximum: at a pixel that is the
    same in every image, such as a corner, log σ² → −∞ is better and better, until a difference of
    one grey value costs more than everything else in the image. The floor is approached smoothly,
    nothing is clipped, and from above log σ² is unbounded: there the likelihood itself pulls back.
    ValueError for a floor that is not finite.
    """

    floor: float = -6.0  # σ ≥ 0.05 for pixels in [0, 1]: a choice, no source names one
    per_pixel: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not isfinite(self.floor):
            raise ValueError(f"Gaussian: floor is {self.floor} but expected a finite number")

    def log_probability(self, x: Array, output: Array) -> Array:
        """See the module: log N(x; μ, σ²)."""
        mean, a = halves(output)
        return gaussian.log_density(x, mean, self._log_var(a))

    def gradient(self, x: Array, output: Array) -> Array:
        """See the module."""
        mean, a = halves(output)
        dmean, dlog_var = gaussian.log_density_gradients(x, mean, self._log_var(a))
        return np.concatenate([dmean, dlog_var * expit(a - self.floor)], axis=1)

    def mean(self, output: Array) -> Array:
        """See the module: μ."""
        mean, _ = halves(output)
        return mean

    def _log_var(self, a: Array) -> Array:
        return self.floor + softplus(a - self.floor)


@dataclass(frozen=True)
class Bernoulli:
    """x ~ Bernoulli(sigmoid(a)) for every pixel: output = a.

        log p(x | z) = Σ x log sigmoid(a) + (1 − x) log(1 − sigmoid(a)) = Σ x a − softplus(a)
        ∂/∂a         = x − sigmoid(a)

    The right-hand form loses no digit however large |a| is, without a clip. For grey values in
    [0, 1] it is the usual cross entropy, which is no normalized density. ValueError for others.
    """

    per_pixel: ClassVar[int] = 1

    def log_probability(self, x: Array, output: Array) -> Array:
        """See the module."""
        low, high = x.real.min(initial=0), x.real.max(initial=1)
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(f"Bernoulli: pixels lie in [{low}, {high}] but expected [0, 1]")
        return gaussian.total(x * output - softplus(output))

    def gradient(self, x: Array, output: Array) -> Array:
        """See the module."""
        dlogits: Array = x - expit(output)
        return dlogits

    def mean(self, output: Array) -> Array:
        """See the module: sigmoid(a)."""
        probability: Array = expit(output)
        return probability


Likelihood: TypeAlias = Gaussian | Bernoulli


def make_likelihood(name: LikelihoodName, floor: float) -> Likelihood:
    """Return the likelihood of a name; `floor` is for "gaussian". ValueError for another name."""
    if name not in ("gaussian", "bernoulli"):
        raise ValueError(
            f"make_likelihood: name is {name!r} but expected 'gaussian' or 'bernoulli'"
        )
    return Gaussian(floor) if name == "gaussian" else Bernoulli()


def halves(h: Array) -> tuple[Array, Array]:
    """Split (N, 2D) into two (N, D), views of it."""
    D = h.shape[1] // 2
    return h[:, :D], h[:, D:]


def softplus(a: Array) -> Array:
    """Return log(1 + e^a) without overflow; complex a branches on its real part."""
    positive = a.real > 0
    tail = np.log1p(np.exp(np.where(positive, -a, a)))
    sums: Array = np.where(positive, a, 0) + tail
    return sums
