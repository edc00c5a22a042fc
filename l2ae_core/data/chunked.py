"""A `.npy` file as a Dask array whose chunks are read by whoever works on them.

`dask.array.from_array(np.load(path, mmap_mode="r"))` does not do that on a cluster: a memory map
is sent as its bytes. Here the path travels, and a task maps its rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.readers import one_line
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count

if TYPE_CHECKING:
    import dask.array as da

CHUNK_BYTES = 1 << 26  # of a chunk, about, unless the caller says how many rows it has
MULTIPLE = 1024  # rows: k-means takes such chunks as they are


@dataclass(frozen=True)
class NpyFile:
    """A `.npy` file as it was when it was opened."""

    path: str  # absolute: a worker may stand elsewhere
    size: int
    modified: int  # nanoseconds

    @classmethod
    def of(cls, path: Path) -> "NpyFile":
        """Return the file at a path; OSError where there is none."""
        status = path.stat()
        return cls(str(path.resolve()), status.st_size, status.st_mtime_ns)

    def rows(self, block_info: Any) -> Array:
        """Map the rows of a chunk: they are read when they are looked at.

        DataError where the file is no longer what it was: results would be those of two files.
        """
        try:
            found = NpyFile.of(Path(self.path))
        except OSError as error:
            raise DataError(f"{self.path}: is gone ({one_line(error)})") from error
        if found != self:
            raise DataError(f"{self.path}: has changed since it was opened")
        first, last = block_info[None]["array-location"][0]
        mapped: Array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped[first:last]


def dask_npy(path: str | Path, chunk_rows: int | None = None) -> "da.Array":
    """Return the array in a `.npy` file as a Dask array, cut into chunks of rows.

    Every chunk is mapped into memory by the process that works on it, from the same path: all
    workers have to see the file there. Nothing is read here but the shape and the dtype.
    chunk_rows: rows of a chunk; by default about 64 MiB, and a multiple of 1024, so that `kmeans`
        need not move rows between chunks.
    DataError (a ValueError) when the file is not a `.npy` of one axis or more, and, when a chunk is
    met, if the file has changed; ValueError for chunk_rows < 1, and where Dask is not installed.
    """
    if chunk_rows is not None:
        chunk_rows = count("dask_npy", "chunk_rows", chunk_rows)
    try:
        import dask.array as da
    except ImportError as error:
        raise ValueError("dask_npy: needs Dask: pip install 'l2ae[dist]'") from error
    from l2ae_core.data.fetch import expand_user  # which imports what downloads files

    local = expand_user(path)
    try:
        file = NpyFile.of(local)
        whole: Array = np.load(local, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: is no .npy file that can be mapped ({one_line(error)})"
        ) from error
    if not isinstance(whole, np.ndarray):
        raise DataError(f"{path}: is an archive but expected a .npy file")
    if whole.ndim == 0:
        raise DataError(f"{path}: holds a single number but expected rows")
    if chunk_rows is None:
        each = max(1, whole[:1].nbytes)
        chunk_rows = max(1, CHUNK_BYTES // (each * MULTIPLE)) * MULTIPLE
    chunks = da.core.normalize_chunks((chunk_rows, *whole.shape[1:]), whole.shape)
    return da.map_blocks(
        file.rows, chunks=chunks, dtype=whole.dtype, meta=np.empty((0,) * whole.ndim, whole.dtype)
    )
