"""`Images`: what a network is trained on and applied to, in memory or elsewhere."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from l2ae_kernels.arrays import Array

Index: TypeAlias = Any  # an integer, a slice, a boolean mask (N,) or integer positions
AT_ONCE = 8192  # images of a part; a multiple of the batches of a network


@runtime_checkable
class Images(Protocol):
    """N images (N, H, W, C), of which some at a time are asked for.

    An array is one. Others (`l2ae_core.data.stored`) hold images as they are stored, in memory or
    in a file; those that are asked for become a C-contiguous array of `dtype`.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of what is asked for."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def __getitem__(self, index: Index, /) -> Array:
        """Return some images (n, H, W, C), or one (H, W, C), as numbers of `dtype`."""
        ...


@runtime_checkable
class Gathering(Images, Protocol):
    """Images that know better than one index after another how the batches of an epoch are read."""

    def gather(self, batches: Sequence[Array], /) -> Iterator[Array]:
        """Yield images[batch] (n, H, W, C) of each batch of indices (n,), in order."""
        ...


@runtime_checkable
class RemoteImages(Images, Protocol):
    """Images that lie elsewhere, and are encoded there."""

    def encode(self, network: Any, /) -> Array:
        """Return the codes u (N, D) of all images, as `network` is trained, in float32."""
        ...


def gathered(images: Images, batches: Sequence[Array]) -> Iterator[Array]:
    """Yield images[batch] of each batch of indices (n,) int64, in order."""
    return (
        images.gather(batches)
        if isinstance(images, Gathering)
        else (images[batch] for batch in batches)
    )


def parts(count: int, size: int = AT_ONCE) -> list[slice]:
    """Return slices of `size` positions that cover 0 … count − 1; the last has the rest, too.

    No part is smaller, but for one that is all: a BLAS may sum a product of few rows in another
    order than one of many.
    """
    whole = max(1, count // size)
    stops = [size * i for i in range(1, whole)] + [count]
    return [slice(size * i, stop) for i, stop in enumerate(stops)]


@runtime_checkable
class CheckedImages(Images, Protocol):
    """Images that have been found finite, and know their checksum."""

    def crc32(self) -> int:
        """Return the CRC-32 of the bytes of all images, of `dtype`."""
        ...


def as_images(images: Any) -> Images:
    """Return what holds images as it is, and anything else as an array."""
    return images if isinstance(images, Images) else np.asarray(images)
