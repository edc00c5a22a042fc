"""A folder for each cluster, with copies of its images or links to them."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from l2ae_core.data import Dataset
from l2ae_core.data.fetch import expand_user
from l2ae_core.data.image_folder import are_files, paths_of
from l2ae_core.files import new_folder, require_no_content, writable_target
from l2ae_core.progress import Bar
from l2ae_kernels.arrays import Array

Way: TypeAlias = Literal["copy", "link"]


def check_folders(out: Path, source: str, way: Way) -> None:
    """Raise ValueError or OSError unless `out` can become the folder of all clusters.

    It is empty or not there yet, and not in the folder of the images. Call it before the work.
    """
    name = f"{way}_to"
    require_no_content(out, name)
    images = Path(os.path.realpath(expand_user(source)))
    if images.is_dir() and Path(os.path.realpath(out)).is_relative_to(images):
        raise ValueError(f"{name}: {out} lies in {source}, which would have its images twice then")
    writable_target(out / "name")


def write_folders(
    out: Path, dataset: Dataset, labels: Array, n_clusters: int, source: str, way: Way,
    *, progress: bool = False,
) -> int:  # fmt: skip
    """Copy or link the images of clusters labels (N,) to out/cluster-00 … and return how many.

    Files keep their names, and those in sub-folders of the images lose the folder where that is
    enough to tell them apart, as one/a.png and two/a.png of one cluster are not: these become
    one__a.png and two__a.png. Images of arrays are written as PNG by their index.
    `out` is all there or not there. Raises what `check_folders` raises, ValueError for links to
    images that are no files, and OSError.
    """
    check_folders(out, source, way)
    root = expand_user(source)
    files = paths_of(root, dataset)
    if way == "link":
        require_files(source, dataset)
    parts = [_parts(file, root) for file in files] if files is not None else None
    with _new_folder(out) as folder:
        digits = max(2, len(str(n_clusters - 1)))
        bar = Bar(total=len(labels), desc=way, unit="image", delay=1.0, disable=not progress)
        with bar:
            for k in range(n_clusters):
                target = folder / f"cluster-{k:0{digits}}"
                target.mkdir()
                members = np.flatnonzero(labels == k).tolist()
                names = None if parts is None else flat_names([parts[i] for i in members])
                for n, i in enumerate(members):
                    if files is None or names is None:
                        width = len(str(len(labels) - 1))
                        _write_png(target / f"{i:0{width}}.png", dataset.images[i])
                    elif way == "copy":
                        shutil.copy2(files[i], target / names[n])
                    else:
                        (target / names[n]).symlink_to(files[i].absolute())
                    bar.update()
    return len(labels)


def require_files(source: str, dataset: Dataset) -> None:
    """Raise ValueError, before the work, where links are asked for to images that are no files."""
    if not are_files(expand_user(source), dataset):
        raise ValueError(f"link_to: the images of {dataset.name} are no files; copy_to writes them")


def flat_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Return different file names for the parts of paths, also where case does not count."""
    last = Counter(parts[-1].casefold() for parts in paths)
    names: list[str] = []
    taken: set[str] = {name for name, count in last.items() if count == 1}
    for parts in paths:
        name = parts[-1]
        if last[name.casefold()] > 1:
            stem, suffix = os.path.splitext("__".join(parts))  # noqa: PTH122 - no path
            name, n = f"{stem}{suffix}", 2
            while name.casefold() in taken:
                name, n = f"{stem}-{n}{suffix}", n + 1
            taken.add(name.casefold())
        names.append(name)
    return names


def _parts(file: Path, root: Path) -> tuple[str, ...]:
    return file.relative_to(root).parts if file != root else (file.name,)


def _write_png(path: Path, image: Array) -> None:
    grey = image if image.shape[2] in (1, 3) else image.mean(axis=2, keepdims=True)
    pixels = np.rint(255 * grey).astype(np.uint8)
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """The same as `new_folder`, which an interruption says."""
    try:
        with new_folder(out) as folder:
            yield folder
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"interrupted; nothing was written to {out}")
        raise
