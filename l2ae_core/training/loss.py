"""The reconstruction loss, Eq. 3 of the paper, and its gradient."""

from math import prod
from typing import get_args

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.stages import Reduction as Reduction  # of this loss, for all of the core


def reconstruction_loss(
    x_hat: Array, x: Array, reduction: Reduction = "mean"
) -> tuple[float, Array]:
    """Return the loss of the reconstructions x_hat (N, ...) of the images x (N, ...), and dx_hat.

        "sum":   loss = 1/N     Σᵢ |x̂ᵢ − xᵢ|²      dx̂ = 2 (x̂ − x) / N          (Eq. 3)
        "mean":  loss = 1/(N P) Σᵢ |x̂ᵢ − xᵢ|²      dx̂ = 2 (x̂ − x) / (N P)

    P is the number of pixels times channels. Both average over the N images; "mean" divides by P as
    well, which is the usual "mse". The choice matters only beside a second loss, or to Adam's ε.

    dx_hat has shape and dtype of x_hat. The loss is summed in float64 and returned as a Python
    float; it is complex where x_hat is complex, since nothing here takes an absolute value:
    complex steps go through.

    Raises ValueError when the shapes differ, N is 0, x_hat holds integers, or `reduction` is
    unknown.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(
            f"reconstruction_loss: reduction is {reduction!r} but expected one of "
            f"{get_args(Reduction)}"
        )
    if x_hat.shape != x.shape:
        raise ValueError(f"reconstruction_loss: x_hat is {x_hat.shape} but x is {x.shape}")
    if not x.size:
        raise ValueError(f"reconstruction_loss: x is {x.shape} but expected at least one image")
    if x_hat.dtype.kind not in "fc":
        raise ValueError(f"reconstruction_loss: x_hat is {x_hat.dtype} but expected real numbers")
    count = len(x) * (prod(x.shape[1:]) if reduction == "mean" else 1)
    dtype = np.result_type(x_hat.dtype, x.dtype, np.float32)  # squares of float16 end at 65504
    y, images = (a.astype(dtype, copy=False) for a in (x_hat, x))
    dx_hat = ops.squared_error_adjoint(y, images, 1 / count)
    return ops.squared_error(y, images) / count, dx_hat.astype(x_hat.dtype, copy=False)
