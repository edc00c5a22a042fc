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
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy

from l2ae_core.data.errors import DataError
from l2ae_core.data.image_file import read_image
from l2ae_core.data.image_folder import shown
from l2ae_core.data.preparation import Preparation
from l2ae_core.data.reading import Reading, require_there
from l2ae_core.data.values import AS_THEY_ARE, pieces, unit_values
from l2ae_core.files import sync_folder, write_json
from l2ae_core.progress import Bar
from l2ae_core.readers import one_line, read_json
from l2ae_core.typed_json import from_json, to_json
from l2ae_kernels.arrays import Array

HEADER = 128  # bytes; that of an array with four axes is not longer
EVERY = 5.0  # seconds between two states
STATE, FILES = "state.json", "files.csv"
ANEW = "finish that, or remove this folder to begin anew"
VERSION = 1


@dataclass(frozen=True)
class State:
    """What of an unfinished file is there."""

    source: str  # absolute path of a folder or file; "" for a list of files
    preparation: dict[str, Any]
    version: int = VERSION
    files: int = 0  # that were read
    rows: int = 0  # bytes of files.csv
    images: int = 0
    shape: list[int] = field(default_factory=list)  # (H, W, C)
    dtype: str = "|u1"

    def __post_init__(self) -> None:
        sides = self.shape and (len(self.shape) != 3 or min(self.shape) < 1)
        if min(self.files, self.rows, self.images) < 0 or sides or self.version != VERSION:
            raise ValueError("not the state of a pack that is known here")
        if self.dtype not in ("|u1", "<f4") or (self.images and not self.shape):
            raise ValueError(f"images of {self.dtype} {self.shape}")

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def data(self) -> str:
        """Name of the file with the images."""
        return f"images-{self.dtype.strip('|<')}-{self.shape[2] if self.shape else 1}"


class Packing:
    """Image files on their way into one array.

    `read_all`, then `finish`, which says whether they go in, then `give`.
    """

    def __init__(self, folder: Path, state: State, paths: Sequence[Path], names: Sequence[str]):
        self.folder, self.state, self.paths, self.names = folder, state, paths, names
        self.preparation = Preparation.from_dict(state.preparation)
        self.before = state.files
        self.reading = Reading(store=False)
        self._rows = FileIO(folder / FILES, "r+")
        self._data = FileIO(folder / state.data, "r+")
        self._data.seek(HEADER)

    @classmethod
    def begun(
        cls, target: Path, source: str, preparation: Preparation, paths: Sequence[Path],
        names: Sequence[str],
    ) -> Self:  # fmt: skip
        """Return what an interrupted call for the same left, or a new one, to be closed.

        DataError where it was for something else.
        """
        folder, new = work_folder(target), State(source, preparation.to_dict())
        state = _read_state(folder)
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / FILES).touch()
            (folder / new.data).write_bytes(bytes(HEADER))
            write_json(folder / STATE, to_json(new))
            return cls(folder, new, paths, names)
        for what, has, given in (
            ("of", state.source or "a list of files", source or "a list of files"),
            *((f"with {k}", v, new.preparation[k]) for k, v in state.preparation.items()),
        ):  # fmt: skip
            if has != given:
                raise DataError(f"{folder}: an unfinished pack {what} {has}, not {given}; {ANEW}")
        return cls(folder, state, paths, names)

    def _recall(self) -> None:
        """Take over what was read before; DataError where a file of it has changed."""
        raw = self._rows.read(self.state.rows)
        text = io.StringIO(raw.decode("utf-8", "surrogateescape"), newline="")
        try:
            rows = [(n, [int(size), int(at)], wrong) for n, size, at, wrong in csv.reader(text)]
        except (ValueError, csv.Error) as error:
            raise DataError(f"{self.folder}: damaged: {one_line(error)}; {ANEW}") from error
        images = sum(not wrong for *_, wrong in rows)
        size = HEADER + images * self.state.image_bytes
        if (len(rows), images) != (self.state.files, self.state.images) or (
            Path(self._data.name).stat().st_size < size
        ):
            raise DataError(f"{self.folder}: damaged: files are missing; {ANEW}")
        there = dict(zip(self.names, self.paths, strict=True))
        for i, (name, stamp, wrong) in enumerate(rows):
            if name not in there:
                raise self._another(name, "is not there any more")
            if self.names[i] != name:
                raise self._another(self.names[i], "was not there then")
            if stamp != _stamp(there[name]):
                raise self._another(name, "has changed since")
            if wrong:
                self.reading.fail(DataError(wrong))
            else:
                self.reading.keep(there[name], np.broadcast_to(np.uint8(0), self.state.shape))
        self._rows.truncate(self.state.rows)
        self._data.truncate(size)
        self._data.seek(size)

    def _another(self, name: str, how: str) -> DataError:
        return DataError(f"{self.folder}: an unfinished pack, but {shown(name)} {how}; {ANEW}")

    def read_all(self, progress: bool) -> None:
        """Read the files that were not read yet; what is wrong with them is told by `finish`.

        DataError where one that was read is not what it was.
        """
        self._recall()
        total, saved = len(self.paths), time.monotonic()
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
                f"interrupted after {self.state.files} of {total} files; the same command goes on"
            )
            raise
        finally:
            self._save()

    def _take(self, i: int) -> None:
        """Read one file, and write its pixels, unless there is no use in it any more."""
        path, error = self.paths[i], ""
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
                raw = source.read((piece.stop - piece.start) * old.image_bytes)
                images = np.frombuffer(raw, old.dtype).reshape(-1, *old.shape)
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
        write_json(self.folder / STATE, to_json(self.state))

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

    def give(self, target: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Let the file take the place of `target`; return the shape and dtype of its array."""
        shape, header = (self.state.images, *self.state.shape), io.BytesIO()
        about = {"descr": self.state.dtype, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(header, about)
        assert len(header.getvalue()) == HEADER, "the header has another length"
        self._data.seek(0)
        _write_all(self._data, header.getvalue())
        os.fsync(self._data.fileno())
        self.close()
        data = self.folder / self.state.data
        if target.exists():
            data.chmod(target.stat().st_mode)
        data.replace(target)
        sync_folder(target.parent)
        shutil.rmtree(self.folder)
        return shape, np.dtype(self.state.dtype)

    def close(self) -> None:
        """Close the files; what is there stays for the next call."""
        self._data.close()
        self._rows.close()


def work_folder(target: Path) -> Path:
    """Return where an unfinished file is kept."""
    return target.with_name(f".{target.name}.pack")


def _read_state(folder: Path) -> State | None:
    """Return the state of an unfinished file, None where there is none; DataError for damage."""
    try:
        state = from_json(State, read_json(folder / STATE))
        Preparation.from_dict(state.preparation)
        if not (folder / state.data).exists():
            return None
        if not (folder / FILES).exists():
            raise ValueError(f"{FILES} is missing")
        return state
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise DataError(f"{folder}: damaged: {one_line(error)}; {ANEW}") from error


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


def _write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all bytes, of which the system may take a part at a time."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]
