"""Prepared images: sizes, proportions, grey, backgrounds; equal numbers from every door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core.data import DataError, Preparation, load

RNG = np.random.default_rng(5)
WIDE = RNG.integers(0, 256, (20, 60, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def prepared(image: np.ndarray, **how: Any) -> np.ndarray:
    """The one image (H, W[, C]) uint8, prepared."""
    return load(image[None], preparation=Preparation(**how)).images[0]


def test_pad_shows_all_of_an_image_in_the_middle() -> None:
    x = np.full((20, 60), 255, np.uint8)
    y = prepared(x, size=(10, 12))[..., 0]
    rows = np.flatnonzero(y.any(axis=1))
    assert rows.tolist() == [3, 4, 5, 6]  # 12 wide, so 4 high
    assert (y[3:7] == 1).all()
    white = prepared(255 - x, size=(10, 12), background="white")[..., 0]
    np.testing.assert_array_equal(white, 1 - y)


def test_crop_takes_the_middle() -> None:
    x = np.zeros((20, 60), np.uint8)
    x[:, 20:40] = 255
    y = prepared(x, size=(5, 5), fit="crop")[..., 0]
    assert (y[:, 1:-1] == 1).all()
    assert (y > 0.5).all()  # the filter sees a little beyond the edge
    np.testing.assert_array_equal(prepared(x.T, size=(5, 5), fit="crop")[..., 0], y.T)


def test_stretch_takes_all_and_fills_all() -> None:
    x = np.zeros((20, 60), np.uint8)
    x[:, 30:] = 255
    y = prepared(x, size=(8, 8), fit="stretch")[..., 0]
    assert (y[:, :3] == 0).all()
    assert (y[:, 5:] == 1).all()


def test_shrinking_averages() -> None:
    """A filter that took every tenth pixel would keep the noise."""
    noise = RNG.integers(0, 256, (160, 160), dtype=np.uint8)
    y = prepared(noise, size=(16, 16))
    assert abs(y.mean() - 0.5) < 0.01
    assert y.std() < 0.06  # 0.29 before; mean over at least 10×10 pixels by the triangle


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_values_stay_in_the_unit_interval(fit: Any) -> None:
    x = RNG.integers(0, 2, (33, 47), dtype=np.uint8) * 255
    for size in ((8, 8), (60, 90), (31, 47), (1, 3)):
        y = prepared(x, size=size, fit=fit)
        assert y.shape == (*size, 1)
        assert y.min() >= 0
        assert y.max() <= 1


def test_an_image_of_the_size_is_not_touched() -> None:
    for fit in ("pad", "crop", "stretch"):
        found = prepared(WIDE, size=(20, 60), fit=fit)
        np.testing.assert_array_equal(found, WIDE / np.float32(255))


def test_grey_is_the_brightness() -> None:
    colours = np.eye(3, dtype=np.uint8)[None] * 255  # (1, 3, 3): red, green, blue
    np.testing.assert_allclose(
        prepared(colours, grey=True)[0, :, 0], [0.299, 0.587, 0.114], rtol=1e-6
    )
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    same = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(prepared(same, grey=True), prepared(grey))


@pytest.mark.parametrize(
    ("background", "expected"),
    [("white", [1.0]), ("black", [0.0]), ("#808080", [128 / 255]), ("#ff8000", [1, 128 / 255, 0])],
)
def test_what_is_transparent_shows_the_background(
    background: str, expected: list[float], tmp_path: Path
) -> None:
    x = np.zeros((2, 2, 4), np.uint8)
    x[..., 0] = 51  # a dark red
    x[..., 3] = [[0, 255], [102, 0]]
    save(tmp_path / "a.png", x)
    y = load(tmp_path, preparation=Preparation(background=background)).images[0]
    behind = np.broadcast_to(expected, 3)
    red = np.array([0.2, 0, 0])
    np.testing.assert_allclose(y[0, 0], behind, rtol=0, atol=1e-7)
    np.testing.assert_allclose(y[0, 1], red, rtol=0, atol=1e-7)
    np.testing.assert_allclose(y[1, 0], 0.4 * red + 0.6 * behind, rtol=0, atol=1e-6)


def test_other_forms_of_transparency(tmp_path: Path) -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    save(tmp_path / "key.png", grey, transparency=100)  # one grey value is transparent
    image = Image.fromarray(grey).convert("P")
    image.save(tmp_path / "palette.png", transparency=100)
    alpha = Image.merge(
        "LA", [Image.fromarray(grey), Image.fromarray(255 * (grey != 100).astype(np.uint8))]
    )
    alpha.save(tmp_path / "alpha.png")
    grey_after = np.where(grey == 100, 255, grey) / np.float32(255)
    for name in ("key", "palette", "alpha"):
        found = load(tmp_path / f"{name}.png", preparation=Preparation(background="white"))
        for channel in np.moveaxis(found.images[0], 2, 0):
            np.testing.assert_array_equal(channel, grey_after)


def test_without_a_background_the_setting_is_named(tmp_path: Path) -> None:
    x = np.full((2, 2, 4), 100, np.uint8)
    save(tmp_path / "a.png", x)
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels.*--background"):
        load(tmp_path)


DOORS: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "folder": lambda x, p: save(p / "f" / "a.png", x).parent,
    "file": lambda x, p: save(p / "a.png", x),
    "files": lambda x, p: [save(p / "a.png", x)],
    "array": lambda x, p: x[None],
    "npy": lambda x, p: _npy(p / "a.npy", x[None]),
    "float": lambda x, p: x[None] / np.float32(255),
    "tiff": lambda x, p: save(p / "a.tif", x),
}


def _npy(path: Path, x: np.ndarray) -> Path:
    np.save(path, x)
    return path


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "how",
    [
        {"size": (16, 16)},
        {"size": (15, 9), "fit": "crop", "grey": True},
        {"size": (24, 70), "fit": "stretch", "background": "#10ff20"},
        {"size": (40, 40), "background": "#10ff20", "grey": True},
        {"grey": True},
    ],
)
@pytest.mark.parametrize("alpha", [False, True])
def test_equal_pixels_are_equal_numbers_from_every_door(
    door: str, how: dict[str, Any], alpha: bool, tmp_path: Path
) -> None:
    x = WIDE
    if alpha:
        x = np.concatenate([WIDE, RNG.integers(0, 256, (20, 60, 1), dtype=np.uint8)], axis=2)
        how = {"background": "white"} | how
    preparation = Preparation(**how)
    found = load(DOORS[door](x, tmp_path), preparation=preparation).images
    np.testing.assert_array_equal(found, load(x[None], preparation=preparation).images)


def test_images_of_all_kinds_become_one_array(tmp_path: Path) -> None:
    save(tmp_path / "colour.jpg", RNG.integers(0, 256, (300, 451, 3), dtype=np.uint8))
    save(tmp_path / "grey.png", RNG.integers(0, 256, (64, 20), dtype=np.uint8))
    save(tmp_path / "deep.png", RNG.integers(0, 65536, (50, 50), dtype=np.uint16))
    save(tmp_path / "float.tif", RNG.random((9, 40), dtype=np.float32))
    save(tmp_path / "clear.png", RNG.integers(0, 256, (40, 40, 4), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation tag
    save(tmp_path / "turned.jpg", RNG.integers(0, 256, (30, 50), dtype=np.uint8), exif=exif)
    Image.fromarray(WIDE).quantize(16).save(tmp_path / "palette.gif")
    how = Preparation(size=(32, 32), background="white", depth="auto")
    data = load(tmp_path, preparation=how)
    assert data.images.shape == (7, 32, 32, 3)
    assert data.sample_names is not None
    for name, image in zip(data.sample_names, data.images, strict=True):
        alone = load(tmp_path / name, preparation=how).images[0]
        np.testing.assert_array_equal(image, np.broadcast_to(alone, image.shape))
    grey = load(tmp_path, preparation=Preparation(**how.to_dict() | {"grey": True}))
    assert grey.images.shape == (7, 32, 32, 1)


def test_named_data_can_be_prepared() -> None:
    found = load("digits", preparation=Preparation(size=(16, 16)))
    assert found.images.shape == (1797, 16, 16, 1)
    assert found.labels is not None


def test_flat_arrays(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (5, 24), dtype=np.uint8)
    found = load(x, preparation=Preparation(image_shape=(2, 4, 3)))
    np.testing.assert_array_equal(found.images, x.reshape(5, 2, 4, 3) / np.float32(255))
    assert load(x, preparation=Preparation(image_shape=(4, 6))).images.shape == (5, 4, 6, 1)
    with pytest.raises(DataError, match=r"rows have 24 values but .* \(5, 5\) have 25"):
        load(x, preparation=Preparation(image_shape=(5, 5)))
    with pytest.raises(DataError, match="--image-shape"):
        load(_npy(tmp_path / "a.npy", x))


@pytest.mark.parametrize(
    "how",
    [
        {"size": (0, 4)},
        {"size": 0},
        {"size": True},
        {"size": 28.0},
        {"size": (4, 4, 3)},
        {"size": (4.0, 4)},
        {"size": (1 << 40, 4)},
        {"fit": "cover"},
        {"grey": 1},
        {"background": "transparent"},
        {"background": "#fff0"},
        {"background": 255},
        {"depth": "7"},
        {"depth": 7},
        {"depth": True},
        {"depth": "9:3"},
        {"depth": "0:nan"},
        {"image_shape": (784,)},
    ],
)
def test_settings_that_mean_nothing_are_named(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(how))}: "):
        Preparation(**how)


def test_one_number_is_taken_as_it_is_meant() -> None:
    for sides in (28, np.int64(28), [28, 28]):
        assert Preparation(size=sides) == Preparation(size=(28, 28))  # type: ignore[arg-type]
    assert prepared(WIDE, size=9).shape == (9, 9, 3)
    assert Preparation(depth=12) == Preparation(depth="12")
    assert Preparation(depth=12).to_dict()["depth"] == "12"


def test_a_preparation_is_json() -> None:
    how = Preparation((8, 9), "crop", True, "#001122", "0:4095", (4, 4))
    assert Preparation.from_dict(how.to_dict()) == how
    assert Preparation.from_dict({}) == Preparation()
    with pytest.raises(ValueError, match="unknown fields"):
        Preparation.from_dict({"sizes": 3})
