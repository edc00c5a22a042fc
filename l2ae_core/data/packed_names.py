"""`images.npy.csv`: the file names and labels of the images in `images.npy`, beside it.

    file,label,class
    birds/a.png,0,birds
    cats/b.png,1,cats

A row an image, in their order, in UTF-8. `label` is an integer and `class` its name; columns for
what the images do not have are left out.
"""

import csv
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
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
    def read(cls, path: Path, N: int, *, progress: bool = False) -> "PackedNames":
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
                from l2ae_core.progress import Bar  # what reads no names needs NumPy alone

                bar = Bar(rows, desc="names", unit="image", total=N, delay=1.0,
                          disable=not progress)  # fmt: skip
                return cls._of(header, bar, N)
        except OSError as error:
            told = one_line(error.strerror or error)
            raise DataError(f"{where}: cannot be read: {told}") from error
        except (ValueError, csv.Error) as error:
            raise DataError(
                f"{where}: does not go with {path.name}: {one_line(error)}; remove it, or write "
                "both by l2ae pack again"
            ) from error

    @classmethod
    def _of(cls, header: list[str], rows: Iterable[list[str]], N: int) -> "PackedNames":
        """Return what N rows say."""
        if not header or header != [name for name in COLUMNS if name in header]:
            raise ValueError(f"columns {header} but expected some of {[*COLUMNS]}, in this order")
        if "class" in header and "label" not in header:
            raise ValueError("a column class but no label")
        names: list[str] = []
        labels = array("q")
        classes: dict[int, str] = {}
        count = 0
        for count, row in enumerate(rows, start=1):
            if count > N:
                raise ValueError(f"more rows than {N} images")
            if len(row) != len(header):
                raise ValueError(f"row {count} has {len(row)} values but expected {len(header)}")
            values = dict(zip(header, row, strict=True))
            if "file" in values:
                names.append(values["file"])
            if "label" in values:
                labels.append(_label(values["label"]))
            if "class" in values and (
                classes.setdefault(labels[-1], values["class"]) != values["class"]
            ):
                told = f"{classes[labels[-1]]!r} and {values['class']!r}"
                raise ValueError(f"label {labels[-1]} is {told}")
        if count < N:
            raise ValueError(f"{count} rows but {N} images")
        if sorted(classes) != list(range(len(classes))):
            raise ValueError("labels with a class are not 0, 1, 2 …")
        return cls(
            tuple(names) if "file" in header else None,
            np.array(labels, np.int64) if "label" in header else None,
            tuple(classes[k] for k in range(len(classes))) if "class" in header else None,
        )


def names_file(path: Path) -> Path:
    """Return the path of the names beside a `.npy` file."""
    return path.with_name(f"{path.name}.csv")


def _label(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,19}", text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"label {text!r} but expected an integer of 64 bits")
    return int(text)
