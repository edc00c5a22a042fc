"""What images have that a training cannot use: constant, dark and equal images."""

from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import prod

import numpy as np

from l2ae_core.images import Images
from l2ae_core.progress import Bar
from l2ae_kernels.arrays import Array

CHUNK = 1 << 22  # values of images that are looked at together
DIGEST = 16  # bytes
SHARES = 16  # of all digests, sorted one after the other
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
    step = max(1, CHUNK // prod(images.shape[1:]))
    with Bar(total=len(images), desc="look", unit="image", delay=1.0, disable=not progress) as bar:
        for start in range(0, len(images), step):
            looking.add(images[start : start + step])
            bar.update(len(images[start : start + step]))
    return looking.result()


@dataclass(eq=False)
class Looking:
    """`look_at` for images that come one after another, of any sizes."""

    count: int = 0
    _constant: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _flat: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _dark: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _digests: bytearray = field(default_factory=bytearray)  # of every image, DIGEST bytes each

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
            found.extend((self.count + np.flatnonzero(here)).tolist())
        shape = repr((H, W, C)).encode()
        for image in np.ascontiguousarray(x + 0):  # -0.0 becomes 0.0
            self._digests += blake2b(image.data, digest_size=DIGEST, key=shape).digest()
        self.count += n

    def result(self) -> Look:
        """Return what was found, by position among all images that were added."""
        return Look(
            constant=np.array(self._constant, np.int64),
            flat=np.array(self._flat, np.int64),
            dark=np.array(self._dark, np.int64),
            duplicates=equal_digests(np.frombuffer(self._digests, np.uint8).reshape(-1, DIGEST)),
        )


def equal_digests(digests: Array) -> tuple[Array, ...]:
    """Return groups of equal rows of digests (N, DIGEST) uint8: positions int64, ascending.

    A share of the digests is sorted at a time: those with the same rest of the first byte.
    """
    groups: list[Array] = []
    for rest in range(SHARES):
        members = np.flatnonzero(digests[:, 0] % SHARES == rest)  # (n,)
        keys = digests[members].view(np.uint64)  # (n, 2)
        order = np.lexsort(keys.T)  # stable: positions of equal digests stay in order
        ordered = keys[order]
        new = np.ones(len(order) + 1, bool)  # where another digest begins, and at the end
        new[1:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
        starts = np.flatnonzero(new)
        several = np.flatnonzero(np.diff(starts) > 1)
        groups += [members[order[starts[i] : starts[i + 1]]] for i in several.tolist()]
    return tuple(sorted(groups, key=lambda group: int(group[0])))


def _brightness(x: Array) -> Array:
    """Return the brightness (N, P) of pixels (N, P, C): luma of three channels, else the mean."""
    C = x.shape[2]
    weights = np.array(LUMA if C == 3 else (1 / C,) * C, x.dtype)
    brightness: Array = x[..., 0] if C == 1 else x @ weights
    return brightness
