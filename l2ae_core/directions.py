"""Directions: the rows of an array brought to unit length, outside of networks.

The layer of a network has the paper's formula, with its ε (`layers.normalize`).
"""

import numpy as np

from l2ae_kernels.arrays import Array, array_module


def unit_rows(x: Array) -> tuple[Array, int | None]:
    """Return the rows x_i / |x_i| of x (N, D), floating point, and the first row of zeros, if any.

    Rows whose squares underflow or overflow, and no others, are scaled by a power of two first.
    Rows with NaN or infinity have NaN.
    """
    if not x.size:
        return x, 0 if len(x) else None
    with np.errstate(over="ignore", invalid="ignore"):
        return _unit_rows(x)


def _unit_rows(x: Array) -> tuple[Array, int | None]:
    xp, info = array_module(x), np.finfo(x.dtype)
    squared = (x * x).sum(axis=1, keepdims=True)
    # What underflows in D squares is less than eps times so much.
    least = x.shape[1] * float(info.tiny) / float(info.eps)
    unsafe = xp.flatnonzero(~((squared >= least) & (squared < np.inf))[:, 0])
    if not len(unsafe):
        return x / xp.sqrt(squared), None
    scaled = x[unsafe]
    _, exponents = xp.frexp(abs(scaled).max(axis=1, keepdims=True))
    scaled = xp.ldexp(scaled, -exponents)
    lengths = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    zeros = unsafe[lengths[:, 0] == 0]
    if len(zeros):
        return x, int(zeros[0])
    squared[unsafe] = 1
    unit = x / xp.sqrt(squared)
    unit[unsafe] = scaled / lengths
    return unit, None
