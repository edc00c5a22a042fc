"""Pixels of more than 8 bits a channel, of which Pillow keeps the upper 8 where they are colour.

Such a file is decoded twice, for the first and for the second byte of every number.
"""

import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

from l2ae_core.data.errors import DataError
from l2ae_kernels.arrays import Array

BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339  # tags of a TIFF file
COLOUR_MODES = ("RGB", "RGBA")
NATIVE = "L" if sys.byteorder == "little" else "B"


def deep_pixels(opened: ImageFile.ImageFile, file: BinaryIO, path: Path, bits: int) -> Array:
    """Return the pixels (H, W, C) of an opened file, turned upright, alpha last.

    Of PNG uint16, of PGM uint16 scaled to its whole range, of TIFF uint16, int32 or float32. A
    transparent colour of PNG becomes an alpha channel. DataError, naming the file, for forms that
    are not read.
    """
    key = opened.info.get("transparency") if opened.format == "PNG" else None
    pixels = grey_pixels(opened) if is_deep_grey(opened) else _colour(opened, file, path, bits)
    if isinstance(key, int | tuple):
        seen = (pixels != np.array(key, np.uint16)).any(axis=2, keepdims=True)
        pixels = np.concatenate([pixels, np.where(seen, np.uint16(65535), np.uint16(0))], axis=2)
    return pixels


def is_deep_grey(image: Image.Image) -> bool:
    """Whether an image of Pillow has one channel of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def grey_pixels(image: Image.Image) -> Array:
    """Return its pixels (H, W, 1), turned upright: uint16 where no file has others, else as is."""
    upright: Image.Image = ImageOps.exif_transpose(image)
    values = np.asarray(upright)
    if image.format in ("PNG", "PPM") or values.dtype.kind == "u":  # once, Pillow made int32 of PNG
        values = values.astype(np.uint16)
    return values[..., None]


def _colour(opened: ImageFile.ImageFile, file: BinaryIO, path: Path, bits: int) -> Array:
    """Return (H, W, C) uint16 of a PNG or TIFF file whose channels stand side by side."""
    arguments: list[Any] = [part[3] for part in opened.tile]
    raw_modes = {a if isinstance(a, str) else a[0] for a in arguments}
    raw_mode = raw_modes.pop() if len(raw_modes) == 1 else ""
    form, _, order = str(raw_mode).partition(";16")
    if opened.format == "PNG" and raw_mode == "LA;16B":
        return _as_bytes(opened)
    if opened.format not in ("PNG", "TIFF") or form not in COLOUR_MODES or not order:
        raise DataError(
            f"{path}: has {bits} bits a channel but expected 8; more are read from grey files, "
            "and from colour in PNG and in TIFF with RGB side by side: save it so, or with 8 bits"
        )
    first, second = (_decoded(file, f"{form};16{which}") for which in "BL")
    if order.replace("N", NATIVE) == "L":
        first, second = second, first
    return (first.astype(np.uint16) << 8) | second


def _decoded(file: BinaryIO, raw_mode: str) -> Array:
    """Return one byte (H, W, C) of each number: of big-endian ones the upper for ";16B"."""
    file.seek(0)
    with Image.open(file, formats=("PNG", "TIFF")) as opened:
        return _decoded_as(opened, raw_mode)


def _decoded_as(opened: ImageFile.ImageFile, raw_mode: str) -> Array:
    """Return the pixels of an opened file whose decoder unpacks another raw mode."""
    tiles: list[Any] = []
    for tile in opened.tile:
        *where, arguments = tile
        new = raw_mode if isinstance(arguments, str) else (raw_mode, *(arguments or ())[1:])
        make: Any = getattr(tile, "_make", tuple)  # named tuples since Pillow 11
        tiles.append(make((*where, new)))
    opened.tile = tiles
    image: Image.Image = ImageOps.exif_transpose(opened)
    return np.asarray(image)


def _as_bytes(opened: ImageFile.ImageFile) -> Array:
    """Return grey and alpha (H, W, 2) uint16 of a PNG: four bytes a pixel, read as RGBA."""
    b = _decoded_as(opened, "RGBA").astype(np.uint16)
    return np.stack([(b[..., 0] << 8) | b[..., 1], (b[..., 2] << 8) | b[..., 3]], axis=-1)
