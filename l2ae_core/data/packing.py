"""`Packing`: image files that are read into one array on disk, and gone on with after a kill.

The folder `.images.npy.pack` beside `images.npy` holds

    images-u1-1    room for the header, then the images so far, of this type and with so many
                   channels; when the first image in colour, or of more than 8 bits, comes, those
                   before it are written anew
    files.csv      a row for each file so far: name, size, mtime_ns, what is wrong with it
    state.json     how much of both counts: what is behind it is cut off

Every few seconds both files are put on the disk, then the state. So whatever kills the process, the
state is true, and the next one goes on from there.
"""

import csv
import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy

from l2ae_core.data.errors import DataError
from l2ae_core.data.image_file import read_image
from l2ae_core.data.image_folder import shown
from l2ae_core.data.packing_state import (
    ANEW,
    FILES,
    HEADER,
    STATE,
    State,
    read_state,
    work_folder,
)
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.reading import Reading, require_there
from l2ae_core.data.values import AS_THEY_ARE, pieces, unit_values
from l2ae_core.files import sync_folder
from l2ae_core.progress import Bar
from l2ae_core.readers import one_line
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

EVERY = 5.0  # seconds between two states


class Packing:
    """Image files on their way into one array.

    `read_all`, then `finish`, which says whether they go in, then `give`.
    """

    def __init__(self, folder: Path, state: State, root: Path, names: Sequence[str]):
        self.folder, self.state, self.root, self.names = folder, state, root, names
        self.preparation = Preparation.from_dict(state.preparation)
        self.before = state.files
        self.reading = Reading(store=False)
        self._rows = FileIO(folder / FILES, "r+")
        self._data = FileIO(folder / state.data, "r+")
        self._data.seek(HEADER)

    @classmethod
    def begun(
        cls, target: Path, source: str, preparation: Preparation, root: Path, names: Sequence[str]
    ) -> Self:
        """Return what an interrupted call for the same left, or a new one, to be closed.

        The files are root / name of all names, of which nothing else is kept in memory. DataError
        where it was for something else.
        """
        folder, new = work_folder(target), State(source, preparation.to_dict())
        state = read_state(folder)
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / FILES).touch()
            (folder / new.data).write_bytes(bytes(HEADER))
            new.write(folder)
            return cls(folder, new, root, names)
        for what, has, given in (
            ("of", state.source or "a list of files", source or "a list of files"),
            *((f"with {k}", v, new.preparation[k]) for k, v in state.preparation.items()),
        ):  # fmt: skip
            if has != given:
                told = one_line(f"an unfinished pack {what} {has}, not {given}")
                raise DataError(f"{folder / STATE}: {told}; {ANEW}")
        return cls(folder, state, root, names)

    def _recall(self) -> None:
        """Take over what was read before; DataError where a file of it has changed."""
        size = HEADER + self.state.images * self.state.image_bytes
        for file, expected in (self._rows, self.state.rows), (self._data, size):
            if os.fstat(file.fileno()).st_size < expected:
                raise self._damaged("other files than the state")
            file.truncate(expected)
        self._data.seek(size)
        images = np.broadcast_to(np.uint8(0), self.state.shape)
        for name, stamp, wrong in self._then():
            path = self._same(self.reading.total, name, stamp)
            if wrong:
                self.reading.fail(DataError(wrong))
            else:
                self.reading.keep(path, images)
        if (self.reading.total, len(self.reading.kept)) != (self.state.files, self.state.images):
            raise self._damaged("other files than the state")
        self._rows.seek(0, os.SEEK_END)

    def _then(self) -> Iterator[tuple[str, list[int], str]]:
        """Yield name, size and time of each file that was read, and what is wrong with it."""
        text = (self.folder / FILES).open(encoding="utf-8", errors="surrogateescape", newline="")
        with text:
            try:
                for name, size, modified, wrong in csv.reader(text):
                    yield name, [int(size), int(modified)], wrong
            except (ValueError, csv.Error) as error:
                raise self._damaged(one_line(error)) from error

    def _same(self, i: int, name: str, stamp: list[int]) -> Path:
        """Return the i-th file; DataError where that is not what was read then."""
        if i >= len(self.names) or self.names[i] != name:
            if i < len(self.names) and name in self.names:
                raise self._another(self.names[i], "was not there then")
            raise self._another(name, "is not there any more")
        path = self.root / name
        if stamp != _stamp(path):
            raise self._another(name, "has changed since")
        return path

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self._rows.name}: damaged: {how}; {ANEW}")

    def _another(self, name: str, how: str) -> DataError:
        file = one_line(shown(name))
        return DataError(f"{self._rows.name}: an unfinished pack, but {file} {how}; {ANEW}")

    def read_all(self, progress: bool) -> None:
        """Read the files that were not read yet; what is wrong with them is told by `finish`.

        DataError where one that was read is not what it was.
        """
        self._recall()
        total, saved = len(self.names), time.monotonic()
        bar = Bar(total=total, initial=self.before, desc="images", unit="image", delay=1.0,
                  disable=not progress)  # fmt: skip
        try:
            with bar:
                for i in range(self.before, total):
                    self._take(i)
                    if time.monotonic() - saved > EVERY:
                        self._save()
                        saved = time.monotonic()
                    bar.update()
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(
                f"interrupted after {self.state.files:,} of {counted(total, 'file')}; the same "
                "command goes on"
            )
            raise
        finally:
            self._save()

    def _take(self, i: int) -> None:
        """Read one file, and write its pixels, unless there is no use in it any more."""
        path, error = self.root / self.names[i], ""
        stamp = _stamp(path)
        try:
            require_there(path)
            pixels = read_image(path, self.preparation)
        except DataError as refused:
            self.reading.fail(refused)
            error = str(refused)
        else:
            self.reading.keep(path, pixels)
        if self.reading.refused:
            return
        state = self.state if error else self._write(pixels)
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow([self.names[i], *stamp, error])
        row = text.getvalue().encode("utf-8", "surrogateescape")
        _write_all(self._rows, row)
        self.state = replace(state, files=state.files + 1, rows=state.rows + len(row))

    def _write(self, pixels: Array) -> State:
        """Write the pixels (H, W, C) of an image behind those before; return the state then."""
        shape, dtype = list(pixels.shape), "|u1" if pixels.dtype == np.uint8 else "<f4"
        if self.state.images:
            shape[2] = max(shape[2], self.state.shape[2])
            dtype = max(dtype, self.state.dtype, key=lambda name: np.dtype(name).itemsize)
        if (shape, dtype) != (self.state.shape, self.state.dtype):
            self._convert(replace(self.state, shape=shape, dtype=dtype))
        _write_all(self._data, _as(pixels[None], self.state).data)
        return replace(self.state, images=self.state.images + 1)

    def _convert(self, new: State) -> None:
        """Write the images that are there as others are; the old file is there until the new is."""
        old, source = self.state, self._data
        if new.data == old.data:  # there is no image yet
            self.state = new
            return
        self._save()
        with FileIO(self.folder / new.data, "w") as file:
            _write_all(file, bytes(HEADER))
            source.seek(HEADER)
            for piece in pieces((old.images, *old.shape), "convert"):
                images = np.empty((piece.stop - piece.start, *old.shape), old.dtype)
                _read_all(source, images.data)
                _write_all(file, _as(images, new).data)
        self._data = FileIO(self.folder / new.data, "r+")
        self._data.seek(0, os.SEEK_END)
        self.state = new
        self._save()
        source.close()
        (self.folder / old.data).unlink()

    def _save(self) -> None:
        """Put on the disk what was written, then the state that says so."""
        os.fsync(self._data.fileno())
        os.fsync(self._rows.fileno())
        self.state.write(self.folder)

    def finish(self, where: str, skip_unreadable: bool) -> Reading:
        """Return what reading all files gave; DataError, as `load`, where they do not go in.

        What was read is kept for a call with `skip_unreadable`, if that would help.
        """
        try:
            self.reading.one_shape(where, skip_unreadable=skip_unreadable)
        except DataError:
            if self.reading.refused or not self.reading.kept:
                self.close()
                shutil.rmtree(self.folder)
            raise
        return self.reading

    def give(self, target: Path, mode: int | None) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Let the file take the name `target`, with a mode; return shape and dtype of its array."""
        shape, header = (self.state.images, *self.state.shape), io.BytesIO()
        about = {"descr": self.state.dtype, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(header, about)
        assert len(header.getvalue()) == HEADER, "the header has another length"
        self._data.seek(0)
        _write_all(self._data, header.getvalue())
        os.fsync(self._data.fileno())
        self.close()
        data = self.folder / self.state.data
        if mode is not None:
            data.chmod(mode)
        data.replace(target)
        sync_folder(target.parent)
        shutil.rmtree(self.folder)
        return shape, np.dtype(self.state.dtype)

    def close(self) -> None:
        """Close the files; what is there stays for the next call."""
        self._data.close()
        self._rows.close()


def _stamp(path: Path) -> list[int]:
    """Return size and time of a file, by which it is known again."""
    try:
        status = path.stat()
    except OSError:
        return [-1, 0]
    return [status.st_size, status.st_mtime_ns]


def _as(images: Array, state: State) -> Array:
    """Return images (n, H, W, C) with the type and the channels of a state."""
    if state.dtype == "<f4":
        images = unit_values(images, AS_THEY_ARE)
    if images.shape[3] != state.shape[2]:
        images = np.repeat(images, state.shape[2], axis=3)
    return np.ascontiguousarray(images, state.dtype)


def _read_all(file: FileIO, into: memoryview) -> None:
    """Fill `into` with the next bytes, which are there; the system may give a part at a time."""
    rest = into.cast("B")
    while rest:
        count = file.readinto(rest)
        assert count, "the file is shorter than it was"
        rest = rest[count:]


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all bytes, of which the system may take a part at a time."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]
