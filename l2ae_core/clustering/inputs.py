"""What k-means takes, and what it says about it."""

import warnings
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, array_module, get_place, to_host
from l2ae_kernels.ops.checks import count, number, require_array

ROWS = 4096  # that are compared with each other at a time


def unit_rows(function: str, x: Array) -> Array:
    """Return the rows of x, each of unit length; ValueError for a row of zeros."""
    lengths = array_module(x).sqrt((x * x).sum(axis=1, keepdims=True))
    if not lengths.all():
        row = int(lengths[:, 0].argmin())
        raise ValueError(f"{function}: row {row} of x is zero but a direction was expected")
    unit: Array = x / lengths
    return unit


def as_points(function: str, x: Array) -> Array:
    """Return x as C-contiguous float32 or float64 (N, D), where it is; integers as float64."""
    points = np.ascontiguousarray(x) if get_place(x) == "cpu" else x
    if not points.flags.c_contiguous:
        points = points.copy(order="C")
    if points.dtype.kind in "iub" or points.dtype == np.float16:
        points = points.astype(np.float64)
    if points.ndim != 2 or points.dtype not in (np.float32, np.float64):
        raise ValueError(f"{function}: x is {points.shape} {points.dtype} but expected real (N, D)")
    return points


def require_finite(function: str, x: Array) -> None:
    """A sum needs no memory, and is finite only if all terms are; one that is not may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = array_module(x).isfinite
        if finite(x.sum()) or finite(x).all():
            return
    row = int((~finite(x).all(axis=1)).argmax())
    raise ValueError(f"{function}: row {row} of x holds NaN or infinity but expected numbers")


def check_arguments(
    x: Any, init: Any, rng: Any, *, tol: Any, spherical: Any, **counts: Any
) -> None:
    """Raise ValueError for an argument of the wrong kind, and for a number out of range."""
    require_array("kmeans", "x", x)
    for name, value in counts.items():
        count("kmeans", name, value)
    number("kmeans", "tol", tol)
    if not isinstance(init, str):
        require_array("kmeans", "init", init)
        if init.dtype.kind not in "fiu":
            raise ValueError(f"kmeans: init is {init.dtype} but expected numbers")
    if not isinstance(spherical, bool | np.bool_):
        raise ValueError(f"kmeans: spherical is {spherical!r} but expected True or False")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"kmeans: rng is {type(rng).__name__} but expected a NumPy Generator")


def given_centers(
    init: Array, x: Array, n_clusters: int, spherical: bool, origin: Array | None
) -> Array:
    """Return the centers that kmeans starts from, (K, D) of the host, counted from `origin`."""
    centers = np.array(to_host(init), dtype=x.dtype if origin is None else np.float64, order="C")
    if centers.shape != (n_clusters, x.shape[1]) or not np.isfinite(centers).all():
        raise ValueError(
            f"kmeans: init is {centers.shape} but expected finite ({n_clusters}, {x.shape[1]})"
        )
    if spherical:
        return unit_rows("kmeans: init", centers)
    return centers if origin is None else (centers - origin).astype(x.dtype)


def warn_if_empty(labels: Array, n_clusters: int, x: Array) -> None:
    """Warn, for the caller of kmeans, of clusters without points."""
    used = len(np.unique(to_host(labels)))
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
    """Whether x (N, D) has at least `count` distinct rows; a piece at a time, up to the answer."""
    seen = to_host(x[:0])
    for first in range(0, len(x), ROWS):
        seen = np.unique(np.concatenate([seen, to_host(x[first : first + ROWS])]), axis=0)
        if len(seen) >= count:
            return True
    return False
