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

from l2ae_core.clustering import parted, rows
from l2ae_core.clustering.rows import ROWS
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array, is_dask, to_host
from l2ae_kernels.ops.checks import count, number, require_array
from l2ae_kernels.samples import PartedSamples


@dataclass(frozen=True, eq=False)
class Recentered:
    """Centers counted from an origin."""

    origin: Array  # (D,), of the host, in the dtype of the samples
    centers: Array  # (K, D), what is added to it


def steps_of(x: Array) -> ModuleType:
    """Return the module with the steps for samples like x: rows.py, parted.py or on_dask.py."""
    if is_dask(x):
        from l2ae_core.clustering import on_dask  # which imports Dask

        return on_dask
    return parted if isinstance(x, PartedSamples) else rows


def unit_rows(function: str, x: Array) -> Array:
    """Return the rows of x, each of unit length; ValueError for a row of zeros."""
    unit: Array = steps_of(x).unit_rows(function, x)
    return unit


def as_samples(function: str, x: Array) -> Array:
    """Return x as C-contiguous float32 or float64 (N, D), where it is; integers as float64.

    Memory maps and large arrays are read a part at a time, see parted.py.
    """
    if isinstance(x, PartedSamples):
        return x
    if is_dask(x):
        from l2ae_core.clustering import on_dask

        return on_dask.whole_rows(function, x)
    require_array(function, "x", x)
    return parted.as_samples(function, x)


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
            f"kmeans: x has {counted(len(samples), 'row')} but expected at least "
            f"{n_clusters}, one a cluster"
        )
    return unit_rows("kmeans", samples) if spherical else samples


def require_finite(function: str, x: Array, first: int = 0) -> None:
    """Raise ValueError for NaN and infinity, with the first row that holds one, of `first` on."""
    row = steps_of(x).first_not_finite(x)
    if row is not None:
        raise ValueError(
            f"{function}: row {first + row} of x holds NaN or infinity but expected numbers"
        )


def check_arguments(
    x: Any, init: Any, rng: Any, *, tol: Any, spherical: Any, **counts: Any
) -> None:
    """Raise ValueError for an argument of the wrong kind, and for a number out of range."""
    if steps_of(x) is rows:
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
                f"all rows of x lie within the rounding of {x.dtype} of {counted(used, 'center')}"
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
    return len(rows.distinct_rows(x, count)) == count


def mean_variance(x: Array) -> float:
    """Return the mean variance of the features of x (N, D)."""
    return float(steps_of(x).mean_variance(x))


def origin_of(x: Array) -> Array | None:
    """Return an origin (D,) amid the rows of x (N, D), None where zero does as well.

    None, too, for NaN and infinity, which another check names.
    """
    some = to_host(x[:: -(-len(x) // ROWS) or 1]).view(np.ndarray)
    wide = np.array(some, np.float64, order="C")  # sums depend on it
    with np.errstate(over="ignore", invalid="ignore"):
        mean = wide.mean(axis=0) if len(wide) else np.zeros(x.shape[1])
        spread = np.square(wide - mean).sum() / max(len(wide), 1)
        far = spread < np.finfo(x.dtype).eps * np.square(mean).sum() < np.inf
    if not far or (wide == wide[0]).all():  # equal rows: there is nothing to tell apart
        return None
    origin: Array = mean.astype(x.dtype)
    return origin


def recenter(x: Array, origin: Array) -> Array:
    """Return x − origin (N, D) in the dtype and the memory of x: a copy where x is an array."""
    recentered: Array = steps_of(x).recenter(x, origin)
    return recentered
