"""MNIST and USPS from a local folder: right numbers from right files, errors from wrong ones."""

import gzip
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from l2ae_core.data import DataError, load

IMAGES = "mnist/train-images-idx3-ubyte"
LABELS = "mnist/train-labels-idx1-ubyte"
ZIP = "usps/zip.train"


def test_mnist_values_and_order(local: Path, published: SimpleNamespace) -> None:
    data = load("mnist", data_dir=local)
    pixels = np.concatenate([published.pixels["train"], published.pixels["test"]])
    np.testing.assert_array_equal(np.rint(data.images[..., 0] * 255), pixels)
    np.testing.assert_array_equal(
        data.labels, np.concatenate([published.labels["train"], published.labels["test"]])
    )
    assert (data.images.shape, data.name) == ((9, 28, 28, 1), "mnist")
    assert data.images[pixels == 255].min() == 1.0


def test_usps_values_and_order(local: Path, published: SimpleNamespace) -> None:
    data = load("usps", data_dir=local)
    values = np.concatenate([published.values["train"], published.values["test"]])
    np.testing.assert_array_equal(data.images[..., 0], ((values + 1) / 2).astype(np.float32))
    np.testing.assert_array_equal(
        data.labels, np.concatenate([published.labels["train"], published.labels["test"]])
    )
    assert (data.images.shape, data.name) == ((9, 16, 16, 1), "usps")


@pytest.mark.parametrize("name", ["mnist", "usps"])
def test_splits(local: Path, name: str) -> None:
    whole = load(name, data_dir=local)
    train, test = (load(name, data_dir=local, split=s) for s in ("train", "test"))
    assert (train.name, test.name) == (f"{name}/train", f"{name}/test")
    assert train.digest == whole.subset(slice(0, 6)).digest
    assert test.digest == whole.subset(slice(6, 9)).digest


def test_a_split_needs_only_its_own_files(local: Path) -> None:
    for path in local.glob("*/*train*"):
        path.unlink()
    assert len(load("mnist", data_dir=local, split="test")) == 3
    assert len(load("usps", data_dir=local, split="test")) == 3


