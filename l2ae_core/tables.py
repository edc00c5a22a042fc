"""Results as tables: CSV for people and spreadsheets, NPY for NumPy."""

import csv
import io
from pathlib import Path

import numpy as np

from l2ae_core.files import atomic_file
from l2ae_kernels.arrays import Array


def to_csv(columns: dict[str, Array]) -> str:
    """Return the columns, all of one length, as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue()


def write_table(columns: dict[str, Array], path: Path) -> None:
    """Write the columns atomically as `.csv`, or as `.npy`: a structured array of the same names.

    Raises ValueError for another ending.
    """
    if path.suffix == ".csv":
        content = to_csv(columns).encode()
    elif path.suffix == ".npy":
        dtype = [(name, column.dtype) for name, column in columns.items()]
        table = np.empty(len(next(iter(columns.values()))), dtype)
        for name, column in columns.items():
            table[name] = column
        buffer = io.BytesIO()
        np.save(buffer, table, allow_pickle=False)
        content = buffer.getvalue()
    else:
        raise ValueError(f"out: {path} ends in {path.suffix!r} but expected .csv or .npy")
    with atomic_file(path) as file:
        file.write(content)
