"""The user's own images: a folder of image files, a list of them, or one."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from l2ae_core.data.dataset import Dataset
from l2ae_core.data.errors import DataError
from l2ae_core.data.image_file import SUFFIXES, read_image
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.reading import Reading, read_files
from l2ae_core.data.values import AS_THEY_ARE
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array


def load_folder(
    folder: Path,
    preparation: Preparation = AS_THEY_ARE,
    *,
    labels: bool = True,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return the images in `folder` and its sub-folders, sorted by their path in it, prepared.

    `image_files` says which files these are. If every image lies in a sub-folder, the names of the
    first-level sub-folders, sorted, are the classes; otherwise, or with labels=False, there are no
    labels. If all images are grey there is one channel; otherwise three, and grey images are
    repeated on them.

    Raises DataError when there is no image, and for all files together that `read_image` refuses;
    with `skip_unreadable` those are left out that no preparation could make use of, and links to
    nothing. DataError, too, when sizes differ. `progress` shows a bar when it takes longer than a
    second. `notes` says what was left out.

    Bytes of a name that are not UTF-8 stand as "\\xe9" in `sample_names` and `class_names`.
    """
    names = image_names(folder)
    files = [folder / name for name in names]
    found = read_files(files, preparation, progress=progress)
    images = found.stacked(shown(str(folder)), skip_unreadable=skip_unreadable)
    names = [names[i] for i in found.kept]
    file_names = tuple(map(shown, names))
    dataset = Dataset(images, None, shown(folder.name), sample_names=file_names, notes=found.notes)
    return _labelled(dataset, names) if labels else dataset


def first_folder(name: str) -> str | None:
    """Return the first-level sub-folder that a file lies in, None for one beside them."""
    first, inside, _ = name.partition("/")
    return first if inside else None


def stray_note(names: Sequence[str]) -> str | None:
    """Say that images beside the sub-folders are why there are no labels, where that is so."""
    stray = [name for name in names if "/" not in name]
    folders = {first_folder(name) for name in names} - {None}
    if not stray or not folders:
        return None
    one = len(stray) == 1
    what, them = ("lies", "it") if one else ("lie", "them")
    return (
        f"no labels: {counted(len(stray), 'image')} {what} beside the "
        f"{counted(len(folders), 'sub-folder')}, {shown(stray[0])} first; if these are classes, "
        f"move {them} into one of them"
    )


def folder_labels(names: Sequence[str]) -> tuple[Array, tuple[str, ...]] | None:
    """Return labels (N,) int64 and class names: the first-level sub-folders, where all have one."""
    classes = {first_folder(name) for name in names}
    if None in classes:
        return None
    ordered = sorted(filter(None, classes))
    label = {name: i for i, name in enumerate(ordered)}
    labels = np.fromiter((label[name.partition("/")[0]] for name in names), np.int64, len(names))
    return labels, tuple(map(shown, ordered))


def _labelled(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return the images with the first-level sub-folders of their names as classes."""
    if (found := folder_labels(names)) is not None:
        return replace(dataset, labels=found[0], class_names=found[1])
    note = stray_note(names)
    return dataset if note is None else replace(dataset, notes=(*dataset.notes, note))


def load_files(
    paths: Sequence[Path],
    preparation: Preparation = AS_THEY_ARE,
    *,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return the images of the files `paths`, in this order, without labels; as `load_folder`."""
    if not paths:
        raise DataError("data: the list of image files is empty")
    require_images(paths)
    found = read_files(paths, preparation, progress=progress)
    what = counted(len(paths), "file")
    images = found.stacked(what, skip_unreadable=skip_unreadable)
    names = tuple(shown(str(paths[i])) for i in found.kept)
    return Dataset(images, None, what, sample_names=names, notes=found.notes)


def require_images(paths: Sequence[Path]) -> None:
    """Raise DataError, naming it, for a path that is no image by its ending."""
    for path in paths:
        if not is_image(path.name):
            raise DataError(
                f"{path}: ends in {path.suffix!r} but expected one of {' '.join(sorted(SUFFIXES))}"
            )


def load_image(path: Path, preparation: Preparation = AS_THEY_ARE) -> Dataset:
    """Return the data set of the one image in `path`."""
    reading = Reading()
    reading.keep(path, read_image(path, preparation))
    images = reading.stacked(str(path))
    return Dataset(images, None, shown(path.name), sample_names=(shown(path.name),))


def image_files(folder: Path) -> list[Path]:
    """Return the files of `image_names`."""
    return [folder / name for name in image_names(folder)]


def image_names(folder: Path) -> list[str]:
    """Return the paths, in a folder, of the image files in it and its sub-folders, sorted.

    They have "/" between their parts, on every system. Files with another ending than `SUFFIXES`
    and names that begin with "." or "__" are passed over.
    Links to files and folders are followed, but for a link to a folder that it stands in: all that
    is behind it is read already. A link to nothing is among the files, whatever its ending: reading
    it fails. Raises DataError when there is no image, for two paths to one folder, whose images
    would count twice, and for a folder that cannot be listed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    names: list[str] = []
    seen: dict[str, Path] = {}  # real path → the path by which it was reached
    waiting: list[tuple[str, tuple[str, ...]]] = [("", ())]  # sub-folders, as "a/b/"
    while waiting:
        inside, above = waiting.pop()
        here = folder / inside
        real = os.path.realpath(here)
        if real in above:
            continue
        if real in seen:
            raise DataError(
                f"{here}: the same folder as {seen[real]}, so its images would count twice; "
                "remove one of the links"
            )
        seen[real] = here
        for entry, is_folder in _entries(here):
            if is_folder:
                waiting.append((f"{inside}{entry.name}/", (*above, real)))
            elif is_image(entry.name) or not os.path.exists(entry.path):  # noqa: PTH110 - fast
                names.append(f"{inside}{entry.name}")
    if not names:
        raise DataError(f"{folder}: no image in it (looked for {' '.join(sorted(SUFFIXES))})")
    names.sort()
    return names


def is_image(name: str) -> bool:
    """Whether the ending of a file name is one of `SUFFIXES`."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - fast


def are_files(source: Path, dataset: Dataset) -> bool:
    """Whether the images that were read from the path `source` are files, as `paths_of` has them.

    Those of a packed file have names of files, too.
    """
    return dataset.sample_names is not None and (source.is_dir() or is_image(source.name))


def paths_of(source: Path, dataset: Dataset) -> list[Path] | None:
    """Return the files of the images that were read from the path `source`, if it has them.

    DataError for one that is not there any more.
    """
    if dataset.sample_names is None or not are_files(source, dataset):
        return None
    if not source.is_dir():
        return [source]
    there = {shown(name): source / name for name in image_names(source)}
    for name in dataset.sample_names:
        if name not in there:
            raise DataError(f"{source / name}: was read, but is not there any more")
    return [there[name] for name in dataset.sample_names]


def _entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """Yield what is in a folder and not hidden, and whether it is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "__")):
                    link = entry.is_symlink()
                    yield entry, Path(entry.path).is_dir() if link else entry.is_dir()
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error


def shown(name: str) -> str:
    """Return a file name as text that can be encoded."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
