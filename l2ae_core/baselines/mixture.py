"""A mixture of K normal distributions as the prior of a latent x, and what it costs (GMVAE).

    r_k = N(x; m_k, e^t_k) / Σ_j N(x; m_j, e^t_j)      p(z = k | x), by Bayes with p(z) = 1/K
    A_k = KL(N(μ, e^s) ‖ N(m_k, e^t_k))                of q(x) = N(μ, e^s), from which x was drawn
    Z   = Σ_k r_k log r_k + log K                      KL(r ‖ p(z)), in [0, log K]

    cost = 1/N Σ_n Σ_k r_nk A_nk  +  max(λ, 1/N Σ_n Z_n)

Gradients, up to 1/N and with [·] = 1 where the mean of Z is above λ, 0 elsewhere:

    dA_k = r_k            dr_k = A_k + [·] (log r_k + 1)
    da_k = r_k (dr_k − Σ_j r_j dr_j)                   a_k = log N(x; m_k, e^t_k), r its softmax

dA reaches μ, s, m and t, da reaches x, m and t, by the derivatives of gaussian.py.
"""

from math import log
from typing import NamedTuple

import numpy as np

from l2ae_core.baselines import gaussian
from l2ae_core.layers import Cache
from l2ae_kernels.arrays import Array


class Mixture(NamedTuple):
    """N(m_k, e^t_k) for every image and component."""

    mean: Array  # m (N, K, X)
    log_var: Array  # t (N, K, X)


class Posterior(NamedTuple):
    """q(x) = N(μ, e^s) for every image, and the sample x."""

    mean: Array  # μ (N, X)
    log_var: Array  # s (N, X)
    x: Array  # (N, X)


class CostGradients(NamedTuple):
    """Derivatives of the cost, with the shapes of what they derive by."""

    q: Posterior
    p: Mixture


def log_responsibilities(x: Array, p: Mixture) -> Array:
    """Return log r (N, K) float64 of x (N, X)."""
    a = gaussian.log_density(x[:, None], p.mean, p.log_var)  # (N, K)
    a = a - a.real.max(axis=1, keepdims=True)
    log_r: Array = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    return log_r


def mixture_cost(q: Posterior, p: Mixture, free_nats: float) -> tuple[Array, Array, Cache]:
    """Return the two terms of the cost, float64 scalars, and the cache; `free_nats` is λ."""
    log_r = log_responsibilities(q.x, p)
    A = gaussian.kl(q.mean[:, None], q.log_var[:, None], p.mean, p.log_var)  # (N, K)
    r = np.exp(log_r)
    z_prior = (r * log_r).sum(axis=1).mean() + log(log_r.shape[1])
    counts = bool(z_prior.real > free_nats)
    conditional_prior = (r * A).sum(axis=1).mean()
    kept = z_prior if counts else np.asarray(free_nats)
    return conditional_prior, kept, (q, p, log_r, A, counts)


def mixture_cost_gradients(cache: Cache) -> CostGradients:
    """Return the derivatives of the sum of the two terms."""
    q, p, log_r, A, counts = cache
    N, r = len(q.x), np.exp(log_r)  # r (N, K)
    dr = A + log_r + 1 if counts else A
    da = (r * (dr - (r * dr).sum(axis=1, keepdims=True)) / N).astype(q.x.dtype)[..., None]
    dA = (r / N).astype(q.x.dtype)[..., None]  # (N, K, 1), as da

    da_dm, da_dt = gaussian.log_density_gradients(q.x[:, None], p.mean, p.log_var)  # (N, K, X)
    dA_dmean, dA_ds, dA_dt = gaussian.kl_gradients(
        q.mean[:, None], q.log_var[:, None], p.mean, p.log_var
    )  # (N, K, X)
    dx = -(da * da_dm).sum(axis=1)
    dmean, ds = (dA * dA_dmean).sum(axis=1), (dA * dA_ds).sum(axis=1)
    dm, dt = da * da_dm - dA * dA_dmean, da * da_dt + dA * dA_dt
    return CostGradients(Posterior(dmean, ds, dx), Mixture(dm, dt))
