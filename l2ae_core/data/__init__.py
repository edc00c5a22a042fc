"""Data sets: the embedded digits, MNIST, USPS, and the user's own arrays and images.

Pillow, and what downloads files, are imported by the first call that needs them: `to_images` takes
arrays with NumPy alone.
"""

from pathlib import Path
from typing import get_args

from l2ae_core.data.array_files import load_npy, load_npz, to_images
from l2ae_core.data.dataset import DataError, Dataset, Split

__all__ = ["DATASETS", "DataError", "Dataset", "Split", "load", "to_images"]

DATASETS = ("digits", "mnist", "usps")


def load(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    split: Split = "all",
    progress: bool = True,
) -> Dataset:
    """Return a data set by name (`DATASETS`), or the user's own by path.

    A path is a `.npy` or `.npz` file, a folder of images, or one image file; a `Path`, or text like
    "./mnist", is never taken for a name. MNIST and USPS are read from `data_dir`, else from the
    folder in the environment variable L2AE_DATA, else from the cache or the network; the folder
    holds the files themselves or in sub-folders `mnist` and `usps`, with or without `.gz`.

    split  "train" or "test" part, or "all", train first. MNIST: 60,000 + 10,000; USPS: 7,291 +
           2,007; digits: every fifth sample of each digit is "test". A path has "all" only.
    progress  show a bar on stderr while many image files are read.

    Raises DataError (a ValueError) that names the file and what is wrong with it.
    """
    if split not in get_args(Split):
        raise ValueError(f"load: split is {split!r} but expected one of {get_args(Split)}")
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return _load_named(name_or_path, None if data_dir is None else Path(data_dir), split)
    if split != "all":
        raise ValueError(
            f"load: split is {split!r} but {name_or_path} is a path, which has no split; "
            "keep train and test in two files or folders"
        )
    from l2ae_core.data.fetch import expand_user

    return _load_path(expand_user(name_or_path), progress)


def _load_named(name: str, folder: Path | None, split: Split) -> Dataset:
    from l2ae_core.data import digits, mnist, usps

    load = {"digits": digits.load_digits, "mnist": mnist.load_mnist, "usps": usps.load_usps}
    return load[name](folder, split)


def _load_path(path: Path, progress: bool) -> Dataset:
    from l2ae_core.data.image_file import SUFFIXES
    from l2ae_core.data.image_folder import load_folder, load_image

    suffix = path.suffix.lower()
    if path.is_dir():
        return load_folder(path, progress=progress)
    if not path.exists():
        raise DataError(
            f"load: {path} is neither the name of a data set ({', '.join(DATASETS)}) "
            "nor a file or folder that exists"
        )
    if suffix == ".npy":
        return load_npy(path)
    if suffix == ".npz":
        return load_npz(path)
    if suffix in SUFFIXES:
        return load_image(path)
    raise DataError(
        f"load: {path} ends in {suffix!r} but expected .npy, .npz, an image or a folder of images"
    )
