"""What image files are like: sizes, modes, classes, what is wrong with them, equal ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.data.image_file import Decoded, decode, prepare_decoded
from l2ae_core.data.look import Look, Looking
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.reading import Reading, require_there
from l2ae_core.progress import Bar
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Survey:
    """What decoding each of N files gave; names are those that were passed with the files.

    sizes are (w, h) of the files, turned upright. `look` has positions among `readable`. It looks
    at prepared images, and at those as they are where the preparation does not take them.
    """

    files: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)  # as Pillow names them
    bits: Counter[int] = field(default_factory=Counter)  # of a channel
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    readable: list[str] = field(default_factory=list)
    transparent: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)  # more than 8 bits
    reading: Reading = field(default_factory=lambda: Reading(store=False))
    channels: int = 1  # 3 where an image has colour
    look: Look = field(default_factory=lambda: Looking().result())

    def take(self, path: Path, name: str, preparation: Preparation) -> Array | None:
        """Decode one file more; return what is to be looked at, None where it cannot be read."""
        self.files += 1
        try:
            require_there(path)
            decoded = decode(path)
        except DataError as error:
            self.reading.fail(error)
            return None
        self._count(decoded, name)
        try:
            pixels = prepare_decoded(decoded, preparation, str(path))
        except DataError as error:
            self.reading.fail(error)
            return _unit(decoded.pixels)
        self.reading.keep(path, pixels)
        return pixels if pixels.dtype == np.float32 else _unit(pixels)

    def _count(self, decoded: Decoded, name: str) -> None:
        h, w, C = decoded.pixels.shape
        self.channels = max(self.channels, C - decoded.transparent)
        self.readable.append(name)
        self.formats[decoded.format] += 1
        self.modes[decoded.mode] += 1
        self.bits[decoded.bits] += 1
        self.sizes[w, h] += 1
        if decoded.transparent:
            self.transparent.append(name)
        if decoded.bits > 8:
            self.deep.append(name)


def survey(
    paths: Sequence[Path], names: Sequence[str], preparation: Preparation, *, progress: bool = True
) -> Survey:
    """Decode and prepare all files; nothing is raised for what is wrong with one of them."""
    found, looking = Survey(), Looking()
    bar = Bar(paths, desc="images", unit="image", delay=1.0, disable=not progress)
    for path, name in zip(bar, names, strict=True):
        if (image := found.take(path, name, preparation)) is not None:
            looking.add(image[None])
    found.look = looking.result()
    return found


def _unit(pixels: Array) -> Array:
    """Return pixels as finite floating point, those of unsigned integers in [0, 1]."""
    if pixels.dtype.kind == "u":
        unit: Array = pixels / np.float32(np.iinfo(pixels.dtype).max)
        return unit
    with np.errstate(invalid="ignore"):  # NaN, of which some signal
        wide = pixels.astype(np.float64)
    return np.nan_to_num(wide, posinf=1e38, neginf=-1e38)
