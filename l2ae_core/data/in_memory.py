"""Images in memory, one by one: Pillow's, and arrays (H, W) or (H, W, C)."""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.values import to_images
from l2ae_kernels.arrays import Array


def is_pillow(image: Any) -> bool:
    """Whether it is an image of Pillow; whoever has one has imported Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def stack_images(images: Iterable[Any], preparation: Preparation) -> Array:
    """Return images (N, H, W, C) float32 in [0, 1], prepared; grey becomes the others' colour.

    Raises DataError, naming the image by its position, for one that is none, for what the
    preparation refuses, and where sizes differ after it.
    """
    prepared = [_one(image, preparation, f"image {i}") for i, image in enumerate(images)]
    sizes: dict[tuple[int, ...], int] = {}
    for i, image in enumerate(prepared):
        sizes.setdefault(image.shape[:2], i)
    if len(sizes) > 1:
        told = ", ".join(f"{w}×{h} (image {i})" for (h, w), i in list(sizes.items())[:5])
        raise DataError(
            f"images have {len(sizes)} sizes, {told}, but must be of one: "
            "Preparation(size=32), say, brings them to 32×32 pixels"
        )
    channels = max(image.shape[2] for image in prepared)
    (size,) = sizes
    stacked = np.empty((len(prepared), *size, channels), np.float32)
    for into, image in zip(stacked, prepared, strict=True):
        into[...] = image
    return stacked


def _one(image: Any, preparation: Preparation, where: str) -> Array:
    """Return one image (H, W, C) float32 in [0, 1], prepared."""
    if is_pillow(image):
        from l2ae_core.data.image_file import decoded_of, prepare_decoded

        pixels = prepare_decoded(decoded_of(image, where), preparation, where)
        return pixels / np.float32(255) if pixels.dtype == np.uint8 else pixels
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        what = f"array {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"{where}: is {what} but expected a file, an image or an array (H, W[, C])")
    one: Array = to_images(image[None], where, preparation)[0]
    return one