@pytest.mark.parametrize("name", ["mnist", "usps"])
def test_flat_folder_and_gzip_and_environment(
    local: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in local.glob("*/*"):
        (flat / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    expected = load(name, data_dir=local).digest
    assert load(name, data_dir=str(flat)).digest == expected
    monkeypatch.setenv("L2AE_DATA", str(flat))
    assert load(name).digest == expected
    shutil.rmtree(flat)
    assert load(name, data_dir=local).digest == expected  # the argument goes before


def test_missing_file_is_not_downloaded(local: Path) -> None:
    (local / ZIP).unlink()
    with pytest.raises(DataError, match=r"local: holds neither zip\.train nor usps/zip\.train"):
        load("usps", data_dir=local)


def test_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: not a folder"):
        load("mnist", data_dir=tmp_path / "nowhere")


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def with_value(data: bytes, line: int, column: int, text: bytes) -> bytes:
    rows = [row.split() for row in data.splitlines()]
    rows[line - 1][column - 1] = text
    return b"\n".join(b" ".join(row) for row in rows) + b"\n"


def without_last_line(data: bytes) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


DAMAGES = {
    "empty": (IMAGES, lambda d: b"", "empty"),
    "cut in the header": (IMAGES, lambda d: d[:9], "truncated: 9 bytes but the header has 16"),
    "cut in the magic": (IMAGES, lambda d: d[:3], "truncated: 3 bytes"),
    "cut": (IMAGES, lambda d: d[:-1], r"truncated: 4,719 bytes but images of shape \(6, 28, 28\)"),
    "too long": (IMAGES, lambda d: d + b"\0", "too long: 4,721 bytes"),
    "magic": (IMAGES, lambda d: b"\x89PNG" + d[4:], "starts with 0x89504e47 but expected"),
    "value type": (IMAGES, lambda d: d[:2] + b"\x0d" + d[3:], "not an IDX file of images"),
    "one bit of an image": (IMAGES, lambda d: flipped(d, 1000), "corrupt.* SHA-256 .* expected"),
    "HTML": (IMAGES, lambda d: b"\n<!DOCTYPE html><html>503</html>", "an HTML or XML page"),
    "cut gzip": (IMAGES, lambda d: gzip.compress(d)[:-20], "truncated: the gzip data end"),
    "corrupt gzip": (IMAGES, lambda d: flipped(gzip.compress(d), 300), "corrupt gzip data"),
    "label 10": (LABELS, lambda d: d[:-2] + b"\x0a" + d[-1:], "label 10 at index 4 but expected"),
    "fewer labels": (
        LABELS,
        lambda d: d[:7] + b"\x05" + d[8:-1],
        r"train-images-idx3-ubyte has 6 images but .*train-labels-idx1-ubyte has 5 labels",
    ),
    "one label wrong": (LABELS, lambda d: flipped(d, 8), "corrupt, or not the published train-lab"),
    "short line": (
        ZIP,
        lambda d: d.replace(b" ", b"", 300),
        r"line 1 has 1 value but expected 257",
    ),
    "cut in a line": (ZIP, lambda d: d[:-50], r"line 6 has \d+ values but expected 257"),
    "cut at a line": (ZIP, without_last_line, r"5 samples but zip\.train has 6"),
    "no number": (ZIP, lambda d: with_value(d, 3, 7, b"0.1x"), r"line 3, value 7 is b'0\.1x'"),
    "too large": (ZIP, lambda d: with_value(d, 2, 257, b"1.5"), "line 2, value 257 is 1.5 but"),
    "NaN": (ZIP, lambda d: with_value(d, 4, 2, b"nan"), "line 4, value 2 is nan but expected"),
    "digit 10": (ZIP, lambda d: with_value(d, 5, 1, b"10"), "line 5 has label 10.0 but expected"),
    "digit 2.5": (ZIP, lambda d: with_value(d, 5, 1, b"2.5"), "line 5 has label 2.5 but expected"),
    "another grey": (ZIP, lambda d: with_value(d, 1, 9, b"0.5"), "corrupt, or not the published"),
    "binary": (ZIP, lambda d: bytes(range(14, 200)), r"line 1 has \d+ values but expected 257"),
    "blank": (ZIP, lambda d: b"\n", "line 1 has 0 values"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_explained(local: Path, damage: str) -> None:
    path, change, message = DAMAGES[damage]
    (local / path).write_bytes(change((local / path).read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load(path.split("/")[0], data_dir=local)
    assert str(local / path) in str(caught.value)


def test_files_that_changed_places(local: Path) -> None:
    images, labels = (local / IMAGES).read_bytes(), (local / LABELS).read_bytes()
    (local / IMAGES).write_bytes(labels)
    with pytest.raises(DataError, match=r"images-idx3-ubyte: a file of labels .* of images"):
        load("mnist", data_dir=local)
    (local / IMAGES).write_bytes(images)
    (local / LABELS).write_bytes(images)
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: a file of images .* of labels"):
        load("mnist", data_dir=local)


def test_test_file_under_the_name_of_the_train_file(local: Path) -> None:
    shutil.copy(local / "mnist/t10k-images-idx3-ubyte", local / IMAGES)
    shutil.copy(local / "mnist/t10k-labels-idx1-ubyte", local / LABELS)
    with pytest.raises(DataError, match=re.escape(f"{IMAGES}: 3 samples but")):
        load("mnist", data_dir=local)


REAL = os.environ.get("L2AE_DATA")


@pytest.mark.skipif(not REAL, reason="L2AE_DATA names no folder with the published files")
@pytest.mark.parametrize(
    ("name", "shape", "train", "first"),
    [("mnist", (70000, 28, 28, 1), 60000, [5, 0, 4]), ("usps", (9298, 16, 16, 1), 7291, [6, 5, 4])],
)
def test_the_published_files(
    name: str, shape: tuple[int, ...], train: int, first: list[int]
) -> None:
    assert REAL is not None
    data = load(name, data_dir=REAL)
    assert data.images.shape == shape
    assert (data.images.min(), data.images.max()) == (0.0, 1.0)
    assert data.labels is not None
    np.testing.assert_array_equal(data.labels[:3], first)
    assert set(data.labels[:train]) == set(data.labels[train:]) == set(range(10))
