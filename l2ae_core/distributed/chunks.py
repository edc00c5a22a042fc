"""What a task does with the images of a chunk, and where chunks are cut.

Whatever the chunks are, the numbers are those of the same images in memory: a chunk begins at a
multiple of BATCH and has as many images at least, unless it has all. For a network takes BATCH
images at a time from the first on, and a BLAS may sum a product of few rows in another order than
one of many.
"""

from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import Any
from zlib import crc32

import dask.array as da
import numpy as np

from l2ae_core.data.preparation import Preparation
from l2ae_core.data.stored import StoredImages
from l2ae_core.data.values import AS_THEY_ARE, out_of_range, to_images, unit_values
from l2ae_core.images import Images
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.cpu.threads import threads

BATCH = 1024  # images that `AutoEncoder.encode` and `decode` take at a time
# What is done with the images of a chunk, as a network takes them: the result has a row an image.
OfChunk = Callable[..., Array]


def aligned(rows: tuple[int, ...]) -> tuple[int, ...]:
    """Return sizes of chunks, as near as can be, that begin at multiples of BATCH.

    A boundary moves by BATCH / 2 rows at most, but for a last chunk of fewer than BATCH rows, which
    the one before it takes.
    """
    N = sum(rows)
    ends = {round(end / BATCH) * BATCH for end in np.cumsum(rows).tolist()[:-1]}
    cuts = [0, *sorted(end for end in ends if 0 < end <= N - BATCH), N]
    return tuple(np.diff(cuts).tolist())


def cut(rows: da.Array, sizes: tuple[int, ...]) -> da.Array:
    """Return rows (N, …) in chunks of these sizes, none cut across rows."""
    return rows.rechunk((sizes, *((side,) for side in rows.shape[1:])), method="tasks")


def prepare(chunk: Array, method: str, preparation: Preparation, block_info: Any) -> Array:
    """Return the images of a chunk (n, H, W, C) float32 in [0, 1], prepared."""
    first, last = block_info[0]["array-location"][0]
    return to_images(chunk, f"{method}: X[{first}:{last}]", preparation)


def pick(chunk: Array, rows: Array, first: int, method: str) -> Array:
    """Return some images of a chunk whose first one has the number `first`.

    They are as stored, but float32 for floating point, as networks are trained.
    """
    picked: Array = chunk[rows]
    require_unit(method, picked, rows + first)
    return picked.astype(np.float32, copy=False) if picked.dtype.kind == "f" else picked


def checksum(chunk: Array, first: int, method: str) -> tuple[int, int]:
    """Return the CRC-32 of the images of a chunk as float32, and of how many bytes it is."""
    found = size = 0
    for start in range(0, len(chunk), BATCH):
        rows = np.arange(start, min(start + BATCH, len(chunk)))
        numbers = unit_values(pick(chunk, rows, first, method), AS_THEY_ARE)
        found, size = crc32(numbers.data, found), size + numbers.nbytes
    return found, size


def joined_checksum(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of bytes with that of `first`, and then `size` ones with that of `second`.

    A zero after them is a linear map of the first over GF(2): its columns are squared log₂ times.
    """
    columns = [crc32(b"\0", 1 << bit) ^ crc32(b"\0") for bit in range(32)]

    def mapped(checksum: int) -> int:
        chosen = (column for bit, column in enumerate(columns) if checksum >> bit & 1)
        return reduce(xor, chosen, 0)

    while size:
        first = mapped(first) if size & 1 else first
        columns, size = [mapped(column) for column in columns], size >> 1
    return first ^ second


def call(
    chunk: Array, *more: Array, function: OfChunk, method: str, emitted: str, block_info: Any,
    **same: Any,
) -> Array:  # fmt: skip
    """Call a function of the images of a chunk, on one thread: Dask runs as many as it has.

    `emitted` names the set of vectors that kernels are for, on whatever machine.
    """
    first, last = block_info[0]["array-location"][0]
    require_unit(method, chunk, np.arange(first, last))
    images: Images = chunk
    if chunk.dtype.kind != "f":
        images = StoredImages(chunk)
    elif chunk.dtype != np.float32:
        images = chunk.astype(np.float64)
    with threads(1), vectors(emitted):
        return function(images, *(rows.reshape(len(rows), -1) for rows in more), **same)


def require_unit(method: str, images: Array, rows: Array) -> None:
    """Raise ValueError unless images (n, …) lie in [0, 1], naming the first row that does not."""
    if images.dtype.kind != "f" or not len(images):
        return
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:  # written so that NaN fails
        return
    inside = ((images >= 0) & (images <= 1)).reshape(len(images), -1).all(axis=1)
    row = rows[~inside].min()
    one = images[rows == row]
    if not np.isfinite(one).all():
        raise ValueError(f"{method}: row {row} of X holds NaN or infinity but expected numbers")
    raise ValueError(
        f"{method}: row {row} of X has {out_of_range(float(one.min()), float(one.max()))}"
    )
