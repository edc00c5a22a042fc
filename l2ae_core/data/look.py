"""What images have that a training cannot use: constant, dark and equal images."""

from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from tqdm import tqdm

from l2ae_kernels.arrays import Array

CHUNK = 1 << 22  # values of images that are looked at together
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601: brightness of red, green, blue
DARK = 0.32  # brightness that at most DARK_SHARE of the pixels of a dark image pass
DARK_SHARE = 0.01
FLAT = 8 / 255  # largest difference within each channel of a nearly constant image


@dataclass(frozen=True, eq=False)
class Look:
    """Positions among N images, int64 and ascending.

    constant    of images with one value in each channel; they are equal but for that value
    flat        of images that are nearly so, constant ones left out: no channel varies by more
                than 8 of 255 levels
    dark        of images of which at most 1 % of the pixels are brighter than 0.32
    duplicates  of images with the same values: groups of two and more, by their first position
    """

    constant: Array
    flat: Array
    dark: Array
    duplicates: tuple[Array, ...]

    @property
    def copies(self) -> int:
        """How many images have the values of an earlier one."""
        return sum(len(group) - 1 for group in self.duplicates)


def look_at(images: Array, *, progress: bool = False) -> Look:
    """Find constant, dark and equal images among images (N, H, W, C) floating point in [0, 1].

    ValueError for another shape. `progress` shows a bar on stderr when it takes over a second.
    """
    if images.ndim != 4 or images.size == 0:
        raise ValueError(
            f"look_at: images have shape {images.shape} but expected (N, H, W, C), not empty"
        )
    N, H, W, C = images.shape
    spread = np.empty(N, images.dtype)  # largest difference within a channel
    bright = np.empty(N, np.int64)  # pixels brighter than DARK
    of_digest: dict[bytes, list[int]] = defaultdict(list)
    step = max(1, CHUNK // (H * W * C))
    with tqdm(total=N, desc="look", unit="image", delay=1.0, disable=not progress) as bar:
        for start in range(0, N, step):
            x = images[start : start + step].reshape(-1, H * W, C)
            here = slice(start, start + len(x))
            spread[here] = (x.max(axis=1) - x.min(axis=1)).max(axis=1)
            bright[here] = (_brightness(x) > DARK).sum(axis=1)
            for i, image in enumerate(np.ascontiguousarray(x + 0), start):  # -0.0 becomes 0.0
                of_digest[blake2b(image.data, digest_size=16).digest()].append(i)
            bar.update(len(x))
    return Look(
        constant=np.flatnonzero(spread == 0),
        flat=np.flatnonzero((spread > 0) & (spread <= np.float32(FLAT))),
        dark=np.flatnonzero(bright <= DARK_SHARE * H * W),
        duplicates=tuple(np.array(group) for group in of_digest.values() if len(group) > 1),
    )


def _brightness(x: Array) -> Array:
    """Return the brightness (N, P) of pixels (N, P, C): luma of three channels, else the mean."""
    C = x.shape[2]
    weights = np.array(LUMA if C == 3 else (1 / C,) * C, x.dtype)
    brightness: Array = x[..., 0] if C == 1 else x @ weights
    return brightness
