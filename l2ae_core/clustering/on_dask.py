"""What k-means does to the samples of a Dask array: the steps of rows.py, on each chunk.

All of it is lazy: nothing is read before the first pass, and then chunk by chunk.
"""

from collections.abc import Callable
from math import isnan
from typing import Any, TypeAlias, cast

import dask.array as da
import numpy as np

from l2ae_core.clustering import parted
from l2ae_core.clustering import rows as row_steps
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import get_vectors, vectors
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.dask.chunks import Chunks, aligned, in_memory, readable_chunk
from l2ae_kernels.dask.ordered import variances
from l2ae_kernels.dask.tasks import Task, compute

LabelsOf: TypeAlias = Callable[[str, Array, int], Array]
TOGETHER = 8  # chunks whose distinct rows are brought together


def whole_rows(function: str, x: da.Array) -> Array:
    """Return x (N, D) as samples, in chunks of whole rows; ValueError unless it is real (N, D)."""
    dtype = row_steps.sample_dtype(function, x)
    kind = x._meta
    if not isinstance(kind, np.ndarray) or isinstance(kind, np.ma.MaskedArray):
        found = type(kind).__name__
        raise ValueError(f"{function}: x is {found} in chunks but expected arrays of NumPy")
    if isnan(x.shape[1]):
        raise ValueError(
            f"{function}: x has an unknown number of features: x.compute_chunk_sizes() finds it"
        )
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
        return row_steps.unit_rows(function, readable_chunk(function, rows), first)


def recenter(x: da.Array, origin: Array) -> da.Array:
    """Return x − origin (N, D)."""
    return x.map_blocks(row_steps.recenter, origin=origin, dtype=x.dtype, meta=x._meta)


def mean_variance(x: da.Array) -> float:
    """Return the mean variance of the features of x."""
    return float(variances(x).mean())


def first_not_finite(x: da.Array) -> int | None:
    """Return the first row of x with NaN or infinity."""
    rows = compute(Chunks(x).map(_first_not_finite))
    return min((row for row in rows if row is not None), default=None)


def _first_not_finite(x: Array, first: int) -> int | None:
    row = row_steps.first_not_finite(x)
    return None if row is None else first + row


def has_distinct_rows(x: da.Array, count: int) -> bool:
    """Whether x (N, D) has at least `count` distinct rows."""
    tasks = Chunks(x).map(_distinct_rows, count=count)
    while len(tasks) > 1:  # so many rows at most come to anybody
        tasks = [
            Task(_distinct_rows_of, *tasks[i : i + TOGETHER], count=count)
            for i in range(0, len(tasks), TOGETHER)
        ]
    return len(compute(tasks)[0]) >= count


def _distinct_rows(x: Array, first: int, *, count: int) -> Array:
    return row_steps.distinct_rows(x, count)


def _distinct_rows_of(*found: Array, count: int) -> Array:
    return row_steps.distinct_rows(np.concatenate(found), count)


def predict(labels_of: LabelsOf, samples: Any) -> Array:
    """Return the labels int32 (N,) of samples (N, D), lazily and chunk by chunk.

    labels_of(function, samples, first): those of samples in memory, of which row 0 is row `first`.
    """
    lazy = samples.map_blocks(
        _labels, labels_of=labels_of, emitted=getattr(get_vectors(), "name", "none"),
        dtype=np.int32, drop_axis=1, meta=np.empty(0, np.int32),
    )  # fmt: skip
    return cast(Array, lazy)


def _labels(rows: Array, labels_of: LabelsOf, emitted: str, block_info: Any) -> Array:
    """Return the labels of a chunk, on one thread: Dask runs as many as there are cores.

    `emitted` names the set of vectors that kernels are for, on whatever machine.
    """
    function, first = "predict", block_info[0]["array-location"][0][0]
    if isnan(first):  # the chunks before it have unknown sizes
        function, first = f"predict: chunk {block_info[0]['chunk-location'][0]}", 0
    with threads(1), vectors(emitted):
        samples = parted.as_samples(function, readable_chunk(function, rows))
        return labels_of(function, samples, int(first))
