"""`pack_images`: images of any source as one `.npy` file, written while they are read.

Files are decoded once, and no more than one of them is in memory. `l2ae_core.data.packing` keeps
what is there so far, so that an interrupted call goes on. The numbers are those of the source, by
their digest, too: uint8 where every image has 8 bits a channel and none is changed, else float32.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE
from typing import Any

import numpy as np
from numpy.lib import format as npy

from l2ae_core.data import DATASETS, load
from l2ae_core.data.dataset import Dataset
from l2ae_core.data.errors import DataError
from l2ae_core.data.fetch import expand_user
from l2ae_core.data.image_folder import (
    folder_labels,
    image_names,
    is_image,
    require_images,
    shown,
    stray_note,
)
from l2ae_core.data.packed_names import check_names, write_names
from l2ae_core.data.packing import Packing
from l2ae_core.data.packing_state import ANEW, work_folder
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.stored import StoredImages
from l2ae_core.data.values import pieces
from l2ae_core.files import atomic_file, check_out, writable_target
from l2ae_core.locks import locked
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array


@dataclass(frozen=True)
class Packed:
    """What is in the file that `pack` wrote."""

    shape: tuple[int, ...]  # (N, H, W, C)
    dtype: np.dtype[Any]
    before: int = 0  # files that an interrupted call had read
    notes: tuple[str, ...] = ()  # as those of a `Dataset`

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def pack_images(
    source: Any, out: Path, preparation: Preparation, labels: bool, skip_unreadable: bool,
    progress: bool,
) -> Packed:  # fmt: skip
    """Do what `l2ae_core.data.pack` says."""
    check_out(out, ".npy")
    target = writable_target(out)
    if target.exists() and not target.is_file():
        raise ValueError(f"out: {out} is no regular file")
    if isinstance(source, str | Path) and target.exists():
        images = expand_user(source)
        if images.exists() and images.samefile(target):
            raise ValueError(f"out: {out} is the file of the images: choose another name")
    check_names(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        files = _files(source)
        if files is None:
            if (left := work_folder(target)).exists():
                raise DataError(f"{left}: an unfinished pack of image files; {ANEW}")
            one_array = isinstance(source, str | Path | np.ndarray)
            chosen = preparation.of_values if one_array else preparation
            dataset = load(source, preparation=chosen, labels=labels, progress=progress)
            return _pack_arrays(dataset, target, preparation, progress)
        root, names = files
        one = isinstance(source, str | Path)
        where = shown(str(expand_user(source).absolute())) if one else ""
        with closing(Packing.begun(target, where, preparation, root, names)) as packing:
            packing.read_all(progress)
            found = packing.finish(where or counted(len(names), "file"), skip_unreadable)
            kept, notes = [names[i] for i in found.kept], found.notes
            classes = folder_labels(kept) if labels and _is_folder(source) else None
            if labels and classes is None and _is_folder(source) and (note := stray_note(kept)):
                notes = (*notes, note)
            mode = S_IMODE(target.stat().st_mode) if target.exists() else None
            write_names(target, map(shown, kept), *(classes or ()))
            shape, dtype = packing.give(target, mode)
            return Packed(shape, dtype, packing.before, notes)


def _is_folder(source: Any) -> bool:
    return isinstance(source, str | Path) and expand_user(source).is_dir()


def _files(source: Any) -> tuple[Path, list[str]] | None:
    """Return the image files of a source, as a folder and their names in it; None for others."""
    if isinstance(source, str | Path):
        path = expand_user(source)
        if source in DATASETS:
            return None
        if path.is_dir():
            return path, image_names(path)
        return (path.parent, [path.name]) if is_image(path.name) and path.exists() else None
    one_by_one = isinstance(source, Sequence) and len(source) > 0
    if not one_by_one or not all(isinstance(path, str | Path) for path in source):
        return None
    paths = [expand_user(path) for path in source]
    require_images(paths)
    return Path(), [*map(str, paths)]


def _pack_arrays(
    dataset: Dataset, target: Path, preparation: Preparation, progress: bool
) -> Packed:
    """Write the images of a data set, some at a time."""
    images, where = dataset.images, dataset.name
    first = preparation.apply(images[0], where)
    keeps = preparation.keeps(images.shape[1:])
    bytes_ = keeps and isinstance(images, StoredImages) and images.stored.dtype == np.uint8
    shape, dtype = (len(images), *first.shape), np.dtype(np.uint8 if bytes_ else np.float32)

    def blocks() -> Iterator[Array]:
        for piece in pieces(images.shape, "pack", progress=progress):
            if isinstance(images, StoredImages) and bytes_:
                yield images.as_stored(piece)
            elif keeps:
                yield images[piece]
            else:
                yield np.stack([preparation.apply(image, where) for image in images[piece]])

    with atomic_file(target) as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, header)
        for block in blocks():
            file.write(np.ascontiguousarray(block, dtype).data)
        file.flush()
        os.fsync(file.fileno())  # before the array that is there is removed
        write_names(target, dataset.sample_names, dataset.labels, dataset.class_names)
    return Packed(shape, dtype, 0, dataset.notes)
