"""Launchers of norms.cu: Eq. 4, layer norm and batch norm of (R, C), and their adjoints.

    l2_normalize   u = z / n,  n = √(|z|² + ε²)             dz = (du − u⟨u, du⟩) / n
    layer_norm     y = leaky(γ (x − μ)/√(v + ε) + β)        μ and v of each row
    batch_norm     y = leaky(γ (x − μ)/σ + β)               μ and σ of each channel

Arrays of rows are (R, C) or (M, R, C), those of channels (C,) or (M, C); of M models each, x, γ, β,
μ and σ may be shared. None for γ and β is 1 and 0. `slope_below` is that of the activation whose
output is x (for Eq. 4: z); 1 is none, else the gradient has passed its adjoint.

Sums over rows are made in parts, which the shape of one model alone determines, and added in order.
"""

from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.launch import THREADS, ceil_div, distance, model_count, real
from l2ae_kernels.geometry import require_shape

WARPS = THREADS // 32
MOST_PARTS = 256  # of the rows
WORTH_A_PART = 1 << 12  # numbers


class There(NamedTuple):
    """The first rows of each model, beyond which none counts."""

    counts: Array  # (M,) int32: samples
    of_sample: int  # rows


def l2_normalize(z: Array, eps: float, u: Array, n: Array) -> None:
    """Write z / n to u (M, R, C), and n (M, R) or (M, R, 1)."""
    device, (models, rows, channels) = device_of(z), _sizes(u)
    z_models = distance("l2_normalize", "z", z, (rows, channels), models)
    number = u.dtype.type
    device.launch(
        device.kernel("norms.cu", "l2_normalize", real(u.dtype)),
        (ceil_div(rows, WARPS), 1, models),
        (THREADS,),
        (z, u, n, np.int64(rows), np.int64(channels), z_models, number(eps)),
    )


def l2_normalize_adjoint(
    du: Array, u: Array, n: Array, dz: Array, *, slope_below: float = 1.0
) -> None:
    """Write (du − u⟨u, du⟩) / n to dz (M, R, C)."""
    device, (models, rows, channels) = device_of(du), _sizes(dz)
    for name, a in (("du", du), ("u", u)):
        require_shape("l2_normalize_adjoint", name, a.shape, dz.shape)
    number = dz.dtype.type
    device.launch(
        device.kernel("norms.cu", "l2_normalize_adjoint", real(dz.dtype)),
        (ceil_div(rows, WARPS), 1, models),
        (THREADS,),
        (du, u, n, dz, np.int64(rows), np.int64(channels), number(slope_below)),
    )


def layer_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
    out: Array,
    *,
    slope: float = 1.0,
) -> None:
    """Write leaky(γ (x − μ)/√(v + ε) + β), with μ and v of each row, to out (M, R, C)."""
    device, (models, rows, channels) = device_of(x), _sizes(out)
    x_models = distance("layer_norm", "x", x, (rows, channels), models)
    affine_models = _affine("layer_norm", gamma, beta, channels, models)
    number = out.dtype.type
    device.launch(
        device.kernel("norms.cu", "layer_norm", real(out.dtype)),
        (ceil_div(rows, WARPS), 1, models),
        (THREADS,),
        (
            x, gamma, beta, out, np.int64(rows), np.int64(channels), x_models, affine_models,
            number(eps), number(slope),
        ),
    )  # fmt: skip


def layer_norm_adjoint(
    dy: Array,
    x: Array,
    gamma: Array | None,
    eps: float,
    dx: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    *,
    slope_below: float = 1.0,
) -> None:
    """Write dx (M, R, C), and dγ and dβ (M, C), or None for both: they are not asked for."""
    device, (models, rows, channels) = device_of(dy), _sizes(dx)
    require_shape("layer_norm_adjoint", "dy", dy.shape, dx.shape)
    x_models = distance("layer_norm_adjoint", "x", x, (rows, channels), models)
    gamma_models = distance("layer_norm_adjoint", "gamma", gamma, (channels,), models)
    rows_of_part, count = _parts(rows, channels)
    parts = None if dgamma is None else device.empty((2, count, models, channels), dx.dtype)
    number = dx.dtype.type
    device.launch(
        device.kernel("norms.cu", "layer_norm_adjoint", real(dx.dtype)),
        (count, ceil_div(channels, THREADS), models),
        (THREADS,),
        (
            dy, x, gamma, dx, parts, np.int64(rows), np.int64(channels), np.int64(rows_of_part),
            x_models, gamma_models, number(eps), number(slope_below),
        ),
    )  # fmt: skip
    if parts is not None:
        _add_gradients(parts, dgamma, dbeta)


def moments(x: Array, mean: Array, variance: Array) -> None:
    """Write mean and biased variance of each channel of x (M, R, C), R > 0, to (M, C) each."""
    _moments(x, mean, variance)


def batch_norm(
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None,
    beta: Array | None,
    out: Array,
    *,
    slope: float = 1.0,
) -> None:
    """Write leaky(γ (x − μ)/σ + β) to out (M, R, C)."""
    device, (models, rows, channels) = device_of(x), _sizes(out)
    x_models = distance("batch_norm", "x", x, (rows, channels), models)
    moment_models = distance("batch_norm", "mean", mean, (channels,), models)
    affine_models = _affine("batch_norm", gamma, beta, channels, models)
    rows_of_part, count = _parts(rows, channels)
    device.launch(
        device.kernel("norms.cu", "batch_norm", real(out.dtype)),
        (count, ceil_div(channels, THREADS), models),
        (THREADS,),
        (
            x, mean, sigma, gamma, beta, out, np.int64(rows), np.int64(channels),
            np.int64(rows_of_part), x_models, moment_models, affine_models,
            out.dtype.type(slope),
        ),
    )  # fmt: skip


