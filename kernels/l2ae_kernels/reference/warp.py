"""Affine warps of images by bilinear interpolation in NumPy: the specification.

    (r, s) = M_n (i, j, 1)                                      in float64
    y[n, i, j, c] = Σ_h Σ_w max(0, 1 − |r − h|) max(0, 1 − |s − w|) x[n, h, w, c]

M_n (2, 3) takes the row and column of an output pixel to the place in the image that it reads, so
that y is continuous in M_n. Pixels outside the image are 0: from a border pixel y falls to 0 over
the length of a pixel, and a place further outside, or too far for float64, is 0. Of the four pixels
around a place only those with a weight other than 0 are read.
"""

import numpy as np

from l2ae_kernels.arrays import Array


def warp(x: Array, maps: Array, out: Array) -> None:
    """Write the warped images x (N, H, W, C) to `out`; maps (N, 2, 3) are finite."""
    N, H, W, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    n = np.arange(N)[:, None, None]
    rows, a = _taps(x, maps[:, 0], H)
    columns, b = _taps(x, maps[:, 1], W)
    top, bottom = ((1 - b) * padded[n, h, columns[0]] + b * padded[n, h, columns[1]] for h in rows)
    out[...] = (1 - a) * top + a * bottom


def _taps(x: Array, M: Array, length: int) -> tuple[tuple[Array, Array], Array]:
    """The two rows, or columns, of the padded image that each place lies between, (N, H, W), and
    the weight (N, H, W, 1) of the second one: one and the same where that is 0.
    """
    M = M.astype(np.float64)[:, :, None, None]
    i, j = np.arange(x.shape[1])[:, None], np.arange(x.shape[2])
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers near 1e308: a NaN is outside
        place = (M[:, 0] * i + M[:, 2]) + M[:, 1] * j
    place = np.where(place > -1, np.minimum(place, length) + 1, 0)
    first = np.floor(place)
    weight = (place - first).astype(x.dtype)
    first = first.astype(np.intp)
    return (first, first + (weight > 0)), weight[..., None]
