"""`Images`: what a network is trained on and applied to, in memory or elsewhere."""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from l2ae_kernels.arrays import Array

Index: TypeAlias = Any  # an integer, a slice, a boolean mask (N,) or integer positions


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


def as_images(images: Any) -> Images:
    """Return what holds images as it is, and anything else as an array."""
    return images if isinstance(images, Images) else np.asarray(images)
