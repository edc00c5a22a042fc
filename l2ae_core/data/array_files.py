"""The user's own arrays: `.npy` with images, `.npz` with images and perhaps labels."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from l2ae_core.array_readers import read_npy, read_npz
from l2ae_core.data.dataset import DataError, Dataset
from l2ae_core.data.preparation import Preparation
from l2ae_core.readers import one_line
from l2ae_kernels.arrays import Array

IMAGE_KEYS = ("images", "x", "X", "arr_0")  # arr_0 and arr_1: np.savez(file, images, labels)
LABEL_KEYS = ("labels", "y", "arr_1")
OVERSHOOT = 0.25  # of the range [0, 1]: bicubic and Lanczos filters pass it by less

Content = TypeVar("Content")
AS_THEY_ARE = Preparation()


def load_npy(path: Path, preparation: Preparation = AS_THEY_ARE) -> Dataset:
    """Return the images in a `.npy` file; see `to_images` for what it may hold."""
    return Dataset(to_images(_read(read_npy, path), str(path), preparation), None, path.name)


def load_npz(path: Path, preparation: Preparation = AS_THEY_ARE) -> Dataset:
    """Return the images (one of IMAGE_KEYS) and labels (one of LABEL_KEYS) of a `.npz` file.

    Labels are (N,): integers, or text, which becomes the position in the sorted `class_names`.
    Raises DataError for missing or ambiguous keys, and as `to_images`.
    """
    arrays = _read(read_npz, path)
    images_key = _one_of(IMAGE_KEYS, arrays, path)
    labels_key = _one_of(LABEL_KEYS, arrays, path)
    if images_key is None:
        raise DataError(
            f"{path}: holds {sorted(arrays)} but expected the images under "
            f"{' or '.join(IMAGE_KEYS)} (and labels, if any, under {' or '.join(LABEL_KEYS)})"
        )
    images = to_images(arrays[images_key], f"{path}[{images_key!r}]", preparation)
    if labels_key is None:
        return Dataset(images, None, path.name)
    labels, class_names = _to_labels(arrays[labels_key], len(images), f"{path}[{labels_key!r}]")
    return Dataset(images, labels, path.name, class_names=class_names)


def to_images(array: Array, where: str, preparation: Preparation = AS_THEY_ARE) -> Array:
    """Return images (N, H, W, C) float32 in [0, 1] from (N, H, W) or (N, H, W, C), prepared.

    With an `image_shape`, (N, F) are flat images of that shape. Values are scaled as in `to_unit`.
    Raises DataError, `where` naming the file, for other shapes and for what `to_unit` refuses.
    """
    images = _with_channels(array, where, preparation.image_shape)
    if preparation.levels is not None and images.dtype.kind == "f":
        low, high = preparation.levels
        if high >= 255 and images.min() >= 0 and 0 < images.max() <= 1:
            raise DataError(
                f"{where}: images lie in [0, 1] already but depth {preparation.depth} is for "
                f"values from {low:g} to {high:g}"
            )
    return prepare_images(to_unit(images, where, preparation), where, preparation)


def prepare_images(
    images: Array, where: str, preparation: Preparation, *, progress: bool = False
) -> Array:
    """Return images (N, H, W, C) float32 in [0, 1] prepared, one by one; DataError as `apply`."""
    if not preparation.changes_pixels:
        return images
    first = preparation.apply(images[0], where)
    prepared = np.empty((len(images), *first.shape), np.float32)
    each: Iterable[Array] = images
    if progress:
        from l2ae_core.progress import Bar  # what shows no progress needs NumPy alone

        each = Bar(images, desc="prepare", unit="image", delay=1.0)
    for into, image in zip(prepared, each, strict=True):
        into[...] = preparation.apply(image, where)
    return prepared


def to_unit(array: Array, where: str, preparation: Preparation) -> Array:
    """Return values as float32 in [0, 1], C-contiguous.

    uint8 is divided by 255, bool becomes 0 and 1. For the rest `preparation.depth` counts: "8":
    floating point must lie in [0, 1] already, other integers are refused; "auto": uint16 is divided
    by 65535, too; else `preparation.levels` become 0 and 1. Raises DataError, `where` naming the
    file, for any other dtype or range, and for NaN and Inf.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array / np.float32(255))
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array, np.float32)
    kind = array.dtype.kind
    if preparation.levels is not None and kind in "iuf":
        return _scaled(array, where, preparation)
    if preparation.depth == "auto" and array.dtype == np.uint16:
        return np.ascontiguousarray(array / np.float32(65535))
    if kind != "f":
        raise DataError(
            f"{where}: images are {array.dtype} but expected uint8 (0…255) or floating point in "
            "[0, 1]; divide by the largest possible value, 255 for 8 bits, 65535 for 16, or choose "
            "a depth: --depth auto for uint16, --depth 0:4095, say, for a range"
        )
    _require_finite(array, where)
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise DataError(f"{where}: images have {out_of_range(low, high)}")
    return np.ascontiguousarray(array, np.float32)


