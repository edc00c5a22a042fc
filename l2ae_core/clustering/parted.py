"""What k-means does to samples that are read a part at a time: the steps of rows.py.

`PartedSamples` go where arrays go, so they are said to be arrays.
"""

from functools import partial
from typing import cast

import numpy as np

from l2ae_core.clustering import rows as row_steps
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.ops.checks import readable
from l2ae_kernels.samples import PartedSamples, is_memory_map

LARGE = 1 << 25  # bytes; fewer are packed, copied and recentered as they are


def as_samples(function: str, x: Array) -> Array:
    """Return x (N, D) as samples, part by part if need be; ValueError unless it is real (N, D)."""
    dtype = row_steps.sample_dtype(function, x)
    return parted(x, dtype) if is_parted(x, dtype) else readable(x).astype(dtype, copy=False)


def is_parted(x: Array, dtype: np.dtype[np.generic]) -> bool:
    """Whether samples in `dtype` of the array x are read a part at a time.

    They are where x is a memory map, and where copies of x would be large; not where x is for
    kernels that do not know parts.
    """
    nbytes = x.size * dtype.itemsize
    if device_name(x) != "cpu" or x.ndim != 2 or not (nbytes > LARGE or is_memory_map(x)):
        return False
    return ops.restarts_class(np.empty((1, 1), dtype), 1).takes_parts


def parted(x: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return the samples x (N, D) in `dtype`, part by part."""
    samples = PartedSamples(x)
    if x.dtype != dtype:
        samples = samples.then(partial(_cast, dtype=dtype), dtype)
    return cast(Array, samples)


def _cast(rows: Array, dtype: np.dtype[np.generic]) -> Array:
    return rows.astype(dtype)


def unit_rows(function: str, x: PartedSamples) -> Array:
    """Return the rows of x, each of unit length; ValueError for a row of zeros."""
    for first, rows in x.parts():
        row_steps.unit_rows(function, rows, first)
    return cast(Array, x.then(partial(row_steps.unit_rows, function)))


def recenter(x: PartedSamples, origin: Array) -> Array:
    """Return x − origin (N, D)."""
    return cast(Array, x.then(partial(row_steps.recenter, origin=origin)))


def first_not_finite(x: PartedSamples) -> int | None:
    """Return the first row of x with NaN or infinity."""
    for first, rows in x.parts():
        row = row_steps.first_not_finite(rows)
        if row is not None:
            return first + row
    return None


def _sum_of_rows(x: PartedSamples, mean: Array | None) -> Array:
    """Return Σ x_i (d,), or with a mean Σ (x_i − mean)²; one row after the other, float64."""
    total = np.zeros((1, x.shape[1]))
    for _, rows in x.parts():
        for start in range(0, len(rows), row_steps.ROWS):
            terms = rows[start : start + row_steps.ROWS]
            if mean is not None:
                terms = np.square(terms - mean)
            total = np.add.reduce(np.vstack([total, terms]), axis=0, keepdims=True)
    found: Array = total[0]
    return found


def mean_variance(x: PartedSamples) -> float:
    """Return the mean variance of the features of x, with the bits of x.var(axis=0, float64).

    NumPy adds up the rows one after the other; those of one feature it does not.
    """
    n, d = x.shape
    if d == 1:
        return float(x[:].var(axis=0, dtype=np.float64).mean())
    mean = _sum_of_rows(x, None) / n
    return float((_sum_of_rows(x, mean) / n).mean())
