"""Tables: aligned text for a screen, Markdown, CSV for spreadsheets, NPY for NumPy."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

from l2ae_core.files import atomic_file, check_out, is_stream, open_stream, writable_target
from l2ae_kernels.arrays import Array

Columns: TypeAlias = dict[str, Array]  # by name, all of one length


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of `count` rows that are computed some rows at a time, and what is said of them.

    `chunks` can be taken once; `result` is complete after the last of them.
    """

    count: int
    chunks: Iterator[Columns]  # of the same names and dtypes each
    result: dict[str, Any]

    def compute(self) -> dict[str, Any]:
        """Compute all rows, keep none, and return the result."""
        for _ in self.chunks:
            pass
        return self.result

    def whole(self) -> tuple[Columns, dict[str, Any]]:
        """Return all rows, and the result."""
        return join_rows([*self.chunks]), self.result


def join_rows(chunks: Sequence[Columns]) -> Columns:
    """Return the rows of at least one chunk as one."""
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def aligned(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[int] = (),
    gap: str = "  ",
) -> str:
    """Return a table for a screen: cells padded to columns, the columns `right` to the right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        gap.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """Return a Markdown table; the columns `right` are aligned to the right."""
    rule = ["--:" if i in right else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return "1 image", "2 images", "1,000 images"; the plural is the noun with an s, or given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Return how long something took, in the largest unit that is more than one."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds > length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def ranges(numbers: Iterable[int]) -> str:
    """Return integers in words: "0–4, 7"."""
    parts: list[list[int]] = []
    for n in sorted(set(numbers)):
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)


def csv_lines(chunks: Iterable[Columns]) -> Iterator[str]:
    """Yield the rows of each chunk as CSV, those of the first with a header line."""
    header = True
    for columns in chunks:
        yield to_csv(columns, header=header)
        header = False


def to_csv(columns: Columns, *, header: bool = True) -> str:
    """Return the columns as CSV, with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue()


def check_table(path: Path) -> None:
    """Raise ValueError or OSError unless `write_table` can write to `path`; before the work."""
    if is_stream(path):
        writable_target(path)
        return
    check_out(path, ".csv", ".npy")


def write_table(columns: Columns, path: Path) -> None:
    """Write the columns atomically as `.csv`, or as `.npy`: a structured array of the same names.

    A pipe or a device of another name gets CSV. Raises what `check_table` raises.
    """
    write_rows([columns], len(next(iter(columns.values()))), path)


def write_rows(chunks: Iterable[Columns], count: int, path: Path) -> None:
    """Write `count` rows as `write_table` does, each chunk when it is there.

    What a chunk raises is raised on, and leaves a file that was there as it was; a pipe or a device
    has the chunks before it. BrokenPipeError when the reader of a pipe goes away.
    """
    check_table(path)
    binary = path.suffix.lower() == ".npy"
    blocks = _npy_blocks(chunks, count) if binary else map(str.encode, csv_lines(chunks))
    with (open_stream if is_stream(path) else atomic_file)(path) as file:
        for block in blocks:
            file.write(block)
            file.flush()


def _npy_blocks(chunks: Iterable[Columns], count: int) -> Iterator[bytes]:
    """Yield the header of a structured array of `count` rows, then the rows of each chunk."""
    dtype: np.dtype[Any] | None = None
    for columns in chunks:
        if dtype is None:
            dtype = np.dtype([(name, column.dtype) for name, column in columns.items()])
            about = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
            npy.write_array_header_1_0(header := io.BytesIO(), about)
            yield header.getvalue()
        rows = np.empty(len(next(iter(columns.values()))), dtype)
        for name, column in columns.items():
            rows[name] = column
        yield rows.tobytes()
