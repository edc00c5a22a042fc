"""One image file as pixels of 8 bits: grey or colour, upright, opaque."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from l2ae_core.data.dataset import DataError
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
BITS_PER_SAMPLE = 258  # the tag of a TIFF file
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


def read_image(path: Path) -> Array:
    """Return pixels (H, W, 1) or (H, W, 3) uint8, turned upright as its EXIF data say.

    Grey stays one channel, everything else becomes RGB. An alpha channel that is opaque everywhere
    is dropped. Raises DataError for a file that cannot be decoded, for transparent pixels (their
    value would depend on the background), for several frames, for more than 8 bits a channel, and
    for more pixels than Pillow's MAX_IMAGE_PIXELS.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pixels, form = _read(path)
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
        if _tells_of_damage(warning, form):
            raise DataError(f"{path}: cannot be decoded in full: {one_line(warning.message)}")
    return pixels


def _tells_of_damage(warning: warnings.WarningMessage, form: str | None) -> bool:
    """Whether the pixels may be wrong.

    A TIFF file says in its tags what its bytes mean, so a tag that is cut off counts; not so tags
    of a foreign type, nor damaged EXIF data of other formats, which many photographs have.
    """
    if issubclass(warning.category, Image.DecompressionBombWarning):
        return True
    told = issubclass(warning.category, UserWarning) and form == "TIFF"
    return told and not str(warning.message).startswith("Metadata Warning")


def _read(path: Path) -> tuple[Array, str | None]:
    """Return the pixels and the name of the format."""
    with open_file(path) as file, Image.open(file, formats=FORMATS) as opened:
        bits = _bits(opened)
        if bits > 8:
            raise DataError(
                f"{path}: has {bits} bits a channel but expected 8; scale it to 8 bits first"
            )
        frames = getattr(opened, "n_frames", 1)
        if frames != 1:
            raise DataError(f"{path}: has {frames} frames but expected one image")
        image: Image.Image = ImageOps.exif_transpose(opened)
        image.load()
        return _pixels(image, path), opened.format


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


def _pixels(image: Image.Image, path: Path) -> Array:
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            raise DataError(
                f"{path}: has transparent pixels; save it without an alpha channel, on the "
                "background that you want"
            )
        image = image.convert("L" if image.mode in ("LA", "La", "L") else "RGB")
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))[..., None]  # (H, W, 1)
    if image.mode in COLOUR_MODES:
        return np.asarray(image.convert("RGB"))  # (H, W, 3)
    raise DataError(
        f"{path}: Pillow mode {image.mode} but expected 8-bit grey or colour; convert it to 8 bits"
    )