def batch_norm_train(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    eps: float,
    out: Array,
    mean: Array,
    variance: Array,
    sigma: Array,
    *,
    slope: float = 1.0,
    running: tuple[Array, Array] | None = None,
    momentum: float = 0.99,
    there: There | None = None,
) -> None:
    """Write μ, v and σ = √(v + ε) of each channel of x, (M, C) each, and `batch_norm` with them.

    running: mean and variance (M, C), which move: running ← momentum · running + (1 − momentum) ·
    batch. there: the rows that μ and v are of; of a model without any, nothing moves.
    """
    _moments(x, mean, variance, sigma, eps, running, momentum, there)
    batch_norm(x, mean, sigma, gamma, beta, out, slope=slope)


def batch_norm_adjoint(
    dy: Array,
    x: Array,
    mean: Array,
    sigma: Array,
    gamma: Array | None,
    of_batch: bool,
    dx: Array,
    dgamma: Array,
    dbeta: Array,
    *,
    slope_below: float = 1.0,
    there: There | None = None,
) -> None:
    """Write dx (M, R, C), dγ and dβ (M, C); `of_batch`: whether μ and σ are those of x.

    there: the rows that they are of; dx of the others, whose dy is 0, is 0.
    """
    device, (models, rows, channels) = device_of(dy), _sizes(dx)
    require_shape("batch_norm_adjoint", "dy", dy.shape, dx.shape)
    x_models = distance("batch_norm_adjoint", "x", x, (rows, channels), models)
    moment_models = distance("batch_norm_adjoint", "mean", mean, (channels,), models)
    gamma_models = distance("batch_norm_adjoint", "gamma", gamma, (channels,), models)
    rows_of_part, count = _parts(rows, channels)
    parts = device.empty((2, count, models, channels), dx.dtype)
    grid = count, ceil_div(channels, THREADS), models
    sizes = np.int64(rows), np.int64(channels), np.int64(rows_of_part), x_models, moment_models
    device.launch(
        device.kernel("norms.cu", "batch_norm_sums", real(dx.dtype)),
        grid,
        (THREADS,),
        (dy, x, mean, sigma, parts, *sizes),
    )
    _add_gradients(parts, dgamma, dbeta)
    sums = (dgamma, dbeta) if of_batch else (None, None)
    device.launch(
        device.kernel("norms.cu", "batch_norm_adjoint", real(dx.dtype)),
        grid,
        (THREADS,),
        (
            dy, x, mean, sigma, gamma, *sums, dx, *sizes, gamma_models,
            dx.dtype.type(slope_below), *_rows_there(there),
        ),
    )  # fmt: skip


def _moments(
    x: Array,
    mean: Array,
    variance: Array,
    sigma: Array | None = None,
    eps: float = 0.0,
    running: tuple[Array, Array] | None = None,
    momentum: float = 0.99,
    there: There | None = None,
) -> None:
    device, number = device_of(x), mean.dtype.type
    models, (rows, channels) = model_count(mean, 1), x.shape[-2:]
    x_models = distance("moments", "x", x, (rows, channels), models)
    rows_of_part, count = _parts(rows, channels)
    parts = device.empty((2, count, models, channels), x.dtype)
    sizes = np.int64(rows), np.int64(channels), np.int64(rows_of_part)
    device.launch(
        device.kernel("norms.cu", "moments_parts", real(x.dtype)),
        (count, ceil_div(channels, THREADS), models),
        (THREADS,),
        (x, parts, *sizes, x_models, *_rows_there(there)),
    )
    device.launch(
        device.kernel("norms.cu", "moments_finish", real(x.dtype)),
        (ceil_div(channels, 32), 1, models),
        (THREADS,),
        (
            parts, mean, variance, sigma, *(running or (None, None)), *sizes, np.int64(count),
            number(eps), number(1 - momentum), *_rows_there(there),
        ),
    )  # fmt: skip


def _add_gradients(parts: Array, dgamma: Array | None, dbeta: Array | None) -> None:
    device, (_, count, models, channels) = device_of(parts), parts.shape
    device.launch(
        device.kernel("norms.cu", "add_gradients", real(parts.dtype)),
        (ceil_div(channels, 32), 2, models),
        (THREADS,),
        (parts, dgamma, dbeta, np.int64(channels), np.int64(count)),
    )


def _rows_there(there: There | None) -> tuple[Array | None, np.int64]:
    return (None, np.int64(0)) if there is None else (there.counts, np.int64(there.of_sample))


def _affine(
    operation: str, gamma: Array | None, beta: Array | None, channels: int, models: int
) -> np.int64:
    """Check γ and β, and return the distance between those of two models."""
    if gamma is not None and beta is not None:
        require_shape(operation, "beta", beta.shape, gamma.shape)
    return distance(operation, "gamma", gamma, (channels,), models)


def _sizes(out: Array) -> tuple[int, int, int]:
    """M, R and C of an output (M, R, C) or (R, C)."""
    return model_count(out, 2), out.shape[-2], out.shape[-1]


def _parts(rows: int, channels: int) -> tuple[int, int]:
    """Return the rows of a part, and how many parts there are: of a model's shape alone."""
    wanted = min(MOST_PARTS, rows * channels // WORTH_A_PART, rows)
    rows_of_part = ceil_div(rows, max(1, wanted))
    return rows_of_part, ceil_div(rows, max(1, rows_of_part))
