"""`FileArray`: the array of a `.npy` file, of which some rows at a time are read.

    rows = array[start:stop]     one read
    rows = array[positions]      one read for each run of neighbouring rows

It is no memory map. Where a file is cut off while it is mapped, the kernel ends the process with
SIGBUS, and where its bytes are replaced, an array changes under the network; no check before an
access can exclude either. A read returns fewer bytes instead, and the size and time of the file
after it say whether the bytes are those of the file that was opened: both become a DataError.
A read copies, but what makes numbers of the rows copies them anyway. Rows that lie together come
as fast as from a map, and one that lies alone takes a microsecond more.
"""

import math
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from io import FileIO
from operator import index as as_index
from pathlib import Path
from typing import Any, Self

import numpy as np

from l2ae_core.array_readers import npy_layout
from l2ae_core.data.errors import DataError
from l2ae_core.images import Index
from l2ae_core.readers import one_line, open_file
from l2ae_kernels.arrays import Array

# It takes the position, which threads and forked processes would share; Windows has none.
_preadv = getattr(os, "preadv", None)
_advise = getattr(os, "posix_fadvise", None)  # neither Windows nor macOS has it
_seeking = threading.Lock()  # from seek to read


@dataclass(frozen=True, eq=False)
class FileArray:
    """N rows of an array of any type, in a file that is opened when the first is asked for.

    To another process it travels as its path: the file must be there, of equal size and time.

    path       absolute
    shape      (N, …)
    dtype      as in the file
    offset     bytes before the first row; the order is row-major
    file_size  bytes
    mtime_ns   when the file was changed last

    DataError, naming the file, where rows are asked for and the system does not read them, or the
    file is not any more what it was.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    file_size: int
    mtime_ns: int

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Return the array of a `.npy` file, None where its order is not row-major.

        Raises ValueError and OSError as `read_npy`; no value is read.
        """
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            shape, fortran, dtype, offset = npy_layout(file, path, status.st_size)
        if fortran and len(shape) > 1:
            return None
        where = Path(os.path.abspath(path))  # noqa: PTH100 - links stay, as the user named it
        return cls(where, shape, dtype, offset, status.st_size, status.st_mtime_ns)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:]) * self.itemsize

    def __len__(self) -> int:
        """Return N."""
        return self.shape[0]

    def reshape(self, *shape: int) -> Self:
        """Return the same values in rows of another shape; ValueError for another number."""
        if math.prod(shape) != self.size or shape[0] != len(self):
            raise ValueError(f"reshape: {shape} but the array is {self.shape}")
        return replace(self, shape=shape)

    def __getitem__(self, index: Index) -> Array:
        """Return some rows (n, …), or one, as a new array; IndexError for those out of range."""
        if isinstance(index, int | np.integer):
            one: Array = self[np.array([as_index(index)])][0]
            return one
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._runs([(start, max(stop - start, 0))])
            index = range(start, stop, step)
        positions = np.asarray(None if isinstance(index, tuple) else index)
        if positions.dtype == np.bool_ and positions.shape == (len(self),):
            positions = np.flatnonzero(positions)
        if positions.ndim != 1 or (positions.size and positions.dtype.kind not in "iu"):
            raise IndexError(
                f"{self.path}: index is {positions.dtype} {positions.shape} but expected integers "
                f"(n,) or a mask ({len(self)},)"
            )
        positions = positions.astype(np.int64)
        positions[positions < 0] += len(self)
        outside = (positions < 0) | (positions >= len(self))
        if outside.any():
            raise IndexError(f"{self.path}: row {positions[outside][0]} of {len(self)}")
        first = np.flatnonzero(np.diff(positions, prepend=-2) != 1)  # of each run of neighbours
        lengths = np.diff(first, append=len(positions))
        return self._runs(list(zip(positions[first].tolist(), lengths.tolist(), strict=True)))

    def will_need(self, positions: Array) -> None:
        """Tell the system which rows (n,) are read next: it fetches them meanwhile, if it can."""
        if _advise is None:
            return
        number, wide = self._file.fileno(), self.row_bytes
        with suppress(OSError):  # a file system that fetches nothing ahead
            for row in positions.tolist():
                _advise(number, self.offset + row * wide, wide, os.POSIX_FADV_WILLNEED)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all rows as one array."""
        if copy is False:
            raise ValueError("the array is in a file: one in memory is a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def _runs(self, runs: list[tuple[int, int]]) -> Array:
        """Return rows one run after another, each (first, count)."""
        rows = np.empty((sum(count for _, count in runs), *self.shape[1:]), self.dtype)
        raw, done, wide = rows.reshape(-1).view(np.uint8).data, 0, self.row_bytes
        file = self._file
        number = file.fileno()
        with self._naming():
            for first, count in runs:
                end = done + count * wide
                into, at = raw[done:end], self.offset + first * wide
                read = _preadv(number, (into,), at) if _preadv else _read(file, into, at)
                while read < len(into):
                    if not (more := _read(file, into[read:], at + read)):
                        raise self._changed("cut off")
                    read += more
                done = end
            self._require_unchanged(os.fstat(number))
        return rows

    @cached_property
    def _file(self) -> FileIO:
        """The file, open until nobody has the array any more."""
        with self._naming():
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise self._changed("replaced")
            file = FileIO(self.path)
        weakref.finalize(self, file.close).atexit = False
        self._require_unchanged(os.fstat(file.fileno()))
        return file

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Let an OSError be a DataError that names the file."""
        try:
            yield
        except OSError as error:
            told = one_line(error.strerror or error)
            raise DataError(f"{self.path}: cannot be read: {told}") from error

    def status(self) -> os.stat_result:
        """Return what the system says of the open file, which is that of `size` and time."""
        status = os.fstat(self._file.fileno())
        self._require_unchanged(status)
        return status

    def _require_unchanged(self, status: os.stat_result) -> None:
        if (status.st_size, status.st_mtime_ns) != (self.file_size, self.mtime_ns):
            raise self._changed("changed")

    def _changed(self, how: str) -> DataError:
        return DataError(f"{self.path}: was {how} since it was opened; load it again")

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the open file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _read(file: FileIO, into: memoryview, at: int) -> int:
    """Read bytes at a position, at most as many as `into` has; return how many."""
    if _preadv:
        count: int = _preadv(file.fileno(), (into,), at)
        return count
    with _seeking:
        file.seek(at)
        return file.readinto(into) or 0
