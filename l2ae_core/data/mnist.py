"""MNIST: 60,000 + 10,000 handwritten digits, 28 × 28."""

from pathlib import Path

from l2ae_core.data.dataset import Dataset, Split, join
from l2ae_core.data.errors import DataError
from l2ae_core.data.fetch import RemoteFile, check, obtain
from l2ae_core.data.idx import IMAGES, parse_digit_labels, parse_idx
from l2ae_core.data.stored import StoredImages
from l2ae_core.tables import counted

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
    "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz",
)

FILES = {  # split: (images, labels)
    "train": (
        RemoteFile(
            "mnist/train-images-idx3-ubyte",
            60_000,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            MIRRORS,
        ),
        RemoteFile(
            "mnist/train-labels-idx1-ubyte",
            60_000,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            MIRRORS,
        ),
    ),
    "test": (
        RemoteFile(
            "mnist/t10k-images-idx3-ubyte",
            10_000,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            MIRRORS,
        ),
        RemoteFile(
            "mnist/t10k-labels-idx1-ubyte",
            10_000,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            MIRRORS,
        ),
    ),
}


def load_part(part: str, data_dir: Path | None, progress: bool = True) -> Dataset:
    """Return the "train" or "test" part, grey values / 255.

    The structure is checked before the checksum, because it can say what is wrong.
    """
    images_file, labels_file = FILES[part]
    data, where = obtain(images_file, data_dir, progress=progress)
    pixels = parse_idx(data, IMAGES, where)  # (N, H, W) uint8
    label_data, label_where = obtain(labels_file, data_dir, progress=progress)
    labels = parse_digit_labels(label_data, label_where)
    if len(pixels) != len(labels):
        raise DataError(
            f"{where} has {counted(len(pixels), 'image')} but {label_where} has "
            f"{counted(len(labels), 'label')}"
        )
    check(images_file, data, where, samples=len(pixels))
    check(labels_file, label_data, label_where, samples=len(labels))
    return Dataset(StoredImages(pixels[..., None]), labels, f"mnist/{part}")


def load_mnist(data_dir: Path | None, split: Split, progress: bool = True) -> Dataset:
    """Return MNIST (N, 28, 28, 1): split="all" is the 60,000 train images, then 10,000 test."""
    if split != "all":
        return load_part(split, data_dir, progress)
    return join(
        load_part("train", data_dir, progress), load_part("test", data_dir, progress), "mnist"
    )
