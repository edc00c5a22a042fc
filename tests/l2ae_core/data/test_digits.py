import numpy as np
import pytest
from sklearn.datasets import load_digits

from l2ae_core.data import load


def test_all_are_scikit_learns_digits_scaled() -> None:
    data, bundled = load("digits"), load_digits()
    assert data.images.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(data.images[..., 0] * 16, bundled.images)
    np.testing.assert_array_equal(data.labels, bundled.target)
    assert data.images.max() == 1.0


def test_split_is_a_partition_with_a_fifth_of_each_digit() -> None:
    data, train, test = load("digits"), load("digits", split="train"), load("digits", split="test")
    assert (len(train), len(test)) == (1442, 355)
    assert (train.name, test.name) == ("digits/train", "digits/test")
    for digit in range(10):
        count = int((data.labels == digit).sum())
        assert int((test.labels == digit).sum()) == count // 5
    rows = [tuple(x.ravel()) for x in np.concatenate([train.images, test.images])]
    assert sorted(rows) == sorted(tuple(x.ravel()) for x in data.images)


def test_needs_no_files(tmp_path: object) -> None:
    assert load("digits", data_dir=f"{tmp_path}/nowhere").digest == load("digits").digest


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match=r"split is 'val' but expected one of .*'train'"):
        load("digits", split="val")
