"""Data sets: the embedded digits, MNIST, USPS, and the user's own arrays and images.

Pillow, and what downloads files, are imported by the first call that needs them: `to_images` takes
arrays with NumPy alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from l2ae_core.data.array_files import load_npy, load_npz
from l2ae_core.data.chunked import dask_npy
from l2ae_core.data.dataset import Dataset, Split
from l2ae_core.data.errors import DataError
from l2ae_core.data.in_memory import stack_images
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.stored import StoredImages, prepared, store
from l2ae_core.data.values import AS_THEY_ARE, to_images
from l2ae_kernels.arrays import Array

if TYPE_CHECKING:
    from l2ae_core.data.packed_file import Packed

__all__ = ["DATASETS", "DataError", "Dataset", "Preparation", "Source", "Split",
           "StoredImages", "dask_npy", "load", "pack", "to_images"]  # fmt: skip

Source: TypeAlias = str | Path | Sequence[Any] | Array
IN_MEMORY = "array"  # the name of a data set that came from no file
DATASETS = ("digits", "mnist", "usps")


def load(
    source: Source,
    *,
    data_dir: str | Path | None = None,
    split: Split = "all",
    preparation: Preparation = AS_THEY_ARE,
    labels: bool = True,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return a data set by name (`DATASETS`), or the user's own: by path, as files or as an array.

    A path is a `.npy` or `.npz` file, a folder of images, or one image file; a `Path`, or text like
    "./mnist", is never taken for a name. A list of paths, or another iterable, are image files, in
    this order; one of images of Pillow or of arrays (H, W), (H, W, C) are these. An array is
    (N, H, W), (N, H, W, C) or, with an image_shape of the preparation, (N, F).

    MNIST and USPS are read from `data_dir`, else from the folder in the environment variable
    L2AE_DATA, else from the cache or the network; the folder holds the files themselves or in
    sub-folders `mnist` and `usps`, with or without `.gz`.

    split        "train" or "test" part, or "all", train first. MNIST: 60,000 + 10,000; USPS:
                 7,291 + 2,007; digits: every fifth sample of each digit is "test". What is not
                 named has "all" only.
    preparation  what is done to every image: the same pixels give the same numbers from a folder,
                 a file and an array.
    labels       False: none, also where sub-folders or arrays have some.
    skip_unreadable  leave out image files that cannot be read; `notes` says which.
    progress     show a bar on stderr while many image files are read, or files downloaded.

    Raises DataError (a ValueError) that names the file and what is wrong with it.
    """
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r} but expected one of {get_args(Split)}")
    source = _listed("load", source)
    if isinstance(source, str) and source in DATASETS:
        found = _load_named(source, None if data_dir is None else Path(data_dir), split, progress)
        images = prepared(found.images, source, preparation, progress=progress)
        found = found if images is found.images else replace(found, images=images)
    elif split != "all":
        what = f"{source} is a path" if isinstance(source, str | Path) else "these are own images"
        raise ValueError(
            f"split is {split!r} but {what} without a split; "
            "keep train and test in two files or folders"
        )
    elif isinstance(source, np.ndarray):
        images = store(source, IN_MEMORY, preparation, progress=progress)
        found = Dataset(images, None, IN_MEMORY)
    elif isinstance(source, str | Path) or all(isinstance(path, str | Path) for path in source):
        found = _load_own(source, preparation, labels, skip_unreadable, progress)
    else:
        found = Dataset(stack_images(source, preparation), None, IN_MEMORY)
    return found if labels else replace(found, labels=None, class_names=None)


def pack(
    source: Source,
    out: str | Path,
    *,
    preparation: Preparation = AS_THEY_ARE,
    labels: bool = True,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> "Packed":
    """Write the images that `load` would return to the `.npy` file `out`, prepared.

    `load(out)` returns equal numbers, file names and labels, with the same preparation, too, and
    reads a batch when it is asked for. Names and labels are in `out` with ".csv" behind it.

    Image files are read one after another, never all into memory, and `out` is written at the end,
    at once. A call that is interrupted, or killed, leaves the folder ".NAME.pack" beside `out`,
    with which the next one goes on where it stopped; arrays begin anew. Arguments as those of
    `load`.

    Raises DataError as `load`; where an unfinished call had another source or preparation, or a
    file that it read has changed; ValueError and OSError, before the work, for an `out` that
    cannot be written, and BlockingIOError while another process writes it.
    """
    from l2ae_core.data.packed_file import pack_images

    source = _listed("pack", source)
    return pack_images(source, Path(out), preparation, labels, skip_unreadable, progress)


def _listed(function: str, source: Any) -> Any:
    """Return a source that can be looked at twice: `folder.glob("*.png")` as a list."""
    if isinstance(source, str | Path | np.ndarray | Sequence):
        return source
    if isinstance(source, Iterable):
        return list(source)
    raise DataError(
        f"{function}: source is {type(source).__name__} but expected a path, an array, or a list "
        "of files, images or arrays"
    )


def _load_named(name: str, folder: Path | None, split: Split, progress: bool) -> Dataset:
    from l2ae_core.data import digits, mnist, usps

    if name == "digits":
        return digits.load_digits(folder, split)
    load = {"mnist": mnist.load_mnist, "usps": usps.load_usps}
    return load[name](folder, split, progress)


def _load_own(
    source: str | Path | Sequence[str | Path], preparation: Preparation, labels: bool,
    skip_unreadable: bool, progress: bool,
) -> Dataset:  # fmt: skip
    """Return the images of a path, or of a sequence of paths."""
    from l2ae_core.data.fetch import expand_user
    from l2ae_core.data.image_file import SUFFIXES
    from l2ae_core.data.image_folder import load_files, load_folder, load_image

    if not isinstance(source, str | Path):
        paths = [expand_user(path) for path in source]
        return load_files(paths, preparation, skip_unreadable=skip_unreadable, progress=progress)
    if not str(source):
        raise DataError("data: the path is empty")
    path = expand_user(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        return load_folder(
            path, preparation, labels=labels, skip_unreadable=skip_unreadable, progress=progress
        )
    if not path.exists():
        raise DataError(
            f"{path} is neither the name of a data set ({', '.join(DATASETS)}) "
            "nor a file or folder that exists"
        )
    if suffix == ".npy":
        return load_npy(path, preparation, progress=progress)
    if suffix == ".npz":
        return load_npz(path, preparation)
    if suffix in SUFFIXES:
        return load_image(path, preparation)
    raise DataError(
        f"{path} ends in {suffix!r} but expected .npy, .npz, an image or a folder of images"
    )
