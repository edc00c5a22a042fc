"""What images have that a training cannot use: constant, dark and equal images."""

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from l2ae_core.images import Images
from l2ae_core.progress import Bar
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


def look_at(images: Images, *, progress: bool = False) -> Look:
    """Find constant, dark and equal images among images (N, H, W, C) floating point in [0, 1].

    ValueError for another shape. `progress` shows a bar on stderr when it takes over a second.
    """
    if len(images.shape) != 4 or 0 in images.shape:
        raise ValueError(
            f"look_at: images have shape {images.shape} but expected (N, H, W, C), not empty"
        )
    looking = Looking()
    step = max(1, CHUNK // images[0].size)
    with Bar(total=len(images), desc="look", unit="image", delay=1.0, disable=not progress) as bar:
        for start in range(0, len(images), step):
            looking.add(images[start : start + step])
            bar.update(len(images[start : start + step]))
    return looking.result()


@dataclass(eq=False)
class Looking:
    """`look_at` for images that come one after another, of any sizes."""

    count: int = 0
    _constant: list[int] = field(default_factory=list)
    _flat: list[int] = field(default_factory=list)
    _dark: list[int] = field(default_factory=list)
    _of_digest: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, images: Array) -> None:
        """Look at the next images, (n, H, W, C) floating point in [0, 1]."""
        n, H, W, C = images.shape
        x = images.reshape(n, H * W, C)
        spread = (x.max(axis=1) - x.min(axis=1)).max(axis=1)  # within each channel, (n,)
        bright = (_brightness(x) > DARK).sum(axis=1)
        for found, here in (
            (self._constant, spread == 0),
            (self._flat, (spread > 0) & (spread <= np.float32(FLAT))),
            (self._dark, bright <= DARK_SHARE * H * W),
        ):
            found += (self.count + np.flatnonzero(here)).tolist()
        shape = repr((H, W, C)).encode()
        for i, image in enumerate(np.ascontiguousarray(x + 0), self.count):  # -0.0 becomes 0.0
            self._of_digest[blake2b(image.data, digest_size=16, key=shape).digest()].append(i)
        self.count += n

    def result(self) -> Look:
        """Return what was found, by position among all images that were added."""
        groups = (group for group in self._of_digest.values() if len(group) > 1)
        return Look(
            constant=np.array(self._constant, np.int64),
            flat=np.array(self._flat, np.int64),
            dark=np.array(self._dark, np.int64),
            duplicates=tuple(np.array(group) for group in groups),
        )


def _brightness(x: Array) -> Array:
    """Return the brightness (N, P) of pixels (N, P, C): luma of three channels, else the mean."""
    C = x.shape[2]
    weights = np.array(LUMA if C == 3 else (1 / C,) * C, x.dtype)
    brightness: Array = x[..., 0] if C == 1 else x @ weights
    return brightness
