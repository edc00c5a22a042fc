"""What k-means takes: arguments, samples, the centers it begins from, and where zero lies.

A number of size |μ| is stored with an error of ε |μ| / 2. Around the mean μ of the samples, with
spread σ² = mean |x_i − μ|², centers that are rounded so cost up to N (ε |μ| / 2)² of inertia, and
clusters that lie nearer to each other than that cannot be told apart. Counted from an origin near μ
centers have size σ. The samples themselves lose nothing: the difference of two numbers that are
within a factor of 2 of each other is exact.

Where ε |μ|² ≤ σ², the rounding of centers costs less than that of one distance, ε σ², and nothing
is changed: no code of unit length with a spread of more than 4e-4 is in float32.
"""

import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from l2ae_core.clustering import parted
from l2ae_kernels.arrays import Array, array_module, is_dask, to_host
from l2ae_kernels.cuda.device import to_device_of
from l2ae_kernels.ops.checks import count, number, readable, require_array
from l2ae_kernels.samples import PartedSamples

ROWS = 4096  # that are compared with each other at a time, or tell where the samples lie


@dataclass(frozen=True, eq=False)
class Recentered:
    """Centers counted from an origin."""

    origin: Array  # (D,), of the host, in the dtype of the samples
    centers: Array  # (K, D), what is added to it


def steps_of(x: Array) -> ModuleType | None:
    """Return the module with the steps of this one for samples that are no array in one piece."""
    if is_dask(x):
        from l2ae_core.clustering import on_dask  # which imports Dask

        return on_dask
    return parted if isinstance(x, PartedSamples) else None


def unit_rows(function: str, x: Array, first: int = 0) -> Array:
    """Return the rows of x, each of unit length; ValueError for a row of zeros.

    first: the number of row 0 among all, for the error.
    """
    if steps := steps_of(x):
        elsewhere: Array = steps.unit_rows(function, x)
        return elsewhere
    lengths = array_module(x).sqrt((x * x).sum(axis=1, keepdims=True))
    if not lengths.all():
        row = first + int(lengths[:, 0].argmin())
        raise ValueError(f"{function}: row {row} of x is zero but a direction was expected")
    unit: Array = x / lengths
    return unit


def as_samples(function: str, x: Array) -> Array:
    """Return x as C-contiguous float32 or float64 (N, D), where it is; integers as float64.

    Memory maps and large arrays are read a part at a time, see parted.py.
    """
    if isinstance(x, PartedSamples):
        return x
    if not is_dask(x):
        require_array(function, "x", x)
    dtype = x.dtype.newbyteorder("=")
    if dtype.kind in "iub" or dtype == np.float16:
        dtype = np.dtype(np.float64)
    if x.ndim != 2 or dtype not in (np.float32, np.float64):
        raise ValueError(f"{function}: x is {x.shape} {x.dtype} but expected real (N, D)")
    if is_dask(x):
        from l2ae_core.clustering import on_dask

        return on_dask.whole_rows(function, x, dtype)
    if parted.is_parted(x, dtype):
        return parted.parted(x, dtype)
    return readable(x).astype(dtype, copy=False)


def check_samples(x: Array, n_clusters: int, tol: float, spherical: bool) -> Array:
    """Return the samples that kmeans clusters; ValueError where x does not fit.

    NaN is looked for where something is computed from x here; else the kernels see it.
    """
    samples = as_samples("kmeans", x)
    if samples.shape[1] == 0:
        raise ValueError(f"kmeans: x is {samples.shape} but expected at least one feature")
    if is_dask(samples):
        from l2ae_core.clustering import on_dask

        samples = on_dask.in_blocks(samples)
    elif spherical or tol > 0:
        require_finite("kmeans", samples)
    if len(samples) < n_clusters:
        raise ValueError(
            f"kmeans: x has {len(samples)} rows but expected at least {n_clusters}, one a cluster"
        )
    return unit_rows("kmeans", samples) if spherical else samples


def require_finite(function: str, x: Array, first: int = 0) -> None:
    """Raise ValueError for NaN and infinity, with the first row that holds one, of `first` on."""
    row = first_not_finite(x)
    if row is not None:
        raise ValueError(
            f"{function}: row {first + row} of x holds NaN or infinity but expected numbers"
        )


def first_not_finite(x: Array) -> int | None:
    """Return the first row of x (N, D) with NaN or infinity.

    A sum needs no memory, and is finite only if all terms are; one that is not may overflow.
    """
    if steps := steps_of(x):
        row: int | None = steps.first_not_finite(x)
        return row
    with np.errstate(over="ignore", invalid="ignore"):
        finite = array_module(x).isfinite
        if finite(x.sum()) or finite(x).all():
            return None
    return int((~finite(x).all(axis=1)).argmax())


