"""Small pictures: images, and differences between two, in at most 64 × 64 pixels of 8 bits."""

import numpy as np
from PIL import Image

from l2ae_kernels.arrays import Array

SIDE = 64  # pixels of the longer side, at most


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the thumbnail of an image; small images keep their size."""
    longer = max(height, width, SIDE)
    return max(1, round(height * SIDE / longer)), max(1, round(width * SIDE / longer))


def thumbnails(images: Array) -> Array:
    """Return images (N, H, W, C) of values in [0, 1] as thumbnails (N, h, w, 1 or 3) uint8.

    Values outside, which a reconstruction can have, are shown as 0 or 1; the channels of images
    that are neither grey nor colour are averaged.
    """
    if images.shape[3] not in (1, 3):
        images = images.mean(axis=3, keepdims=True)
    shown: Array = np.rint(255 * _shrink(images).clip(0, 1)).astype(np.uint8)
    return shown


def error_maps(images: Array, reconstructions: Array) -> Array:
    """Return reconstruction − image (N, h, w) int8, mean over channels: 127 is one, as is more."""
    difference = np.subtract(reconstructions, images).mean(axis=3, keepdims=True)
    shown: Array = np.rint(127 * _shrink(difference)[..., 0].clip(-1, 1)).astype(np.int8)
    return shown


def _shrink(images: Array) -> Array:
    """Return images (N, H, W, C) in the size of thumbnails, float32: means over areas."""
    N, H, W, C = images.shape
    h, w = thumbnail_size(H, W)
    if (h, w) == (H, W):
        return images.astype(np.float32, copy=False)
    small = np.empty((N, h, w, C), np.float32)
    for image, target in zip(images.astype(np.float32, copy=False), small, strict=True):
        for c in range(C):
            channel = Image.fromarray(np.ascontiguousarray(image[:, :, c]))  # mode "F"
            target[:, :, c] = np.asarray(channel.resize((w, h), Image.Resampling.BOX))
    return small
