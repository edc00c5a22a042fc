"""The scales of the fixed-point sums of a device (source/fixed_point.cuh).

    s = Σ_i round(v_i / scale) in 64-bit integers,   scale = 2^⌈log2(n · max|v|)⌉ / 2^bits

so no sum of n values reaches 2^bits, and 2^63 is never near. Rounding moves a mean of n values by
at most scale / 2 ≤ max|v| · n / 2^bits.
"""

import math
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array

BITS = {
    np.dtype(np.float32): 51,  # as the CPU's sums (cpu/kmeans/sums.py): equal labels, equal bits
    np.dtype(np.float64): 62,  # rounds 1e5 values to 5e-14 of the largest
}
INERTIA_BITS = 62
SMALLEST = -1000  # exponent of the smallest scale: its inverse is still a float64


def scale_of_sums(n: int, max_abs: float, dtype: np.dtype[Any]) -> float:
    """Return the scale of sums of n numbers with |v| <= max_abs, of the dtype of samples."""
    return _scale(n * max_abs, BITS[np.dtype(dtype)])


def scale_of_inertia(n: int, d: int, size: float, dtype: np.dtype[Any]) -> float:
    """Return the scale of a sum of n squared distances |x − c|², where |x_f| + |c_f| <= size.

    It is infinite where a distance may overflow the dtype of samples: then there is no sum.
    """
    bound = d * size * size
    if bound > float(np.finfo(dtype).max):
        return math.inf
    return _scale(n * bound, INERTIA_BITS)


def _scale(most: float, bits: int) -> float:
    if most == 0 or not math.isfinite(most):
        return 1.0
    return 2.0 ** max(SMALLEST, math.ceil(math.log2(most)) - bits)


def bound_of_nearest(centers: Array) -> float:
    """Return a number that some center of each run, (R, k, d), does not exceed in any feature.

    The nearest center of a sample is not farther than that one, however far others lie.
    """
    return float(np.abs(centers).max(axis=2).min(axis=1).max(initial=0))
