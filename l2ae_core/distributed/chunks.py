"""What a task does with the images of a chunk, and where chunks are cut.

Whatever the chunks are, the numbers are those of the same images in memory: a chunk begins at a
multiple of BATCH and has as many images at least, unless it has all. For a network takes BATCH
images at a time from the first on, and a BLAS may sum a product of few rows in another order than
one of many.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
from l2ae_core.networks import AutoEncoder
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import vectors
from l2ae_kernels.cpu.threads import threads

BATCH = 1024  # images that `AutoEncoder.encode` and `decode` take at a time
# What is done with the images of a chunk, as a network takes them: the result has a row an image.
OfChunk = Callable[..., Array]


@dataclass(frozen=True)
class Form:
    """What the rows of a Dask array X are."""

    method: str  # that takes X, for errors
    shape: tuple[int, int, int]  # (H, W, C) of an image as it is stored
    preparation: Preparation | None = None  # of every image; None: values are taken as they are
    copies: int = 1  # of the channel

    def images(self, rows: Array, numbers: Array) -> Array:
        """Return rows (n, …) of X, which have these numbers (n,), as images (n, H, W, C).

        Prepared ones are float32, others of the dtype of X. ValueError for rows that are no plain
        array, and for values out of range.
        """
        if not isinstance(rows, np.ndarray) or isinstance(rows, np.ma.MaskedArray):
            found = type(rows).__name__
            raise ValueError(f"{self.method}: a chunk of X is {found} but expected an array")
        images: Array = rows.reshape(len(rows), *self.shape)
        if self.preparation is not None:
            where = f"{self.method}: rows {numbers.min()} to {numbers.max()} of X"
            images = to_images(images, where, self.preparation)
        require_unit(self.method, images, numbers)
        return images if self.copies == 1 else np.repeat(images, self.copies, axis=3)


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


def pick(chunk: Array, rows: Array, first: int, form: Form) -> Array:
    """Return some images of a chunk whose first row has the number `first`.

    They are as stored, but float32 for floating point, as networks are trained.
    """
    picked = form.images(chunk[rows], rows + first)
    return picked.astype(np.float32, copy=False) if picked.dtype.kind == "f" else picked


def checksum(chunk: Array, first: int, form: Form) -> tuple[int, int]:
    """Return the CRC-32 of the images of a chunk as float32, and of how many bytes it is."""
    found = size = 0
    for start in range(0, len(chunk), BATCH):
        rows = np.arange(start, min(start + BATCH, len(chunk)))
        numbers = unit_values(pick(chunk, rows, first, form), AS_THEY_ARE)
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
    chunk: Array, *more: Array, function: OfChunk, form: Form, emitted: str, block_info: Any,
    **same: Any,
) -> Array:  # fmt: skip
    """Call a function of the images of a chunk, on one thread: Dask runs as many as it has.

    `emitted` names the set of vectors that kernels are for, on whatever machine.
    """
    first, last = block_info[0]["array-location"][0]
    images: Images = form.images(chunk, np.arange(first, last))
    if images.dtype.kind != "f":
        images = StoredImages(np.asarray(images))
    elif images.dtype != np.float32:
        images = np.asarray(images, np.float64)
    with threads(1), vectors(emitted):
        return function(images, *(rows.reshape(len(rows), -1) for rows in more), **same)


def codes_in_training(images: Images, network: AutoEncoder) -> Array:
    """Return the codes u (n, D) of images as networks are trained, in float32."""
    in_double = images.dtype != np.float32
    return network.encode(np.asarray(images, np.float32) if in_double else images)


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
