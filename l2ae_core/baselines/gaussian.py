"""Normal distributions N(μ, σ²) with a diagonal covariance, given by μ and s = log σ².

Arrays broadcast against each other; densities and divergences sum over the last axis, in float64.
Every function has its derivatives beside it. Nothing here takes an absolute value or a maximum, so
complex steps go through, and nothing is clipped: where e^±s overflows, the loss is Inf and the
training stops by name.
"""

from math import log, pi

import numpy as np

from l2ae_kernels.arrays import Array


def sample(mean: Array, log_var: Array, noise: Array) -> Array:
    """Return z = μ + e^(s/2) ε for standard normal noise ε: the reparametrization."""
    z: Array = mean + np.exp(log_var / 2) * noise
    return z


def sample_adjoint(dz: Array, log_var: Array, noise: Array) -> tuple[Array, Array]:
    """Return dμ = dz and ds = dz ε e^(s/2) / 2."""
    return dz, dz * noise * np.exp(log_var / 2) / 2


def log_density(x: Array, mean: Array, log_var: Array) -> Array:
    """Return log N(x; μ, e^s) = −½ Σ_d [s + (x − μ)² e^(−s) + log 2π], shape (...,)."""
    r = x - mean
    return -total(log_var + r * r * np.exp(-log_var) + log(2 * pi)) / 2


def log_density_gradients(x: Array, mean: Array, log_var: Array) -> tuple[Array, Array]:
    """Return ∂/∂μ = (x − μ) e^(−s), which is −∂/∂x too, and ∂/∂s = ½ ((x − μ)² e^(−s) − 1)."""
    r, precision = x - mean, np.exp(-log_var)
    return r * precision, (r * r * precision - 1) / 2


def standard_kl(mean: Array, log_var: Array) -> Array:
    """Return KL(N(μ, e^s) ‖ N(0, 1)) = ½ Σ_d [e^s + μ² − 1 − s], shape (...,)."""
    return total(np.exp(log_var) + mean * mean - 1 - log_var) / 2


def standard_kl_gradients(mean: Array, log_var: Array) -> tuple[Array, Array]:
    """Return ∂/∂μ = μ and ∂/∂s = (e^s − 1) / 2."""
    return mean, (np.exp(log_var) - 1) / 2


def kl(mean: Array, log_var: Array, prior_mean: Array, prior_log_var: Array) -> Array:
    """Return KL(N(μ, e^s) ‖ N(m, e^t)) = ½ Σ_d [t − s − 1 + (e^s + (μ − m)²) e^(−t)], (...,)."""
    r = mean - prior_mean
    ratio = (np.exp(log_var) + r * r) * np.exp(-prior_log_var)
    return total(prior_log_var - log_var - 1 + ratio) / 2


def kl_gradients(
    mean: Array, log_var: Array, prior_mean: Array, prior_log_var: Array
) -> tuple[Array, Array, Array]:
    """Return ∂/∂μ = (μ − m) e^(−t), which is −∂/∂m too; ∂/∂s and ∂/∂t.

    ∂/∂s = ½ (e^(s−t) − 1),   ∂/∂t = ½ (1 − (e^s + (μ − m)²) e^(−t))
    """
    r, precision, var = mean - prior_mean, np.exp(-prior_log_var), np.exp(log_var)
    return r * precision, (var * precision - 1) / 2, (1 - (var + r * r) * precision) / 2


def total(terms: Array) -> Array:
    """Sum over the last axis in double precision."""
    wide = np.complex128 if np.iscomplexobj(terms) else np.float64
    sums: Array = terms.sum(axis=-1, dtype=wide)
    return sums
