"""Initial weights: Glorot and Bengio (2010), uniform, as in Keras."""

import math

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.layers.base import Shape
from l2ae_kernels.arrays import Array


def glorot_uniform(shape: Shape, rng: Generator, dtype: npt.DTypeLike = np.float32) -> Array:
    """Draw an array of `shape` (..., A, B) from U(−limit, limit).

        limit = √(6 / (k (A + B))),   k = kernel elements: product of the axes before the last two

    Only the sum of the two fans counts, so one rule serves Dense (I, O), Conv2d (kh, kw, C, K) and
    ConvTranspose2d (kh, kw, OUT, IN). Numbers are drawn in float64 and then cast to `dtype`.
    """
    if not all(isinstance(n, int | np.integer) and n >= 1 for n in shape):
        raise ValueError(f"glorot_uniform: shape is {shape} but expected integers ≥ 1")
    *kernel, A, B = shape
    limit = math.sqrt(6 / (math.prod(kernel) * (A + B)))
    weights: Array = rng.uniform(-limit, limit, shape).astype(dtype)
    return weights
