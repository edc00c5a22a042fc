"""`images.npy.csv`: the file names and labels of the images in `images.npy`, beside it.

    file,label,class
    birds/a.png,0,birds
    cats/b.png,1,cats

A row an image, in their order, in UTF-8. `label` is an integer and `class` its name; columns for
what the images do not have are left out.
"""

import csv
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.files import atomic_file, check_out
from l2ae_core.readers import one_line, open_file
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

COLUMNS = ("file", "label", "class")
_INTEGER = re.compile("-?[0-9]{1,19}")


class Names(Sequence[str]):
    """N names as one text: each takes its bytes in UTF-8 and 8 more, a str of Python about 60.

    A slice is a list of some of them. Equal to any sequence of equal names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._text, ends = bytearray(), array("q", [0])
        for name in names:
            self._text += name.encode()
            ends.append(len(self._text))
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(len(self))[index]
        return self._name(found) if isinstance(found, int) else [*map(self._name, found)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names({self[:3]}{' …' if len(self) > 3 else ''})"

    def _name(self, i: int) -> str:
        return self._text[self._ends[i] : self._ends[i + 1]].decode()


@dataclass(frozen=True, eq=False)
class PackedNames:
    """What a `Dataset` has beside its images: sample_names, labels and class_names."""

    sample_names: Sequence[str] | None = None
    labels: Array | None = None
    class_names: tuple[str, ...] | None = None

    @classmethod
    def read(cls, path: Path, N: int, *, progress: bool = False) -> "PackedNames":
        """Return what stands beside `path` for its N images: nothing, where there is no file.

        Raises DataError, naming the file, where it cannot be read, has other columns or another
        number of rows, and for labels that are no integers or, with a class, not 0, 1, 2 …
        """
        where = names_file(path)
        if not where.exists():
            return cls()
        try:
            with open_file(where) as file, _text(file) as text:
                rows: Iterator[list[str]] = csv.reader(text, strict=True)
                columns = _columns(next(rows, []))
                if progress:
                    from l2ae_core.progress import Bar  # what shows no bar needs NumPy alone

                    rows = Bar(rows, desc="names", unit="image", total=N, delay=1.0)
                return cls._of(columns, rows, N)
        except OSError as error:
            told = one_line(error.strerror or error)
            raise DataError(f"{where}: cannot be read: {told}") from error
        except (ValueError, csv.Error) as error:
            raise DataError(
                f"{where}: does not go with {path.name}: {one_line(error)}; remove it, or write "
                "both by l2ae pack again"
            ) from error

    @classmethod
    def _of(cls, columns: dict[str, int], rows: Iterable[list[str]], N: int) -> "PackedNames":
        """Return what N rows say; `columns` says where in a row each of them is."""
        labels = array("q")
        classes: dict[int, str] = {}
        file, label, name = (columns.get(column) for column in COLUMNS)

        def names() -> Iterator[str]:
            count = 0
            for count, row in enumerate(rows, start=1):
                if count > N:
                    raise ValueError(f"more rows than {counted(N, 'image')}")
                if len(row) != len(columns):
                    has = counted(len(row), "value")
                    raise ValueError(f"row {count} has {has} but expected {len(columns)}")
                if label is not None:
                    k = _label(row[label])
                    labels.append(k)
                    if name is not None and classes.setdefault(k, row[name]) != row[name]:
                        raise ValueError(f"label {k} is {classes[k]!r} and {row[name]!r}")
                yield "" if file is None else row[file]
            if count < N:
                raise ValueError(f"{counted(count, 'row')} but {counted(N, 'image')}")

        each = names()
        found = None if file is None else Names(each)
        for _ in each:  # where there are labels alone
            pass
        if sorted(classes) != list(range(len(classes))):
            raise ValueError("labels with a class are not 0, 1, 2 …")
        return cls(
            found,
            None if label is None else np.array(labels, np.int64),
            None if name is None else tuple(classes[k] for k in range(len(classes))),
        )


def write_names(
    path: Path,
    names: Iterable[str] | None,
    labels: Array | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write the names of the images that `path` is about to get, atomically, or remove the file.

    The array that is there is removed when the names are on the disk, before they take their place:
    names never stand beside images that they do not belong to, whatever ends the process.
    """
    columns: dict[str, Iterator[object]] = {}
    if names is not None:
        columns["file"] = iter(names)
    if labels is not None:
        columns["label"] = (int(label) for label in labels)
        if class_names is not None:
            columns["class"] = (class_names[label] for label in labels)
    where = names_file(path)
    if not columns:
        if where.exists():
            path.unlink(missing_ok=True)
            where.unlink()
        return
    with atomic_file(where) as file:
        text = _text(file)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        text.detach()
        file.flush()
        os.fsync(file.fileno())  # a disk that is full says so while the array is there
        path.unlink(missing_ok=True)


def check_names(path: Path) -> None:
    """Raise ValueError or OSError unless the names of images can be written beside `path`.

    A file with other content, such as a table of scores, is not written over.
    """
    where = names_file(path)
    check_out(where)
    if not where.exists():
        return
    try:
        with open_file(where) as file, _text(file) as text:
            _columns(next(csv.reader(text, strict=True), []))
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"out: {where}, where the names of the images go, has other content: "
            f"{one_line(error)}; remove it, or choose another name"
        ) from error


def names_file(path: Path) -> Path:
    """Return the path of the names beside a `.npy` file, or beside that which it is a link to."""
    file = Path(os.path.realpath(path)) if path.is_symlink() else path
    return file.with_name(f"{file.name}.csv")


def _text(file: BinaryIO) -> TextIOWrapper:
    return TextIOWrapper(file, encoding="utf-8", newline="")


def _columns(header: list[str]) -> dict[str, int]:
    """Return the position of each column; ValueError for others than COLUMNS."""
    if not header or header != [name for name in COLUMNS if name in header]:
        raise ValueError(f"columns {header} but expected some of {[*COLUMNS]}, in this order")
    if "class" in header and "label" not in header:
        raise ValueError("a column class but no label")
    return {name: i for i, name in enumerate(header)}


def _label(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"label {text!r} but expected an integer of 64 bits")
    return int(text)
