"""The user's own images: a folder of image files, or one file."""

import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from l2ae_core.data.dataset import DataError, Dataset
from l2ae_core.data.image_file import SUFFIXES, read_image
from l2ae_kernels.arrays import Array


def load_folder(folder: Path, *, progress: bool = True) -> Dataset:
    """Return the images in `folder` and its sub-folders, sorted by their path in it.

    Files with another ending than `SUFFIXES` and names that begin with "." or "__" are passed over.
    Links to files and folders are followed, but for a link to a folder that it stands in: all that
    is behind it is read already. Two paths to one folder, whose images would count twice, and links
    to nothing are errors, as are folders that cannot be listed. If every image lies
    in a sub-folder, the names of the first-level sub-folders, sorted, are the classes; otherwise
    there are no labels. If all images are grey there is one channel; otherwise three, and grey
    images are repeated on them. Raises DataError as `read_image`, when there is no image, and when
    sizes differ, naming two files. `progress` shows a bar when it takes longer than a second.

    Bytes of a name that are not UTF-8 stand as "\\xe9" in `sample_names` and `class_names`.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    names = sorted(path.relative_to(folder).as_posix() for path in _image_files(folder))
    if not names:
        raise DataError(f"{folder}: no image in it (looked for {' '.join(sorted(SUFFIXES))})")
    images = _stack([folder / name for name in names], progress)
    classes = [name.split("/")[0] if "/" in name else None for name in names]
    labels, class_names = None, None
    if None not in classes:
        unique, inverse = np.unique(np.array(classes, dtype=str), return_inverse=True)
        labels, class_names = inverse.astype(np.int64), tuple(map(_shown, unique))
    return Dataset(images, labels, _shown(folder.name), class_names, tuple(map(_shown, names)))


def load_image(path: Path) -> Dataset:
    """Return the data set of the one image in `path`."""
    return Dataset(_stack([path]), None, _shown(path.name), sample_names=(_shown(path.name),))


def _image_files(folder: Path) -> list[Path]:
    files: list[Path] = []
    seen: dict[str, Path] = {}  # real path → the path by which it was reached
    waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, ())]
    while waiting:
        here, above = waiting.pop()
        real = os.path.realpath(here)
        if real in above:
            continue
        if real in seen:
            raise DataError(
                f"{here}: the same folder as {seen[real]}, so its images would count twice; "
                "remove one of the links"
            )
        seen[real] = here
        for path, is_folder in _entries(here):
            if is_folder:
                waiting.append((path, (*above, real)))
            elif path.suffix.lower() in SUFFIXES:
                files.append(path)
    return files


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """Return what is in a folder and not hidden, and whether it is a folder itself."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith((".", "__"))]  # noqa: PTH208
        paths = [folder / name for name in names]
        missing = [path for path in paths if not path.exists()]
        found = [(path, path.is_dir()) for path in paths]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error
    if missing:
        raise DataError(f"{min(missing)}: a link that leads nowhere; remove it or mend it")
    return found


def _shown(name: str) -> str:
    """Return a file name as text that can be encoded."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _stack(paths: list[Path], progress: bool = False) -> Array:
    """Return the images (N, H, W, C) float32 in [0, 1] of files that must be of one size."""
    pixels: list[Array] = []
    for path in tqdm(paths, desc="images", unit="image", delay=1.0, disable=not progress):
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
