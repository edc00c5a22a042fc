"""Tables: aligned text for a screen, Markdown, CSV for spreadsheets, NPY for NumPy."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from l2ae_core.files import atomic_file, check_out
from l2ae_kernels.arrays import Array


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


def counted(count: int, noun: str) -> str:
    """Return "1 image", "2 images", "1,000 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


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


def to_csv(columns: dict[str, Array]) -> str:
    """Return the columns, all of one length, as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue()


def check_table(path: Path) -> None:
    """Raise ValueError or OSError unless `write_table` can write to `path`; before the work."""
    check_out(path, ".csv", ".npy")


def write_table(columns: dict[str, Array], path: Path) -> None:
    """Write the columns atomically as `.csv`, or as `.npy`: a structured array of the same names.

    Raises what `check_table` raises.
    """
    check_table(path)
    if path.suffix.lower() == ".csv":
        content = to_csv(columns).encode()
    else:
        dtype = [(name, column.dtype) for name, column in columns.items()]
        table = np.empty(len(next(iter(columns.values()))), dtype)
        for name, column in columns.items():
            table[name] = column
        buffer = io.BytesIO()
        np.save(buffer, table, allow_pickle=False)
        content = buffer.getvalue()
    with atomic_file(path) as file:
        file.write(content)