def check_arguments(
    x: Any, init: Any, rng: Any, *, tol: Any, spherical: Any, **counts: Any
) -> None:
    """Raise ValueError for an argument of the wrong kind, and for a number out of range."""
    if steps_of(x) is None:
        require_array("kmeans", "x", x)
    for name, value in counts.items():
        count("kmeans", name, value)
    number("kmeans", "tol", tol)
    if isinstance(init, str) and init != "k-means++":
        raise ValueError(f'kmeans: init is {init!r} but expected "k-means++" or an array (K, D)')
    if not isinstance(init, str):
        require_array("kmeans", "init", init)
        if init.dtype.kind not in "fiu":
            raise ValueError(f"kmeans: init is {init.dtype} but expected numbers")
    if not isinstance(spherical, bool | np.bool_):
        raise ValueError(f"kmeans: spherical is {spherical!r} but expected True or False")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"kmeans: rng is {type(rng).__name__} but expected a NumPy Generator")


def given_centers(
    init: str | Array,
    x: Array,
    n_clusters: int,
    spherical: bool,
    origin: Array | None,
) -> Array | None:
    """Return init as centers (K, D) of the host, counted from `origin`; None for "k-means++"."""
    if isinstance(init, str):
        return None
    centers = np.array(to_host(init), dtype=x.dtype if origin is None else np.float64, order="C")
    if centers.shape != (n_clusters, x.shape[1]) or not np.isfinite(centers).all():
        raise ValueError(
            f"kmeans: init is {centers.shape} but expected finite ({n_clusters}, {x.shape[1]})"
        )
    if spherical:
        return unit_rows("kmeans: init", centers)
    return centers if origin is None else (centers - origin).astype(x.dtype)


def warn_if_empty(used: int, n_clusters: int, x: Array) -> None:
    """Warn, for the caller of kmeans, of clusters without samples: `used` have some."""
    if used < n_clusters:
        distinct = _has_distinct_rows(x, n_clusters)
        warnings.warn(
            f"kmeans: {n_clusters - used} of {n_clusters} clusters stay empty, because "
            + (
                f"all rows of x lie within the rounding of {x.dtype} of {used} centers"
                if distinct
                else "x has fewer distinct rows than that"
            ),
            stacklevel=3,
        )


def _has_distinct_rows(x: Array, count: int) -> bool:
    """Whether x (N, D) has at least `count` distinct rows."""
    if is_dask(x):
        from l2ae_core.clustering import on_dask

        return on_dask.has_distinct_rows(x, count)
    return len(distinct_rows(x, count)) == count


def distinct_rows(x: Array, count: int) -> Array:
    """Return distinct rows of x (N, D), `count` at most, from as many pieces as that takes."""
    seen = to_host(x[:0])
    for first in range(0, len(x), ROWS):
        seen = np.unique(np.concatenate([seen, to_host(x[first : first + ROWS])]), axis=0)
        if len(seen) >= count:
            break
    return seen[:count]


def mean_variance(x: Array) -> float:
    """Return the mean variance of the features of x (N, D)."""
    if steps := steps_of(x):
        return float(steps.mean_variance(x))
    return float(x.var(axis=0, dtype=np.float64).mean())


def origin_of(x: Array) -> Array | None:
    """Return an origin (D,) amid the rows of x (N, D), None where zero does as well.

    None, too, for NaN and infinity, which another check names.
    """
    some = to_host(x[:: -(-len(x) // ROWS) or 1]).view(np.ndarray)
    rows = np.array(some, np.float64, order="C")  # sums depend on it
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rows.mean(axis=0) if len(rows) else np.zeros(x.shape[1])
        spread = np.square(rows - mean).sum() / max(len(rows), 1)
        far = spread < np.finfo(x.dtype).eps * np.square(mean).sum() < np.inf
    if not far or (rows == rows[0]).all():  # equal rows: there is nothing to tell apart
        return None
    origin: Array = mean.astype(x.dtype)
    return origin


def recenter(x: Array, origin: Array) -> Array:
    """Return x − origin (N, D) in the dtype and the memory of x: a copy where x is an array."""
    if steps := steps_of(x):
        elsewhere: Array = steps.recenter(x, origin)
        return elsewhere
    recentered: Array = x - to_device_of(x, origin)
    return recentered
