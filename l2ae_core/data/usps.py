"""USPS: 7,291 + 2,007 digits from envelopes, 16 × 16, as text.

One line a sample: the digit, then 256 grey values in [−1, 1] row by row. Source: the data page of
Hastie, Tibshirani, Friedman, *The Elements of Statistical Learning*.
"""

from pathlib import Path

import numpy as np

from l2ae_core.data.dataset import Dataset, Split, join
from l2ae_core.data.errors import DataError
from l2ae_core.data.fetch import RemoteFile, check, obtain
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array

MIRRORS = (
    "https://hastie.su.domains/ElemStatLearn/datasets/{}.gz",
    "https://web.stanford.edu/~hastie/ElemStatLearn/datasets/{}.gz",
)

FILES = {
    "train": RemoteFile(
        "usps/zip.train",
        7_291,
        "abc9f5c75b997cabe66b5d01727d5a681c69298e1641a8d37b55433a52129dc0",
        MIRRORS,
    ),
    "test": RemoteFile(
        "usps/zip.test",
        2_007,
        "6bde17b4f1cd68e0630cd2751d6495b5795d9165ab2dc4a0be8b7002b732f4cc",
        MIRRORS,
    ),
}

SIDE = 16
COLUMNS = 1 + SIDE * SIDE


def parse_usps(data: bytes, where: str) -> tuple[Array, Array]:
    """Return images (N, 16, 16, 1) float32 = (x + 1) / 2 and labels (N,) int64.

    Raises DataError naming the file, the line and what is wrong there: the number of values, text
    that is no number, a grey value outside [−1, 1], a label that is no digit.
    """
    rows = []
    for number, line in enumerate(data.splitlines(), start=1):
        row = line.split()
        if len(row) != COLUMNS:
            raise DataError(
                f"{where}: line {number} has {counted(len(row), 'value')} but expected {COLUMNS} "
                "(the digit, then 256 grey values)"
            )
        rows.append(_numbers(row, f"{where}: line {number}"))
    if not rows:
        raise DataError(f"{where}: empty")
    values = np.array(rows)  # (N, 257)
    labels, x = values[:, 0], values[:, 1:]
    wrong = ~np.isin(labels, np.arange(10))
    if wrong.any():
        i = int(wrong.argmax())
        raise DataError(f"{where}: line {i + 1} has label {labels[i]} but expected a digit 0…9")
    outside = ~(np.abs(x) <= 1)  # written so that NaN counts as outside
    if outside.any():
        i, j = np.argwhere(outside)[0]
        raise DataError(
            f"{where}: line {i + 1}, value {j + 2} is {x[i, j]} but expected a grey value "
            "in [−1, 1]"
        )
    images = ((x + 1) / 2).astype(np.float32).reshape(-1, SIDE, SIDE, 1)
    return images, labels.astype(np.int64)


def _numbers(row: list[bytes], where: str) -> Array:
    try:
        return np.array(row).astype(np.float64)
    except ValueError:
        for column, text in enumerate(row, start=1):
            try:
                float(text)
            except ValueError:
                raise DataError(f"{where}, value {column} is {text[:40]!r}, not a number") from None
        raise DataError(f"{where}: holds text that is not a number") from None


def load_part(part: str, data_dir: Path | None, progress: bool = True) -> Dataset:
    """Return the "train" or "test" part."""
    data, where = obtain(FILES[part], data_dir, progress=progress)
    images, labels = parse_usps(data, where)
    check(FILES[part], data, where, samples=len(images))
    return Dataset(images, labels, f"usps/{part}")


def load_usps(data_dir: Path | None, split: Split, progress: bool = True) -> Dataset:
    """Return USPS (N, 16, 16, 1): split="all" is the 7,291 train images, then 2,007 test."""
    if split != "all":
        return load_part(split, data_dir, progress)
    return join(
        load_part("train", data_dir, progress), load_part("test", data_dir, progress), "usps"
    )
