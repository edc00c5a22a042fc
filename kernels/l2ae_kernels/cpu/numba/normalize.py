"""Batch and layer normalization, one pass a kernel; the formulas are those of the reference.

The rung above the reference. NumPy writes every difference, square and product of a formula to an
array of its own, which for feature maps of a batch are megabytes that go to memory and back:
BatchNorm's backward pass makes seven of them. Here a value is read, used for all that it is needed
for, and the result is written:

    moments              reads x once: two passes over BLOCK_ROWS rows, which stay in cache
    batch_norm           reads x, writes y
    batch_norm_adjoint   reads x and dy twice (sums, then dx), writes dx
    layer_norm           reads x, writes y: a row stays in cache while its moments are taken
    layer_norm_adjoint   reads x and dy, writes dx: μ and σ are computed again, not kept

Sums over rows are in float64, in PARTS ranges of rows that are added in order whatever the number
of threads. Moments of two sets of m and n rows make those of both (Chan, Golub and LeVeque 1983):

    δ = μ_n − μ_m,   μ = μ_m + δ n/(m + n),   S = S_m + S_n + δ² m n/(m + n)     S = Σ (x − μ)²

which keeps every digit of v = S/R where the usual Σ x² − R μ² cancels.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.numba.dense import VALUE_WORK
from l2ae_kernels.cpu.threads import in_ranges

BLOCK_ROWS = 64
PARTS = 16  # more than threads, so that they may be unequally fast


@jit()
def _moments(x, means, squares, first, last):  # type: ignore[no-untyped-def]
    """Moments of the parts `first` … `last` − 1, a row of `means` and `squares` (S) each."""
    R, C = x.shape
    block_mean, block_square = np.empty(C), np.empty(C)
    for part in range(first, last):
        mean, square = means[part], squares[part]
        begin, end = part * R // len(means), (part + 1) * R // len(means)
        for r0 in range(begin, end, BLOCK_ROWS):
            r1 = min(end, r0 + BLOCK_ROWS)
            block_mean[:] = 0
            block_square[:] = 0
            for r in range(r0, r1):
                for c in range(C):
                    block_mean[c] += x[r, c]
            for c in range(C):
                block_mean[c] /= r1 - r0
            for r in range(r0, r1):
                for c in range(C):
                    difference = x[r, c] - block_mean[c]
                    block_square[c] += difference * difference
            _join(mean, square, r0 - begin, block_mean, block_square, r1 - r0)


@jit()
def _join(mean, square, m, other_mean, other_square, n):  # type: ignore[no-untyped-def]
    """Make `mean` and `square`, of m rows, those of m + n rows."""
    for c in range(len(mean)):
        delta = other_mean[c] - mean[c]
        mean[c] += delta * n / (m + n)
        square[c] += other_square[c] + delta * delta * m * n / (m + n)


@jit(fastmath={"contract"})
def _batch_norm(x, mean, scale, beta, out, first, last):  # type: ignore[no-untyped-def]
    """`scale` is γ/σ."""
    for r in range(first, last):
        for c in range(x.shape[1]):
            out[r, c] = (x[r, c] - mean[c]) * scale[c] + beta[c]


@jit()
def _batch_norm_sums(dy, x, mean, parts, first, last):  # type: ignore[no-untyped-def]
    """Σ dy and Σ (x − μ) dy over each part of the rows, in parts (PARTS, 2, C)."""
    R, C = x.shape
    for part in range(first, last):
        of_dy, of_products = parts[part, 0], parts[part, 1]
        for r in range(part * R // len(parts), (part + 1) * R // len(parts)):
            for c in range(C):
                of_dy[c] += dy[r, c]
                of_products[c] += np.float64(x[r, c] - mean[c]) * dy[r, c]


@jit(fastmath={"contract"})
def _batch_norm_dx(dy, x, mean, scale, shift, slope, dx, first, last):  # type: ignore[no-untyped-def]
    """dx = scale (dy − shift − slope (x − μ))."""
    for r in range(first, last):
        for c in range(x.shape[1]):
            dx[r, c] = scale[c] * (dy[r, c] - shift[c] - slope[c] * (x[r, c] - mean[c]))


@jit(fastmath={"contract", "reassoc"})  # reassoc: partial sums, one a lane
def _row_moments(x, eps):  # type: ignore[no-untyped-def]
    """μ and 1/σ of one row."""
    total, square = x.dtype.type(0), x.dtype.type(0)
    for c in range(len(x)):
        total += x[c]
    mean = x.dtype.type(total / len(x))
    for c in range(len(x)):
        square += (x[c] - mean) * (x[c] - mean)
    return mean, x.dtype.type(1 / np.sqrt(square / len(x) + eps))


@jit(fastmath={"contract"})
def _layer_norm(x, gamma, beta, eps, out, first, last):  # type: ignore[no-untyped-def]
    for r in range(first, last):
        mean, inverse = _row_moments(x[r], eps)
        for c in range(x.shape[1]):
            out[r, c] = (x[r, c] - mean) * inverse * gamma[c] + beta[c]


@jit(fastmath={"contract", "reassoc"})  # reassoc: partial sums, one a lane
def _row_means(dy, x, gamma, mean, inverse):  # type: ignore[no-untyped-def]
    """mean(dx̂) and mean(x̂ dx̂) of one row."""
    total, product = x.dtype.type(0), x.dtype.type(0)
    for c in range(len(x)):
        total += gamma[c] * dy[c]
        product += gamma[c] * dy[c] * (x[c] - mean)
    return x.dtype.type(total / len(x)), x.dtype.type(product * inverse / len(x))


@jit(fastmath={"contract"})
def _layer_norm_adjoint(dy, x, gamma, eps, dx, parts, first, last):  # type: ignore[no-untyped-def]
    """dx, and Σ dy and Σ x̂ dy over each part of the rows, in parts (PARTS, 2, C)."""
    R, C = x.shape
    for part in range(first, last):
        of_dy, of_products = parts[part, 0], parts[part, 1]
        for r in range(part * R // len(parts), (part + 1) * R // len(parts)):
            mean, inverse = _row_moments(x[r], eps)
            shift, slope = _row_means(dy[r], x[r], gamma, mean, inverse)
            for c in range(C):
                x_hat = (x[r, c] - mean) * inverse
                dx[r, c] = (gamma[c] * dy[r, c] - shift - x_hat * slope) * inverse
                of_dy[c] += dy[r, c]
                of_products[c] += x_hat * dy[r, c]


def moments(x: Array, mean: Array, variance: Array) -> None:
    """Write mean and biased variance (C,) of each column of x (R, C), R > 0."""
    R, C = x.shape
    count = min(PARTS, R)
    means, squares = np.zeros((count, C)), np.zeros((count, C))
    in_ranges(_moments, count, 2 * x.size * VALUE_WORK, x, means, squares)
    cuts = [part * R // count for part in range(count + 1)]
    for part in range(1, count):
        rows = cuts[part + 1] - cuts[part]
        _join(means[0], squares[0], cuts[part], means[part], squares[part], rows)
    mean[...], variance[...] = means[0], squares[0] / R


def batch_norm(x: Array, mean: Array, sigma: Array, gamma: Array, beta: Array, out: Array) -> None:
    """Write γ (x − μ)/σ + β to `out` (R, C)."""
    in_ranges(_batch_norm, len(x), x.size * VALUE_WORK, x, mean, gamma / sigma, beta, out)


def batch_norm_adjoint(
    dy: Array, x: Array, mean: Array, sigma: Array, gamma: Array, of_batch: bool,
    dx: Array, dgamma: Array, dbeta: Array,
) -> None:  # fmt: skip
    """Write dx (R, C), dγ and dβ (C,); `of_batch`: whether μ and σ are those of x."""
    R, C = x.shape
    parts, work = np.zeros((PARTS, 2, C)), x.size * VALUE_WORK
    in_ranges(_batch_norm_sums, PARTS, 2 * work, dy, x, mean, parts)
    of_dy, of_products = parts.sum(axis=0)
    dbeta[...], dgamma[...] = of_dy, of_products / sigma
    share = 1 / R if of_batch and R else 0.0
    shift = (of_dy * share).astype(x.dtype)
    slope = (of_products * share / np.square(sigma, dtype=np.float64)).astype(x.dtype)
    in_ranges(_batch_norm_dx, R, work, dy, x, mean, gamma / sigma, shift, slope, dx)


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float, out: Array) -> None:
    """Write γ (x − μ)/σ + β to `out` (R, C), with μ and σ of each row."""
    real = x.dtype.type(eps)
    in_ranges(_layer_norm, len(x), 2 * x.size * VALUE_WORK, x, gamma, beta, real, out)


def layer_norm_adjoint(
    dy: Array, x: Array, gamma: Array, eps: float, dx: Array, dgamma: Array, dbeta: Array
) -> None:
    """Write dx (R, C), dγ and dβ (C,)."""
    parts, real = np.zeros((PARTS, 2, x.shape[1])), x.dtype.type(eps)
    work = 4 * x.size * VALUE_WORK
    in_ranges(_layer_norm_adjoint, PARTS, work, dy, x, gamma, real, dx, parts)
    dbeta[...], dgamma[...] = parts.sum(axis=0)
