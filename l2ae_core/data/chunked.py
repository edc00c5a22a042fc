"""A `.npy` file as a Dask array whose chunks are read by whoever works on them.

`dask.array.from_array(np.load(path, mmap_mode="r"))` does not do that on a cluster: a memory map
is sent as its bytes. Here the path travels, and a task reads its rows. It does not map them: where
a file is cut off while it is mapped, the system ends the worker (file_array.py).
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from l2ae_core.array_readers import npy_layout
from l2ae_core.data.errors import DataError
from l2ae_core.data.file_array import FileArray
from l2ae_core.readers import one_line, open_file
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count

if TYPE_CHECKING:
    import dask.array as da

CHUNK_BYTES = 1 << 26  # of a chunk, about, unless the caller says how many rows it has
MULTIPLE = 1024  # rows: k-means takes such chunks as they are


@dataclass(frozen=True, eq=False)
class NpyRows:
    """The array (N, …) of a `.npy` file, of which Dask asks for some rows at a time."""

    values: FileArray  # (N, …), or in Fortran order (N·…,)
    shape: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the array of the file; ValueError and OSError as `read_npy`. No value is read."""
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            shape, fortran, dtype, offset = npy_layout(file, path, status.st_size)
        stored = (math.prod(shape),) if fortran and len(shape) > 1 else shape
        where = Path(os.path.abspath(path))  # noqa: PTH100 - a worker may stand elsewhere
        return cls(
            FileArray(where, stored, dtype, offset, status.st_size, status.st_mtime_ns), shape
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the file."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Array:
        """Return what NumPy would, where it is an index of rows, and of the other axes of these."""
        rows, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(rows, int | np.integer):
            one: Array = self._rows([rows])[0][tuple(rest)]
            return one
        found: Array = self._rows(rows)[(slice(None), *rest)]
        return found

    def _rows(self, index: Any) -> Array:
        if self.values.shape == self.shape:
            return self.values[index]
        N = self.shape[0]
        slices = isinstance(index, slice)
        positions = np.arange(*index.indices(N)) if slices else np.asarray(index, np.int64)
        columns = np.empty((math.prod(self.shape[1:]), len(positions)), self.dtype)
        for j, column in enumerate(columns):
            column[:] = self.values[j * N + positions]
        rows: Array = columns.reshape(*self.shape[:0:-1], len(positions)).T
        return rows


def rows_behind(x: "da.Array") -> NpyRows | None:
    """Return the rows of the file that an array of `dask_npy` is; None for any other array."""
    for argument, _ in getattr(x.dask.layers.get(x.name), "indices", ()):
        argument = getattr(argument, "value", argument)
        if isinstance(argument, NpyRows):
            return argument
    return None


def dask_npy(path: str | Path, chunk_rows: int | None = None) -> "da.Array":
    """Return the array in a `.npy` file as a Dask array, cut into chunks of rows.

    Every chunk is read by the process that works on it, from the same path: all workers have to see
    the file there. Nothing is read here but the shape and the dtype, and of a chunk that is sliced
    only those rows.
    chunk_rows: rows of a chunk; by default about 64 MiB, and a multiple of 1024, so that `kmeans`
        need not move rows between chunks.
    DataError (a ValueError) when the file is not a `.npy` of one axis or more, and, when a chunk is
    met, if the file has changed; ValueError for chunk_rows < 1, and where Dask is not installed.
    """
    if chunk_rows is not None:
        chunk_rows = count("dask_npy", "chunk_rows", chunk_rows)
    try:
        import dask.array as da
        from dask.base import tokenize
    except ImportError as error:
        raise ValueError("dask_npy: needs Dask: pip install 'l2ae[dist]'") from error
    from l2ae_core.data.fetch import expand_user  # which imports what downloads files

    try:
        rows = NpyRows.open(expand_user(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is no .npy file of rows ({one_line(error)})") from error
    if rows.ndim == 0:
        raise DataError(f"{path}: holds a single number but expected rows")
    if chunk_rows is None:
        each = max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)
        chunk_rows = max(1, CHUNK_BYTES // (each * MULTIPLE)) * MULTIPLE
    chunks = da.core.normalize_chunks((chunk_rows, *rows.shape[1:]), rows.shape)
    stored = rows.values
    return da.from_array(
        rows, chunks=chunks, inline_array=True, meta=np.empty((0,) * rows.ndim, rows.dtype),
        name=f"npy-{tokenize(str(stored.path), stored.file_size, stored.mtime_ns, chunks)}",
    )  # fmt: skip
