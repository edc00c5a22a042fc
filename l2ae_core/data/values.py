"""The values of images: what an array of any type becomes as numbers in [0, 1]."""

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.data.file_array import FileArray
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.remembered import remembered
from l2ae_core.images import Images
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

Stored: TypeAlias = Array | FileArray  # values as they are in memory, or in a file

OVERSHOOT = 0.25  # of the range [0, 1]: bicubic and Lanczos filters pass it by less
AS_THEY_ARE = Preparation()
AT_ONCE = 1 << 20  # values that are looked at, or copied, at a time
RANGE = r"\[-?[0-9.e+-]+, -?[0-9.e+-]+\]"  # as JSON has two numbers


def to_images(array: Array, where: str, preparation: Preparation = AS_THEY_ARE) -> Array:
    """Return images (N, H, W, C) float32 in [0, 1] from (N, H, W) or (N, H, W, C), prepared.

    With an `image_shape`, (N, F) are flat images of that shape. Values are scaled as in `to_unit`.
    Raises DataError, `where` naming the file, for other shapes and for what `to_unit` refuses.
    """
    images = np.asarray(with_channels(array, where, preparation.image_shape))
    return prepare_images(to_unit(images, where, preparation), where, preparation)


def prepare_images(
    images: Images, where: str, preparation: Preparation, *, progress: bool = False
) -> Array:
    """Return images (N, H, W, C) float32 in [0, 1] prepared, one by one; DataError as `apply`."""
    if preparation.keeps(images.shape[1:]):
        return np.asarray(images)
    first = preparation.apply(images[0], where)
    prepared = np.empty((len(images), *first.shape), np.float32)
    for piece in pieces(images.shape, "prepare", progress=progress):
        for into, image in zip(prepared[piece], images[piece], strict=True):
            into[...] = preparation.apply(image, where)
    return prepared


def pieces(shape: tuple[int, ...], what: str, *, progress: bool = False) -> Iterator[slice]:
    """Yield slices of N images of shape (N, …), each of few values, one after another.

    `progress` shows a bar on stderr, named by `what`, when all of them take over a second.
    """
    N, step = shape[0], max(1, AT_ONCE // math.prod(shape[1:]))
    slices = (slice(start, min(start + step, N)) for start in range(0, N, step))
    if not progress:
        yield from slices
        return
    from l2ae_core.progress import Bar  # what shows no progress needs NumPy alone

    with Bar(total=N, desc=what, unit="image", delay=1.0) as bar:
        for piece in slices:
            yield piece
            bar.update(piece.stop - piece.start)


def to_unit(array: Array, where: str, preparation: Preparation) -> Array:
    """Return values as float32 in [0, 1], C-contiguous.

    uint8 is divided by 255, bool becomes 0 and 1. For the rest `preparation.depth` counts: "8":
    floating point must lie in [0, 1] already, other integers are refused; "auto": uint16 is divided
    by 65535, too; else `preparation.levels` become 0 and 1. Raises DataError, `where` naming the
    file, for any other dtype or range, and for NaN and Inf.
    """
    check_values(array, where, preparation)
    return unit_values(array, preparation)


def unit_values(array: Array, preparation: Preparation) -> Array:
    """Return values that `check_values` takes as float32 in [0, 1], C-contiguous."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array / np.float32(255))
    if array.dtype != np.bool_ and preparation.levels is not None:
        low, high = preparation.levels
        return np.ascontiguousarray((array.astype(np.float64) - low) / (high - low), np.float32)
    if array.dtype == np.uint16:
        return np.ascontiguousarray(array / np.float32(65535))
    return np.ascontiguousarray(array, np.float32)


def check_values(
    array: Stored, where: str, preparation: Preparation, *, progress: bool = False
) -> None:
    """Raise DataError for values (N, …) that do not become numbers in [0, 1]; see `to_unit`.

    Those of a file are read once, where their type alone does not tell.
    """
    kind, levels = array.dtype.kind, preparation.levels
    if array.dtype in (np.uint8, np.bool_):
        return
    if levels is None and preparation.depth == "auto" and array.dtype == np.uint16:
        return
    if kind != "f" and not (levels is not None and kind in "iu"):
        raise DataError(
            f"{where}: images are {array.dtype} but expected uint8 (0…255) or floating point in "
            "[0, 1]; divide by the largest possible value, 255 for 8 bits, 65535 for 16, or choose "
            "a depth: --depth auto for uint16, --depth 0:4095, say, for a range"
        )
    span = partial(_range, array, where, progress)
    found = remembered(array, "range", {}, RANGE, lambda: json.dumps(span()))
    low, high = (float(value) for value in json.loads(found))
    if levels is None:
        if low < 0 or high > 1:
            raise DataError(f"{where}: images have {out_of_range(low, high)}")
        return
    if kind == "f" and levels[1] >= 255 and low >= 0 and 0 < high <= 1:
        raise DataError(
            f"{where}: images lie in [0, 1] already but depth {preparation.depth} is for "
            f"values from {levels[0]:g} to {levels[1]:g}"
        )
    if low < levels[0] or high > levels[1]:
        raise DataError(
            f"{where}: images have values from {low:g} to {high:g} but depth "
            f"{preparation.depth} takes values from {levels[0]:g} to {levels[1]:g}"
        )


def _range(array: Stored, where: str, progress: bool) -> tuple[float, float]:
    """Return the lowest and the highest value of (N, …), some images at a time.

    DataError where any is NaN or Inf.
    """
    lows, highs, first, bad = [], [], None, 0
    for piece in pieces(array.shape, "check", progress=progress):
        part = array[piece]
        lows.append(part.min())
        highs.append(part.max())
        if part.dtype.kind == "f" and not (np.isfinite(lows[-1]) and np.isfinite(highs[-1])):
            finite = np.isfinite(part)
            bad += int((~finite).sum())
            if first is None:
                i, *rest = (int(i) for i in np.unravel_index(finite.argmin(), part.shape))
                first = (piece.start + i, *rest)
    if first is not None:
        value = array[first[0]][first[1:]]
        of = counted(bad, "value")
        raise DataError(f"{where}: holds NaN or Inf, {of}, the first {value} at index {first}")
    return float(min(lows)), float(max(highs))


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


def with_channels(array: Stored, where: str, image_shape: tuple[int, ...] | None) -> Stored:
    """Return a view (N, H, W, C) of (N, H, W), (N, H, W, C) or, with an image_shape, (N, F).

    DataError for any other shape, and for no image.
    """
    shape = array.shape
    if array.ndim == 2 and array.size and image_shape is not None:
        if math.prod(image_shape) != shape[1]:
            raise DataError(
                f"{where}: rows have {counted(shape[1], 'value')} but images of "
                f"image_shape {image_shape} have {math.prod(image_shape)}"
            )
        return array.reshape(shape[0], *image_shape, *(1,) * (3 - len(image_shape)))
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
    return array.reshape(*shape, 1) if array.ndim == 3 else array
