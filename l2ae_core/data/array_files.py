"""The user's own arrays: `.npy` with images, `.npz` with images and perhaps labels."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from l2ae_core.array_readers import read_npy, read_npz
from l2ae_core.data.dataset import Dataset
from l2ae_core.data.errors import DataError
from l2ae_core.data.file_array import FileArray
from l2ae_core.data.packed_names import PackedNames
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.stored import store
from l2ae_core.data.values import AS_THEY_ARE, Stored
from l2ae_core.readers import one_line
from l2ae_kernels.arrays import Array

IMAGE_KEYS = ("images", "x", "X", "arr_0")  # arr_0 and arr_1: np.savez(file, images, labels)
MUCH = 1 << 29  # bytes of images in memory that are told of
LABEL_KEYS = ("labels", "y", "arr_1")

Content = TypeVar("Content")


def load_npy(
    path: Path, preparation: Preparation = AS_THEY_ARE, *, progress: bool = False
) -> Dataset:
    """Return the images in a `.npy` file; see `l2ae_core.data.to_images` for what it may hold.

    File names and labels are those that `l2ae pack` wrote beside it, where it did. The images stay
    in the file (`FileArray`), and a batch is read when it is asked for; in memory are those that
    the preparation changes, which `l2ae pack` would write once, and those in Fortran order.
    """
    array: Stored | None = _read(FileArray.open, path)
    if array is None:
        array = _read(read_npy, path)
    names = PackedNames()
    if array.ndim:  # before the images are prepared, which may take long
        names = PackedNames.read(path, array.shape[0], progress=progress)
    images = store(array, str(path), preparation, progress=progress)
    notes: tuple[str, ...] = ()
    if isinstance(array, FileArray) and isinstance(images, np.ndarray) and images.nbytes > MUCH:
        notes = (
            f"{images.nbytes / 1e9:.1f} GB of prepared images are in memory; `l2ae pack` with the "
            "same options writes them to a file once, from which they are read",
        )
    return Dataset(images, names.labels, path.name, names.class_names, names.sample_names, notes)


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
    images = store(arrays[images_key], f"{path}[{images_key!r}]", preparation)
    if labels_key is None:
        return Dataset(images, None, path.name)
    labels, class_names = _to_labels(arrays[labels_key], len(images), f"{path}[{labels_key!r}]")
    return Dataset(images, labels, path.name, class_names=class_names)


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
