"""What k-means does to the samples of a Dask array: the steps of inputs.py, on each chunk.

All of it is lazy: nothing is read before the first pass, and then chunk by chunk.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import dask.array as da
import numpy as np

from l2ae_core.clustering import inputs
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.dask.chunks import Chunks, aligned, chunk_tasks, in_memory
from l2ae_kernels.dask.ordered import variances
from l2ae_kernels.dask.tasks import Task, compute

if TYPE_CHECKING:
    from l2ae_core.clustering.kmeans import Clustering


def whole_rows(function: str, x: da.Array, dtype: np.dtype[Any]) -> Array:
    """Return x (N, D) in `dtype`, in chunks of whole rows."""
    if np.isnan(x.shape[1]):
        raise ValueError(f"{function}: x has an unknown number of features")
    whole = x if x.numblocks[1] == 1 else x.rechunk({1: -1}, method="tasks")
    return cast(Array, whole.astype(dtype))


def in_blocks(x: da.Array) -> Array:
    """Return the samples of kmeans in chunks of whole blocks of rows."""
    return cast(Array, aligned("kmeans", x))


def held(samples: da.Array, x: da.Array) -> Array:
    """Return samples that lie in memory, on the workers, if x lies in memory somewhere.

    Else every pass would send them from here, or make them of x again.
    """
    return cast(Array, samples.persist() if in_memory(x) else samples)


def unit_rows(function: str, x: da.Array) -> da.Array:
    """Return the rows of x, each of unit length; a chunk with a row of zeros raises ValueError."""
    return x.map_blocks(_unit_rows, function=function, dtype=x.dtype, meta=x._meta)


def _unit_rows(rows: Array, function: str, block_info: Any) -> Array:
    first = block_info[0]["array-location"][0][0]
    with np.errstate(all="ignore"):  # NaN and infinity: the first pass finds them
        return inputs.unit_rows(function, rows, first)


def recenter(x: da.Array, origin: Array) -> da.Array:
    """Return x − origin (N, D)."""
    return x.map_blocks(inputs.recenter, origin=origin, dtype=x.dtype, meta=x._meta)


def mean_variance(x: da.Array) -> float:
    """Return the mean variance of the features of x."""
    return float(variances(x).mean())


def first_not_finite(x: da.Array) -> int | None:
    """Return the first row of x with NaN or infinity."""
    rows = compute(Chunks(x).map(_first_not_finite))
    return min((row for row in rows if row is not None), default=None)


def _first_not_finite(x: Array, first: int) -> int | None:
    row = inputs.first_not_finite(x)
    return None if row is None else first + row


def has_distinct_rows(x: da.Array, count: int) -> bool:
    """Whether x (N, D) has at least `count` distinct rows."""
    found = compute(Chunks(x).map(_distinct_rows, count=count))
    return len(np.unique(np.concatenate(found), axis=0)) >= count


def _distinct_rows(x: Array, first: int, *, count: int) -> Array:
    return inputs.distinct_rows(x, count)


def distinct_labels(labels: da.Array) -> Array:
    """Return the labels that occur in labels (N,)."""
    found = compute([Task(np.unique, chunk) for chunk in chunk_tasks(labels)])
    return np.unique(np.concatenate(found))


def predict(clustering: "Clustering", x: da.Array) -> Array:
    """Return the labels int32 (N,) of x (N, D), lazily and chunk by chunk."""
    samples: Any = inputs.as_samples("predict", x)
    d = clustering.centers.shape[1]
    if x.shape[1] != d:
        raise ValueError(f"predict: x is {x.shape} but expected {d} features")
    only_centers = replace(clustering, labels=np.zeros(0, np.int32), restarts=[])
    lazy = samples.map_blocks(
        _predict, clustering=only_centers, dtype=np.int32, drop_axis=1, meta=np.empty(0, np.int32)
    )
    return cast(Array, lazy)


def _predict(rows: Array, clustering: "Clustering") -> Array:
    with threads(1):  # Dask runs as many tasks as there are cores
        return clustering.predict(rows)
