"""The embedded default: 1,797 handwritten digits, 8 × 8, that come with scikit-learn."""

from pathlib import Path

import numpy as np

from l2ae_core.data.dataset import Dataset, Split
from l2ae_kernels.arrays import Array

TEST_EVERY = 5


def is_test(labels: Array) -> Array:
    """Return a mask (N,): within each digit, every fifth sample in file order is a test sample.

    Counted within each digit because the file runs 0, 1, …, 9, 0, 1, …, so that every fifth
    sample of the whole would be mostly two digits. Nothing random: the split never changes.
    """
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return mask


def load_digits(data_dir: Path | None, split: Split) -> Dataset:
    """Return the digits, grey values / 16; no network and no files, so `data_dir` is not used.

    split="all" is 1,797 images in scikit-learn's order, "test" every fifth of each digit (355),
    "train" the others (1,442).
    """
    from sklearn.datasets import load_digits as bundled  # takes most of a second to import

    pixels, labels = bundled(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)  # (N, 8, 8, 1)
    whole = Dataset(images, labels.astype(np.int64), "digits")
    if split == "all":
        return whole
    test = is_test(labels)
    return whole.subset(test if split == "test" else ~test, f"digits/{split}")
