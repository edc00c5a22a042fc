"""Arrays of `.npy` and `.npz` files: no pickles, and no memory for bytes that are not there.

NumPy allocates what a header says before it reads; here the bytes that follow are counted first.
Errors are those of `l2ae_core.readers`.
"""

import math
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from l2ae_core.readers import one_line, open_file, parse_json
from l2ae_kernels.arrays import Array

MAX_DEFLATE = 1032  # bytes that one byte of a deflated stream can stand for, at most
_CHUNK = 1 << 22
_KINDS = {"f": "float32 or float64", "i": "integers", "u": "integers", "U": "text"}
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# what numpy raises for a header that is no Python literal, or not the one it writes
_BAD_HEADER = (
    ValueError,
    SyntaxError,
    TypeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
# what zipfile raises for bytes that are not what they should be
_BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
)


class Layout(NamedTuple):
    """Where the values of a `.npy` file are, and what they are."""

    shape: tuple[int, ...]
    fortran: bool  # whether the first axis is the fastest
    dtype: np.dtype[Any]
    offset: int  # bytes before the values


def npy_layout(file: IO[bytes], path: Path, size: int) -> Layout:
    """Return the layout of an open `.npy` file of `size` bytes, no value of which is read."""
    with _naming_npy(path):
        return _read_layout(file, size)


def read_npy(path: Path) -> Array:
    """Return the array of a `.npy` file."""
    with open_file(path) as file, _naming_npy(path):
        return _read_array(file, path.stat().st_size)


@contextmanager
def _naming_npy(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable .npy file: {one_line(error)}") from error


def read_npz(path: Path) -> dict[str, Array]:
    """Return all arrays of a `.npz` file by name; every checksum is compared."""
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                arrays = [_member(archive, info, path) for info in archive.infolist()]
                names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        except _BAD_ARCHIVE as error:
            raise ValueError(f"{path}: not a readable .npz file: {one_line(error)}") from error
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: two entries have the same name, in {sorted(names)}")
    return dict(zip(names, arrays, strict=True))


def array_entry(arrays: Mapping[str, Array], name: str, ndim: int, kinds: str, where: str) -> Array:
    """Return an entry with `ndim` axes and a dtype of one of the `kinds` ("f", "iu", "U").

    "f" is float32 and float64, which the kernels take. Raises ValueError, naming the entry, for
    another, and for NaN and Inf.
    """
    found = arrays.get(name)
    if found is None:
        raise ValueError(f"{where}: entry {name!r} is missing")
    fits = found.dtype.kind in kinds and (found.dtype.kind != "f" or found.itemsize in (4, 8))
    if found.ndim != ndim or not fits:
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise ValueError(
            f"{where}: entry {name!r} is {found.dtype} {found.shape} but expected {expected} with "
            f"{ndim} axes"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ValueError(f"{where}: entry {name!r} holds NaN or Inf")
    return found


def json_entry(arrays: Mapping[str, Array], name: str, where: str) -> Any:
    """Return the value of an entry that is a JSON text."""
    text = array_entry(arrays, name, 0, "U", where)
    return parse_json(text.item(), f"{where}: entry {name!r}")


def array_group(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Return the entries whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}


def float_group(arrays: Mapping[str, Array], prefix: str, where: str) -> dict[str, Array]:
    """Return the same; ValueError, naming it, for one that is not floating point and finite."""
    return {
        name: array_entry(arrays, f"{prefix}{name}", array.ndim, "f", where)
        for name, array in array_group(arrays, prefix).items()
    }


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Array:
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_DEFLATE}.get(info.compress_type)
    try:
        if most is None:
            raise ValueError(f"compressed by method {info.compress_type}, not 0 or 8 (deflate)")
        if info.file_size > most * min(info.compress_size, path.stat().st_size):
            raise ValueError(f"{info.file_size} bytes cannot be in {info.compress_size} bytes")
        with archive.open(info) as file:
            array = _read_array(file, info.file_size)
            file.read(1)  # the checksum is compared at the end
            return array
    except _BAD_ARCHIVE as error:
        raise ValueError(f"entry {info.filename!r} is damaged: {error}") from error


def _read_array(file: IO[bytes], size: int) -> Array:
    """Return the array in a file of `size` bytes."""
    shape, fortran, dtype, _ = _read_layout(file, size)
    flat = np.empty(math.prod(shape), dtype)
    raw, done, expected = flat.view(np.uint8), 0, flat.nbytes
    while done < expected:
        chunk = file.read(min(_CHUNK, expected - done))
        if not chunk:
            raise EOFError(f"truncated after {done} of {expected} bytes")
        raw[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if dtype.kind == "U" and expected and flat.view(dtype.str[0] + "u4").max() > sys.maxunicode:
        raise ValueError(f"{dtype} holds what is no character")
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _read_layout(file: IO[bytes], size: int) -> Layout:
    """Return the layout of a file of `size` bytes; ValueError where its values are not these."""
    shape, fortran, dtype = _read_header(file)
    offset = file.tell()
    expected, there = math.prod(shape) * dtype.itemsize, size - offset
    if expected != there:
        what = "truncated" if there < expected else "too long"
        raise ValueError(f"{what}: {dtype} {shape} takes {expected} bytes but {there} follow")
    return Layout(shape, fortran, dtype, offset)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, "np.dtype[Any]"]:
    """Return shape, whether in Fortran order, and dtype: one of plain values of a fixed size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of a header that Python 2 wrote
            version = npy.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"format {version} holds structures")
            shape, fortran, dtype = _HEADERS[version](file)
    except _BAD_HEADER as error:
        raise ValueError(f"its header is damaged or foreign: {one_line(error)}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle can; none is read")
    if dtype.names is not None or dtype.subdtype is not None or dtype.itemsize == 0:
        raise ValueError(f"its dtype is {dtype} but expected plain values")
    if any(not 0 <= length <= np.iinfo(np.intp).max for length in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, fortran, dtype
