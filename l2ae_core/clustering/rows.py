"""Steps of k-means on rows in memory, which parted.py takes to parts and on_dask.py to chunks."""

from typing import Any

import numpy as np

from l2ae_core import directions
from l2ae_kernels.arrays import Array, array_module, to_host
from l2ae_kernels.cuda.device import to_device_of

ROWS = 4096  # that are compared with each other at a time, or tell where the samples lie


def sample_dtype(function: str, x: Any) -> np.dtype[Any]:
    """Return the dtype of x as samples: integers are float64; ValueError unless real (N, D)."""
    dtype: np.dtype[Any] = x.dtype.newbyteorder("=")
    if dtype.kind in "iub" or dtype == np.float16:
        dtype = np.dtype(np.float64)
    if x.ndim != 2 or dtype not in (np.float32, np.float64):
        raise ValueError(f"{function}: x is {x.shape} {x.dtype} but expected real (N, D)")
    return dtype


def unit_rows(function: str, x: Array, first: int = 0) -> Array:
    """Return the rows of x, each of unit length; ValueError for a row of zeros.

    first: the number of row 0 among all, for the error.
    """
    unit, zero = directions.unit_rows(x)
    if zero is not None:
        raise ValueError(f"{function}: row {first + zero} of x is zero but expected a direction")
    return unit


def first_not_finite(x: Array) -> int | None:
    """Return the first row of x (N, D) with NaN or infinity.

    A sum needs no memory, and is finite only if all terms are; one that is not may overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = array_module(x).isfinite
        if finite(x.sum()) or finite(x).all():
            return None
    return int((~finite(x).all(axis=1)).argmax())


def recenter(x: Array, origin: Array) -> Array:
    """Return x − origin (N, D) in the dtype of x."""
    recentered: Array = x - to_device_of(x, origin)
    return recentered


def mean_variance(x: Array) -> float:
    """Return the mean variance of the features of x (N, D)."""
    return float(x.var(axis=0, dtype=np.float64).mean())


def distinct_rows(x: Array, count: int) -> Array:
    """Return distinct rows of x (N, D), `count` at most, from as many pieces as that takes."""
    seen = to_host(x[:0])
    for first in range(0, len(x), ROWS):
        seen = np.unique(np.concatenate([seen, to_host(x[first : first + ROWS])]), axis=0)
        if len(seen) >= count:
            break
    return seen[:count]