def _scaled(array: Array, where: str, preparation: Preparation) -> Array:
    """Return (x − low) / (high − low) for the levels of the preparation."""
    assert preparation.levels is not None
    _require_finite(array, where)
    low, high = preparation.levels
    least, most = float(array.min()), float(array.max())
    if least < low or most > high:
        raise DataError(
            f"{where}: images have values from {least:g} to {most:g} but depth "
            f"{preparation.depth} takes values from {low:g} to {high:g}"
        )
    scaled = (array.astype(np.float64) - low) / (high - low)
    return np.ascontiguousarray(scaled, np.float32)


def _require_finite(array: Array, where: str) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        first = tuple(int(i) for i in np.unravel_index(finite.argmin(), array.shape))
        raise DataError(
            f"{where}: {array[first]} at index {first}, the first of {int((~finite).sum())} values "
            "that are NaN or Inf"
        )


def out_of_range(low: float, high: float) -> str:
    """Say that values lie from `low` to `high` and not in [0, 1], and what may be done about it."""
    said = f"values from {low} to {high} but floating point is expected in [0, 1]"
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        advice = "clip with np.clip(x, 0, 1) if the rest is rounding or the overshoot of a resize"
    elif low >= -1 - OVERSHOOT and high <= 1 + OVERSHOOT:
        advice = "scale with (x + 1) / 2 if the values are meant in [-1, 1]"
    elif low >= 0 and high <= 255:
        advice = "scale with x / 255 if the values are grey levels 0…255"
    elif low >= 0 and high <= 65535:
        advice = "scale with x / 65535 if the values are grey levels of 16 bits"
    else:
        advice = "scale with (x - x.min()) / (x.max() - x.min())"
    return f"{said}; {advice}"


def require_channels_last(where: str, shape: tuple[int, ...]) -> None:
    """Raise DataError for a shape (N, C, H, W); `where` names the file or the method.

    An "image" 1 or 3 pixels high with more than 4 channels is taken for one with channels first.
    """
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
        raise DataError(
            f"{where}: images have shape {shape}, which looks like (N, C, H, W) but expected "
            "(N, H, W, C); use x.transpose(0, 2, 3, 1)"
        )


def _with_channels(array: Array, where: str, image_shape: tuple[int, ...] | None) -> Array:
    shape = array.shape
    if array.ndim == 2 and array.size and image_shape is not None:
        if math.prod(image_shape) != shape[1]:
            raise DataError(
                f"{where}: rows have {shape[1]} values but images of image_shape {image_shape} "
                f"have {math.prod(image_shape)}"
            )
        array = array.reshape(-1, *image_shape)
        return array if array.ndim == 4 else array[..., None]
    if array.ndim not in (3, 4) or array.size == 0:
        flat = (
            "; for one image write x[None], for flat ones x.reshape(-1, H, W), image_shape=(H, W) "
            "or --image-shape H,W"
        )
        hint = flat if array.ndim == 2 else ""
        raise DataError(
            f"{where}: images have shape {shape} but expected (N, H, W) or (N, H, W, C), "
            f"not empty{hint}"
        )
    require_channels_last(where, shape)
    return array[..., None] if array.ndim == 3 else array


def _to_labels(array: Array, N: int, where: str) -> tuple[Array, tuple[str, ...] | None]:
    if array.shape != (N,):
        raise DataError(
            f"{where}: labels have shape {array.shape} but expected ({N},), one for each image"
        )
    if array.dtype.kind in "US":
        try:
            text = array.astype(str)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: labels are bytes but no ASCII: {one_line(error)}") from error
        names, labels = np.unique(text, return_inverse=True)
        return labels.astype(np.int64), tuple(str(name) for name in names)
    if array.dtype.kind not in "iub":
        raise DataError(f"{where}: labels are {array.dtype} but expected integers or text")
    labels = array.astype(np.int64)
    if array.dtype.kind == "u" and (labels < 0).any():  # beyond the largest int64
        raise DataError(f"{where}: labels go up to {array.max()} but expected integers below 2**63")
    return labels, None


def _one_of(keys: tuple[str, ...], arrays: dict[str, Array], path: Path) -> str | None:
    found = [key for key in keys if key in arrays]
    if len(found) > 1:
        raise DataError(f"{path}: holds both {' and '.join(found)}; keep one of them")
    return found[0] if found else None


def _read(reader: Callable[[Path], Content], path: Path) -> Content:
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {one_line(error.strerror or error)}") from error
    except ValueError as error:
        raise DataError(str(error)) from error
