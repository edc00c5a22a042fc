"""The user's own images: a folder of image files, or one file."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from l2ae_core.data.dataset import DataError, Dataset
from l2ae_kernels.arrays import Array

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm", ".pnm")
)
GREY_MODES = frozenset(("1", "L"))
COLOUR_MODES = frozenset(("RGB", "P", "CMYK", "YCbCr"))
# what Pillow raises for damaged files, by format
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def load_folder(folder: Path) -> Dataset:
    """Return the images in `folder` and its sub-folders, sorted by their path in it.

    Files with another ending than `SUFFIXES` and hidden files are passed over. If every image lies
    in a sub-folder, the names of the first-level sub-folders, sorted, are the classes; otherwise
    there are no labels. If all images are grey there is one channel; otherwise three, and grey
    images are repeated on them. Raises DataError as `read_image`, when there is no image, and when
    sizes differ, naming two files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    names = sorted(path.relative_to(folder).as_posix() for path in _image_files(folder))
    if not names:
        raise DataError(f"{folder}: no image in it (looked for {' '.join(sorted(SUFFIXES))})")
    images = _stack([folder / name for name in names])
    classes = [name.split("/")[0] if "/" in name else None for name in names]
    labels, class_names = None, None
    if None not in classes:
        unique, inverse = np.unique(np.array(classes, dtype=str), return_inverse=True)
        labels, class_names = inverse.astype(np.int64), tuple(str(name) for name in unique)
    return Dataset(images, labels, folder.name, class_names, tuple(names))


def load_image(path: Path) -> Dataset:
    """Return the data set of the one image in `path`."""
    return Dataset(_stack([path]), None, path.name, sample_names=(path.name,))


def read_image(path: Path) -> Array:
    """Return pixels (H, W, 1) or (H, W, 3) uint8, turned upright as its EXIF data say.

    Grey stays one channel, everything else becomes RGB. An alpha channel that is opaque everywhere
    is dropped. Raises DataError for a file that cannot be decoded, for transparent pixels (their
    value would depend on the background), for several frames, and for more than 8 bits a channel.
    """
    try:
        with Image.open(path) as opened:
            frames = getattr(opened, "n_frames", 1)
            if frames != 1:
                raise DataError(f"{path}: has {frames} frames but expected one image")
            image: Image.Image = ImageOps.exif_transpose(opened)
            image.load()
            return _pixels(image, path)
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{path}: cannot be decoded, truncated or corrupt: {error}") from error


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


def _image_files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    ]


def _stack(paths: list[Path]) -> Array:
    """Return the images (N, H, W, C) float32 in [0, 1] of files that must be of one size."""
    pixels: list[Array] = []
    for path in tqdm(paths, desc="images", unit="image", delay=1.0):
        pixels.append(read_image(path))
        (h, w), (H, W) = pixels[-1].shape[:2], pixels[0].shape[:2]
        if (h, w) != (H, W):
            raise DataError(
                f"{path} is {w}×{h} pixels but {paths[0]} is {W}×{H}: all images must be of one "
                "size; resize or crop them first"
            )
    channels = max(p.shape[2] for p in pixels)
    images = np.empty((len(paths), *pixels[0].shape[:2], channels), dtype=np.float32)
    for image, p in zip(images, pixels, strict=True):
        image[...] = p / np.float32(255)  # one grey channel is repeated on three
    return images
