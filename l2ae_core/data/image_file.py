"""One image file as pixels: grey or colour, upright, prepared."""

import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from l2ae_core.data.deep_pixels import BITS_PER_SAMPLE, deep_pixels, grey_pixels, is_deep_grey
from l2ae_core.data.errors import DataError
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.values import AS_THEY_ARE, to_unit
from l2ae_core.readers import one_line, open_file
from l2ae_kernels.arrays import Array

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pnm")
)
# Of the many formats that Pillow knows these alone are tried, whatever the ending is: others cut
# deeper channels to 8 bits with no sign of it, or start programs.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
GREY_MODES = frozenset(("1", "L"))
COLOUR_MODES = frozenset(("RGB", "P", "CMYK", "YCbCr"))
# what Pillow raises for damaged files, by format
_DAMAGED = (
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    AssertionError,
    struct.error,
    zlib.error,
    NotImplementedError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)


class NotChosenError(DataError):
    """A file can be read when a setting of the preparation is chosen for it."""

    def __init__(self, where: str, what: str, advice: str) -> None:
        super().__init__(f"{where}: {what}; {advice}")
        self.where, self.what, self.advice = where, what, advice


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of a file, turned upright as its EXIF data say, and what form they had there."""

    pixels: Array  # (H, W, C): grey or colour, and alpha unless it is opaque everywhere
    format: str  # as Pillow names it
    mode: str
    bits: int  # of a channel

    @property
    def transparent(self) -> bool:
        """Whether a pixel is not opaque."""
        return self.pixels.shape[2] in (2, 4)


def read_image(path: Path, preparation: Preparation = AS_THEY_ARE) -> Array:
    """Return the prepared pixels (H, W, 1) or (H, W, 3): uint8, or float32 in [0, 1].

    uint8 are those of a file of 8 bits a channel that the preparation leaves as they are.
    Raises NotChosenError for transparent pixels without a background and for more than 8 bits a
    channel without a depth, and as `decode`.
    """
    return prepare_decoded(decode(path), preparation, str(path))


def prepare_decoded(decoded: Decoded, preparation: Preparation, where: str) -> Array:
    """Return the prepared pixels of a file; see `read_image`."""
    if decoded.bits > 8 and preparation.depth == "8":
        raise NotChosenError(
            where,
            f"has {decoded.bits} bits a channel but expected 8",
            "scale to 8 bits, or train with a depth: --depth auto takes the whole range of 16 "
            "bits, and floating point in [0, 1]",
        )
    if decoded.transparent and preparation.background is None:
        raise NotChosenError(
            where,
            "has transparent pixels",
            "save without an alpha channel, or train with a colour behind: --background white",
        )
    if decoded.pixels.dtype == np.uint8 and not preparation.changes_pixels:
        return decoded.pixels
    if decoded.format == "PPM":  # it says its largest value itself, which is 1
        preparation = replace(preparation, depth="auto")
    alpha = decoded.pixels[..., -1:] if decoded.transparent else None
    if alpha is None:
        return preparation.apply(to_unit(decoded.pixels, where, preparation), where)
    largest = np.float32(np.iinfo(alpha.dtype).max)
    pixels = to_unit(np.ascontiguousarray(decoded.pixels[..., :-1]), where, preparation)
    return preparation.apply(np.concatenate([pixels, alpha / largest], axis=2), where)


def decode(path: Path) -> Decoded:
    """Return the pixels of a file: uint8, uint16, or int32 and float32 of a TIFF file.

    Grey stays one channel, everything else becomes RGB. Raises DataError for a file that cannot be
    decoded, for several frames, and for more pixels than Pillow's MAX_IMAGE_PIXELS.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            decoded = _decode(path)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: cannot be decoded, truncated or corrupt: expected one of {', '.join(FORMATS)}"
        ) from error
    except OSError as error:
        what = "cannot be decoded, truncated or corrupt" if error.errno is None else "not readable"
        raise DataError(f"{path}: {what}: {one_line(error.strerror or error)}") from error
    except _DAMAGED as error:
        raise DataError(
            f"{path}: cannot be decoded, truncated or corrupt: {one_line(error)}"
        ) from error
    for warning in caught:
        if _tells_of_damage(warning, decoded.format):
            raise DataError(f"{path}: cannot be decoded in full: {one_line(warning.message)}")
    return decoded


def decoded_of(image: Image.Image, where: str) -> Decoded:
    """Return the pixels of an image of Pillow, turned upright; DataError for modes it cannot be."""
    bits, form = _bits(image), image.format or ""
    if is_deep_grey(image):
        values = grey_pixels(image)
        return Decoded(values, form, image.mode, 8 * values.itemsize)
    upright: Image.Image = ImageOps.exif_transpose(image)
    return Decoded(_pixels(upright, where), form, upright.mode, bits)


def _tells_of_damage(warning: warnings.WarningMessage, form: str | None) -> bool:
    """Whether the pixels may be wrong.

    A TIFF file says in its tags what its bytes mean, so a tag that is cut off counts; not so tags
    of a foreign type, nor damaged EXIF data of other formats, which many photographs have.
    """
    if issubclass(warning.category, Image.DecompressionBombWarning):
        return True
    told = issubclass(warning.category, UserWarning) and form == "TIFF"
    return told and not str(warning.message).startswith("Metadata Warning")


def _decode(path: Path) -> Decoded:
    with open_file(path) as file, Image.open(file, formats=FORMATS) as opened:
        bits, mode, form = _bits(opened), opened.mode, opened.format or ""
        frames = getattr(opened, "n_frames", 1)
        if frames != 1:
            raise DataError(f"{path}: has {frames} frames but expected one image")
        if bits > 8:
            pixels = deep_pixels(opened, file, path, bits)
            return Decoded(_without_opaque_alpha(pixels), form, mode, bits)
        image: Image.Image = ImageOps.exif_transpose(opened)
        image.load()
        return Decoded(_pixels(image, path), form, mode, bits)


def _bits(image: Image.Image) -> int:
    """Return the bits of a channel as they are in the file, before Pillow makes 8 of them.

    JPEG (others than of 8 bits are refused by Pillow), BMP, GIF and WebP have no more than 8 here.
    """
    if image.format == "TIFF":
        found: list[int] = list(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
        return max(found)
    arguments = [part[3] for part in getattr(image, "tile", ())]  # of the decoders
    if image.format == "PNG":
        return 16 if any(";16" in str(raw_mode) for raw_mode in arguments) else 8
    if image.format == "PPM":  # (mode, largest value)
        largest = [a[-1] for a in arguments if isinstance(a, tuple) and len(a) == 2]
        return 16 if image.mode == "I" else max((m.bit_length() for m in largest), default=8)
    return 8


def _pixels(image: Image.Image, where: Path | str) -> Array:
    """Return the pixels (H, W, C) uint8 of an image of at most 8 bits a channel."""
    if image.has_transparency_data:
        grey = image.mode in ("LA", "La", "L")
        return _without_opaque_alpha(np.asarray(image.convert("LA" if grey else "RGBA")))
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))[..., None]  # (H, W, 1)
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))  # (H, W, 3)
    raise DataError(
        f"{where}: Pillow mode {image.mode} but expected 8-bit grey or colour; convert it to 8 bits"
    )


def _without_opaque_alpha(pixels: Array) -> Array:
    """Return pixels (H, W, C) without their alpha channel, if they have one, and it hides none."""
    if pixels.shape[2] not in (2, 4) or pixels[..., -1].min() < np.iinfo(pixels.dtype).max:
        return pixels
    return np.ascontiguousarray(pixels[..., :-1])
