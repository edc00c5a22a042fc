"""Affine warps of images."""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import inputs, output


def warp(x: Array, maps: Array, *, out: Array | None = None, impl: str | None = None) -> Array:
    """Return images x (N, H, W, C), each read at the places that its map says, between four pixels.

    maps (N, 2, 3) are affine: of the row and column of an output pixel (i, j, 1) to those in the
    image that it reads, by bilinear interpolation; pixels outside the image are 0. Finite maps may
    be of any size; a place too far for float64 is outside.

    Raises ValueError when an argument does not fit, and where maps hold NaN or infinity.
    """
    x, maps = inputs("warp", x, maps)
    run = pick("warp", x, impl)
    y = output("warp", out, x.shape, x, maps)
    finite = np.isfinite(maps).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(f"warp: maps holds NaN or Inf, first in map {int(finite.argmin())}")
    if y.size:
        run(x, maps, y)
    return y if out is None else out
