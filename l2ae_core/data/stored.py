"""`StoredImages`: images as they are stored, in memory or in a file, read some at a time.

    images[index] = value of stored[index], float32 in [0, 1]

A byte stays a byte until a batch asks for it: MNIST takes 55 MB and not 220, and a file of any size
takes the memory of a batch. The numbers are those that `to_images` makes of the whole.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any
from zlib import crc32

import numpy as np

from l2ae_core.data.file_array import FileArray
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.remembered import remembered
from l2ae_core.data.values import (
    AS_THEY_ARE,
    Stored,
    check_values,
    pieces,
    prepare_images,
    unit_values,
    with_channels,
)
from l2ae_core.images import Images, Index
from l2ae_kernels.arrays import Array


def store(
    array: Stored, where: str, preparation: Preparation = AS_THEY_ARE, *, progress: bool = False
) -> Images:
    """Return the images of an array, in memory or a file, as `to_images` does, but as they are.

    float32 in [0, 1] in memory is itself, all else becomes `StoredImages`; but what changes pixels
    is done here and now, to images in memory. `progress` shows a bar, then and at every later pass
    over all images, when it takes over a second. Raises what `to_images` raises.
    """
    images: Stored = with_channels(array, where, preparation.image_shape)
    if not isinstance(images, FileArray):
        images = np.asarray(images)
    check_values(images, where, preparation, progress=progress)
    stored = StoredImages(images, preparation.of_values, progress=progress)
    if not preparation.keeps(images.shape[1:]):
        return prepare_images(stored, where, preparation, progress=progress)
    if isinstance(images, np.ndarray) and images.flags.c_contiguous:
        as_they_are = images.dtype == np.float32 and preparation.levels is None
        return images if as_they_are else stored
    return stored


def prepared(
    images: Images, where: str, preparation: Preparation, *, progress: bool = False
) -> Images:
    """Return images in [0, 1] prepared, in memory; the same where no pixel changes."""
    if preparation.keeps(images.shape[1:]):
        return images
    return prepare_images(images, where, preparation, progress=progress)


def chosen(images: Images, positions: Array) -> Images:
    """Return the images at positions (n,) int64, in this order."""
    if isinstance(images, StoredImages):
        return images.take(positions)
    return np.ascontiguousarray(images[positions])


def joined(a: Images, b: Images) -> Images:
    """Return the images of a, then those of b."""
    if (
        isinstance(a, StoredImages)
        and isinstance(b, StoredImages)
        and (a.preparation, a.channels) == (b.preparation, b.channels)
    ):
        both = [np.asarray(x.stored if x.rows is None else x.stored[x.rows]) for x in (a, b)]
        return replace(a, stored=np.concatenate(both), rows=None)
    return np.concatenate([np.asarray(a), np.asarray(b)])


def bytes_held(images: Images) -> int:
    """Return how much memory the images take: none where they stay in a file."""
    if isinstance(images, StoredImages):
        return 0 if isinstance(images.stored, FileArray) else images.stored.nbytes
    return images.nbytes if isinstance(images, np.ndarray) else 0


def in_colour(images: Images) -> Images:
    """Return grey images (N, H, W, 1) with their channel three times."""
    if isinstance(images, StoredImages):
        return replace(images, channels=3)
    return np.repeat(np.asarray(images), 3, axis=3)


@dataclass(frozen=True, eq=False)
class StoredImages:
    """N images (N, H, W, C), float32 in [0, 1] where they are asked for.

    stored        (M, H, W, C) in memory or in a file, of a dtype that `check_values` takes
    preparation   which values become 0 and 1; it changes no pixels
    rows          (N,) int64, which of the stored images these are, in this order; None: all
    channels      C, or 3 where the stored images have one, which is then repeated
    progress      whether a pass over all images shows a bar when it takes over a second

    What is stored has been checked: no value lies outside of [0, 1] in the end.
    """

    stored: Stored
    preparation: Preparation = AS_THEY_ARE
    rows: Array | None = None
    channels: int = 0  # 0: those that are stored
    progress: bool = False

    def __post_init__(self) -> None:
        assert not self.preparation.changes_pixels, "prepared images are not as they are stored"
        if self.channels == 0:
            object.__setattr__(self, "channels", self.stored.shape[3])

    def __len__(self) -> int:
        """Return N."""
        return len(self.stored) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self), *self.stored.shape[1:3], self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """4."""
        return 4

    @property
    def size(self) -> int:
        """N·H·W·C."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the images as they are stored."""
        return len(self) * math.prod(self.stored.shape[1:]) * self.stored.itemsize

    def __getitem__(self, index: Index) -> Array:
        """Return images (n, H, W, C), or one (H, W, C), float32, C-contiguous."""
        images = unit_values(self.as_stored(index), self.preparation)
        if images.shape[-1] != self.channels:
            images = np.repeat(images, self.channels, axis=-1)
        return images

    def as_stored(self, index: Index) -> Array:
        """Return images of their own type and channels."""
        return np.asarray(self.stored[index if self.rows is None else self.rows[index]])

    def __iter__(self) -> Iterator[Array]:
        """Yield each image (H, W, C)."""
        for piece in pieces(self.shape, "images"):
            yield from self[piece]

    def gather(self, batches: Sequence[Array]) -> Iterator[Array]:
        """Yield the images of each batch of positions; those of the next one come from the disk."""
        stored = self.stored
        for batch, then in zip_longest(batches, batches[1:]):
            if then is not None and isinstance(stored, FileArray):
                stored.will_need(then if self.rows is None else self.rows[then])
            yield self[batch]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all images as one array: `np.asarray(images)`."""
        if copy is False:
            raise ValueError("images are stored in another form: an array of them is a copy")
        whole = np.empty(self.shape, np.float32 if dtype is None else dtype)
        for piece in pieces(self.shape, "read", progress=self.progress):
            whole[piece] = self[piece]
        return whole

    def take(self, positions: Array) -> "StoredImages":
        """Return the images at positions (n,) int64, in this order; nothing is copied."""
        return replace(self, rows=positions if self.rows is None else self.rows[positions])

    def crc32(self) -> int:
        """Return the checksum of the bytes of all images, float32; it is remembered for a file."""
        return int(remembered(self.stored, "crc32", self.described(), "[0-9]{1,10}", self._crc32))

    def _crc32(self) -> str:
        checksum = 0
        for piece in pieces(self.shape, "checksum", progress=self.progress):
            checksum = crc32(self[piece].data, checksum)
        return str(checksum)

    def described(self) -> dict[str, Any]:
        """Return, in JSON values, which images of what is stored these are, and as what numbers."""
        rows = None if self.rows is None else hashlib.sha256(self.rows.tobytes()).hexdigest()
        return {"shape": list(self.shape), "depth": self.preparation.depth, "rows": rows}
