"""Results as tables: CSV for people and spreadsheets, NPY for NumPy."""

import csv
import io
from pathlib import Path

import numpy as np

from l2ae_core.files import atomic_file, check_out
from l2ae_kernels.arrays import Array


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
