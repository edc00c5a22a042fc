"""Discriminative reconstructions (DRAE, Xia et al. 2015): a loss that parts inliers and outliers.

    e_i  = |x̂_i − x_i|²                                 summed over the pixels, e_1 ≤ … ≤ e_n
    h(k) = (SS(e_1 … e_k) + SS(e_k+1 … e_n)) / SS(e)    SS: squared deviations from their mean
    k*   = argmin_k h(k)                                the split of Otsu
    loss = 1/k* Σ_{i ≤ k*} e_i + λ h(k*)                inliers are the group of the small errors

The split is held constant in the gradient, which is exact wherever k* does not jump:

    ∂loss/∂e_i = [i ≤ k*] / k* + 2λ ((e_i − m_group(i)) − h (e_i − m)) / SS(e)

An outlier gets a gradient through h alone, away from the threshold. The split is made anew in every
mini-batch, as E3Outlier does; the original makes it over the whole set between the updates. λ = 0.1
is E3Outlier's. DRAE trains our own AutoEncoder; the anomaly score is the reconstruction error.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from l2ae_core.baselines.gaussian import total
from l2ae_core.layers import Params
from l2ae_core.layers.base import weight_grads
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.step import Step
from l2ae_kernels.arrays import Array


class OtsuSplit(NamedTuple):
    """Errors in two groups."""

    inlier: Array  # (N,) bool: the group of the small errors
    threshold: float  # half-way between the groups; an error above it is an outlier
    h: float  # share of the squared deviations that is left within the groups, in [0, 1]


def otsu_split(errors: Array) -> OtsuSplit:
    """Return the best split of errors (N,) in two groups by size.

    Equal errors have nothing to split: all are inliers then, h is 0, the threshold infinite.
    ValueError when errors are not (N,) with N ≥ 1, or not finite.
    """
    errors = np.asarray(errors, np.float64)
    if errors.ndim != 1 or not errors.size or not np.isfinite(errors).all():
        raise ValueError(f"otsu_split: errors is {errors.shape} but expected finite (N,), N >= 1")
    inlier = _inliers(errors)
    if inlier.all():
        return OtsuSplit(inlier, np.inf, 0.0)
    low, high = errors[inlier].max(), errors[~inlier].min()
    return OtsuSplit(inlier, float(low + (high - low) / 2), _separation(errors, inlier)[0])


def drae_loss(x_hat: Array, x: Array, trade_off: float = 0.1) -> tuple[float, Array]:
    """Return the loss of reconstructions x_hat (N, ...) of images x (N, ...), and dx_hat.

    `trade_off` is λ. NaN or Inf in x_hat gives the loss NaN. ValueError when the shapes differ or
    N is 0.
    """
    if x_hat.shape != x.shape or not x.size:
        raise ValueError(
            f"drae_loss: x_hat is {x_hat.shape} and x is {x.shape} but expected one shape (N, ...)"
        )
    residual = x_hat - x  # (N, ...)
    errors = total((residual * residual).reshape(len(x), -1))  # (N,)
    inlier = _inliers(errors.real)
    h, dh = _separation(errors, inlier)
    loss = errors[inlier].mean() + trade_off * h
    derrors = inlier / inlier.sum() + trade_off * dh  # (N,)
    derrors = derrors.reshape(-1, *[1] * (x.ndim - 1))
    return loss.item(), (2 * derrors * residual).astype(x_hat.dtype, copy=False)


def _inliers(errors: Array) -> Array:
    """Return the inliers (N,) of all n − 1 splits' best, in O(n log n).

    With S_k the sum of the k smallest deviations from the mean, what the groups take away is
    SS(e) (1 − h(k)) = n S_k² / (k (n − k)).
    """
    n = len(errors)
    order = np.argsort(errors, kind="stable")
    sums = np.cumsum((errors - errors.mean())[order])[:-1]  # (n − 1,)
    k = np.arange(1, n)
    inlier = np.ones(n, dtype=bool)
    if errors.min() < errors.max():
        best = 1 + int(np.argmax(sums * sums / (k * (n - k))))
        inlier[order[best:]] = False
    return inlier


def _separation(errors: Array, inlier: Array) -> tuple[Any, Array]:
    """Return h and ∂h/∂e (N,) of a split: 0 where all errors are equal."""
    from_all = errors - errors.mean()
    within = np.empty_like(from_all)
    for group in (inlier, ~inlier):
        if group.any():
            within[group] = errors[group] - errors[group].mean()
    spread = (from_all * from_all).sum()
    if spread == 0:
        return 0.0, np.zeros_like(from_all)
    h = (within * within).sum() / spread
    return h, 2 * (within - h * from_all) / spread


@dataclass(eq=False)
class DRAEStep(Step):
    """A training step of an AutoEncoder, dense or convolutional; λ is `trade_off`.

    For `fit(..., step=DRAEStep(model, optimizer))`. ValueError for a negative `trade_off`.
    """

    model: AutoEncoder
    trade_off: float = 0.1

    def __post_init__(self) -> None:
        if not (isfinite(self.trade_off) and self.trade_off >= 0):
            raise ValueError(f"DRAEStep: trade_off is {self.trade_off} but expected a number ≥ 0")

    @property
    def settings(self) -> dict[str, Any]:
        return {"loss": "DRAE", "trade_off": self.trade_off}

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        x_hat, cache = self.model.forward(x, train=True)
        loss, dx_hat = drae_loss(x_hat, x, self.trade_off)
        return loss, weight_grads(self.model, dx_hat, cache)
