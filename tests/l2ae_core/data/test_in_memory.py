"""Images of Pillow and arrays, one by one: what files of the same pixels give."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, Preparation, load, pack


def _images() -> dict[str, Image.Image]:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (8, 12), np.uint8)
    colour = rng.integers(0, 256, (8, 12, 4), np.uint8)
    return {
        "grey": Image.fromarray(grey),
        "colour": Image.fromarray(colour[..., :3].copy()),
        "alpha": Image.fromarray(colour),
        "palette": Image.fromarray(colour[..., :3].copy()).convert("P"),
        "deep": Image.fromarray(rng.integers(0, 1 << 16, (8, 12), np.uint16)),
    }


@pytest.mark.parametrize("name", _images())
def test_an_image_is_what_its_file_is(name: str, tmp_path: Path) -> None:
    image = _images()[name]
    path = tmp_path / "image.png"
    image.save(path)
    preparation = Preparation(background="white", depth="auto", size=(9, 10), fit="crop")
    expected = load(path, preparation=preparation).images
    with Image.open(path) as opened:
        for one in (image, opened):
            found = load([one], preparation=preparation).images
            np.testing.assert_array_equal(found, expected)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6  # rotated by 90°
    _images()["grey"].save(path, exif=exif)
    with Image.open(path) as opened:
        found = load([opened]).images
    assert found.shape == (1, 12, 8, 1)
    np.testing.assert_array_equal(found, load(path).images)


def test_grey_and_colour_and_arrays_go_together() -> None:
    images = _images()
    array = np.asarray(images["grey"])
    found = load([images["grey"], images["colour"], array, array / 255]).images
    assert found.shape == (4, 8, 12, 3)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], found[3], atol=1e-7)
    np.testing.assert_array_equal(found[0, ..., 0], array / np.float32(255))
    np.testing.assert_array_equal(found[1], np.asarray(images["colour"]) / np.float32(255))


def test_files_that_come_one_by_one_are_a_list_of_them(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((4, 5), i, np.uint8)).save(tmp_path / f"{i}.png")
    expected = load(sorted(tmp_path.glob("*.png")))
    found = load(path for path in sorted(tmp_path.glob("*.png")))
    assert found.digest == expected.digest
    assert found.sample_names == expected.sample_names
    pack((path for path in sorted(tmp_path.glob("*.png"))), tmp_path / "a.npy", progress=False)
    assert load(tmp_path / "a.npy").sample_names == expected.sample_names
    for source in (None, 5):
        with pytest.raises(DataError, match=rf"source is {type(source).__name__} but expected"):
            load(source)  # type: ignore[arg-type]


def test_what_is_refused_is_named_by_its_position() -> None:
    images = _images()
    for more, message in [
        (images["deep"], "image 1: has 16 bits a channel but expected 8"),
        (images["alpha"], "image 1: has transparent pixels"),
        (np.zeros(8), r"image 1: is array \(8,\) but expected"),
        (np.full((8, 12), 2.0), r"image 1: images have values from 2.0 to 2.0"),
        ("file.png", "image 1: is str but expected"),
        (np.zeros((9, 12)), r"images have 2 sizes, 12×8 \(image 0\), 12×9 \(image 1\)"),
    ]:
        with pytest.raises(DataError, match=message):
            load([images["grey"], more])
