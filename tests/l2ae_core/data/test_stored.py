"""Images as they are stored: the numbers are those of the whole array, whatever is asked for."""

import numpy as np
import pytest

from l2ae_core.data import Dataset, Preparation, load, to_images
from l2ae_core.data.stored import StoredImages, chosen, in_colour, joined, store
from l2ae_core.images import Images

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (30, 4, 5, 1), np.uint8)
ARRAYS = {
    "uint8": (BYTES, Preparation()),
    "bool": (BYTES > 100, Preparation()),
    "uint16": (RNG.integers(0, 65536, (30, 4, 5), np.uint16), Preparation(depth="auto")),
    "levels": (RNG.integers(-1000, 3001, (30, 4, 5, 2), np.int16), Preparation(depth="-1000:3000")),
    "float64": (RNG.random((30, 4, 5, 3)), Preparation()),
    "float32": (RNG.random((30, 4, 5, 3), np.float32), Preparation()),
    "rows": (BYTES.reshape(30, 20), Preparation(image_shape=(4, 5))),
    "resized": (BYTES, Preparation(size=(8, 8))),
}
INDICES = [slice(3, 9), slice(None, None, -2), [4, 4, 0], np.arange(30) % 3 == 0, 5]


@pytest.mark.parametrize("name", ARRAYS)
def test_numbers_are_those_of_the_whole_array(name):
    array, preparation = ARRAYS[name]
    images, expected = store(array, "x", preparation), to_images(array, "x", preparation)
    assert isinstance(images, Images)
    assert images.shape == expected.shape
    assert len(images) == len(expected)
    assert images.dtype == expected.dtype
    for index in INDICES:
        found = images[index]
        assert found.flags.c_contiguous or isinstance(images, np.ndarray)
        np.testing.assert_array_equal(found, expected[index], strict=True)
    np.testing.assert_array_equal(np.asarray(images), expected, strict=True)
    np.testing.assert_array_equal(np.stack(list(images)), expected, strict=True)


def test_bytes_are_not_copied():
    images = store(BYTES, "x")
    assert isinstance(images, StoredImages)
    assert np.shares_memory(images.stored, BYTES)
    assert np.shares_memory(chosen(images, np.array([3, 1])).stored, BYTES)
    assert images.nbytes == BYTES.nbytes


def test_chosen_images_of_chosen_images():
    images, expected = store(BYTES, "x"), to_images(BYTES, "x")
    some = chosen(chosen(images, np.arange(29, -1, -2)), np.array([4, 0]))
    np.testing.assert_array_equal(np.asarray(some), expected[[21, 29]])


def test_joined_and_in_colour():
    a, b = store(BYTES[:7], "a"), store(BYTES[7:], "b")
    expected = to_images(BYTES, "x")
    np.testing.assert_array_equal(np.asarray(joined(chosen(a, np.arange(7)), b)), expected)
    np.testing.assert_array_equal(np.asarray(joined(np.asarray(a), b)), expected)
    for images in (a, np.asarray(a)):
        coloured = in_colour(images)
        assert coloured.shape == (7, 4, 5, 3)
        np.testing.assert_array_equal(coloured[[2, 1]], np.repeat(expected[[2, 1]], 3, axis=3))


def test_a_data_set_has_the_digest_of_its_numbers():
    numbers = Dataset(to_images(BYTES, "x"), None, "x")
    stored = load(BYTES)
    assert isinstance(stored.images, StoredImages)
    assert stored.digest == numbers.digest
    assert stored.subset([5, 2]).digest == numbers.subset([5, 2]).digest


def test_an_array_of_all_is_a_copy():
    with pytest.raises(ValueError, match="is a copy"):
        np.array(store(BYTES, "x"), copy=False)
