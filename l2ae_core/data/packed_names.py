"""`images.npy.csv`: the file names and labels of the images in `images.npy`, beside it.

    file,label,class
    birds/a.png,0,birds
    cats/b.png,1,cats

A row an image, in their order, in UTF-8. `label` is an integer and `class` its name; columns for
what the images do not have are left out.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import numpy as np

from l2ae_core.data.errors import DataError
from l2ae_core.files import atomic_file
from l2ae_core.readers import one_line, open_file
from l2ae_kernels.arrays import Array

COLUMNS = ("file", "label", "class")


@dataclass(frozen=True, eq=False)
class PackedNames:
    """What a `Dataset` has beside its images: sample_names, labels and class_names."""

    sample_names: tuple[str, ...] | None = None
    labels: Array | None = None
    class_names: tuple[str, ...] | None = None

    def write(self, path: Path) -> None:
        """Write the file beside `path`, atomically; where there is nothing to write, remove it."""
        columns: dict[str, Iterator[object]] = {}
        if self.sample_names is not None:
            columns["file"] = iter(self.sample_names)
        if self.labels is not None:
            columns["label"] = (int(label) for label in self.labels)
            if (names := self.class_names) is not None:
                columns["class"] = (names[label] for label in self.labels)
        if not columns:
            names_file(path).unlink(missing_ok=True)
            return
        with atomic_file(names_file(path)) as file:
            text = TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
            text.detach()

    @classmethod
    def read(cls, path: Path, N: int) -> "PackedNames":
        """Return what stands beside `path` for its N images: nothing, where there is no file.

        Raises DataError, naming the file, where it cannot be read, has other columns or another
        number of rows, and for labels that are no integers or, with a class, not 0, 1, 2 …
        """
        where = names_file(path)
        if not where.exists():
            return cls()
        try:
            with open_file(where) as file:
                rows = csv.reader(TextIOWrapper(file, encoding="utf-8", newline=""), strict=True)
                header = next(rows, [])
                columns = _columns(header, rows, N)
            return cls._of(columns)
        except OSError as error:
            told = one_line(error.strerror or error)
            raise DataError(f"{where}: cannot be read: {told}") from error
        except (ValueError, csv.Error) as error:
            raise DataError(
                f"{where}: does not go with {path.name}: {one_line(error)}; remove it, or write "
                "both by l2ae pack again"
            ) from error

    @classmethod
    def _of(cls, columns: dict[str, tuple[str, ...]]) -> "PackedNames":
        """Return what columns of text say."""
        if "label" not in columns:
            return cls(columns.get("file"))
        for text in columns["label"]:
            if not re.fullmatch("-?[0-9]{1,18}", text):
                raise ValueError(f"label {text!r} but expected an integer")
        labels = np.array(columns["label"], dtype=str).astype(np.int64)
        if "class" not in columns:
            return cls(columns.get("file"), labels)
        named = dict(zip(labels.tolist(), columns["class"], strict=True))
        if sorted(named) != list(range(len(named))):
            raise ValueError("labels with a class are not 0, 1, 2 …")
        for label, name in zip(labels.tolist(), columns["class"], strict=True):
            if named[label] != name:
                raise ValueError(f"label {label} is {name!r} and {named[label]!r}")
        return cls(columns.get("file"), labels, tuple(named[k] for k in range(len(named))))


def names_file(path: Path) -> Path:
    """Return the path of the names beside a `.npy` file."""
    return path.with_name(f"{path.name}.csv")


def _columns(header: list[str], rows: Iterator[list[str]], N: int) -> dict[str, tuple[str, ...]]:
    """Return N rows by column."""
    if not header or header != [name for name in COLUMNS if name in header]:
        raise ValueError(f"columns {header} but expected some of {list(COLUMNS)}, in this order")
    if "class" in header and "label" not in header:
        raise ValueError("a column class but no label")
    found = list(islice(rows, N + 1))
    if len(found) != N:
        more = "more" if len(found) > N else f"{len(found)}"
        raise ValueError(f"{more} rows but {N} images")
    for i, row in enumerate(found, start=2):
        if len(row) != len(header):
            raise ValueError(f"row {i} has {len(row)} values but expected {len(header)}")
    return dict(zip(header, zip(*found, strict=True), strict=True))
