"""The same images give the same bits from an array, a folder, files and images of Pillow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core import AutoEncoderClusterer, AutoEncoderDetector, Preparation, load
from l2ae_core.anomaly import ROUNDING
from l2ae_kernels.arrays import Array

FEW: dict[str, Any] = {
    "n_clusters": 3, "epochs": 1, "n_init": 2, "filters": (4, 4, 4), "random_state": 0
}  # fmt: skip


@pytest.fixture(scope="module")
def bytes8() -> Array:
    """40 digits (N, 8, 8) uint8."""
    images = load("digits", split="test").images[:40, :, :, 0]
    return (images * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(bytes8: Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images")
    for i, image in enumerate(bytes8):
        Image.fromarray(image).save(path / f"{i:02}.png")
    return path


@pytest.fixture(scope="module")
def fitted(bytes8: Array) -> AutoEncoderClusterer:
    return AutoEncoderClusterer(**FEW).fit(bytes8 / np.float32(255))


def test_every_form_of_the_same_images_gives_the_same_bits(
    bytes8: Array, folder: Path, fitted: AutoEncoderClusterer, tmp_path: Path
) -> None:
    files = sorted(folder.iterdir())
    forms = {
        "uint8": bytes8,
        "uint8 with a channel": bytes8[..., None],
        "folder": folder,
        "text": str(folder),
        "files": files,
        "text of files": [str(file) for file in files],
        "array of files": np.array([str(file) for file in files]),
        "Pillow": [Image.open(file) for file in files],
        "arrays": list(bytes8),
        "data set": load(folder),
    }
    for name, X in forms.items():
        np.testing.assert_array_equal(fitted.transform(X), fitted.embedding_, err_msg=name)
    for name in ("uint8", "folder", "Pillow", "data set"):
        again = AutoEncoderClusterer(**FEW).fit(forms[name])
        np.testing.assert_array_equal(again.embedding_, fitted.embedding_, err_msg=name)
        assert again.image_shape_ == (8, 8, 1)
    flat = AutoEncoderClusterer(**FEW, image_shape=(8, 8)).fit(bytes8.reshape(40, 64))
    np.testing.assert_array_equal(flat.embedding_, fitted.embedding_)
    np.testing.assert_array_equal(fitted.predict(bytes8.reshape(40, 64)), fitted.labels_)
    np.save(tmp_path / "flat.npy", bytes8.reshape(40, 64))
    flat = AutoEncoderClusterer(**FEW, image_shape=(8, 8)).fit(tmp_path / "flat.npy")
    np.testing.assert_array_equal(flat.embedding_, fitted.embedding_)
    np.testing.assert_array_equal(fitted.predict(tmp_path / "flat.npy"), fitted.labels_)


def test_bool_is_0_and_1_and_no_value_decides(bytes8: Array) -> None:
    """Dark uint8 is divided, too: 0 and 1 of 255 are no 0 and 1."""
    dark = (bytes8 > 99).astype(np.uint8)
    one = AutoEncoderClusterer(**FEW).fit(bytes8 > 99).transform(bytes8 > 99)
    other = AutoEncoderClusterer(**FEW).fit(dark.astype(np.float32)).embedding_
    np.testing.assert_array_equal(one, other)
    divided = AutoEncoderClusterer(**FEW).fit(dark).embedding_
    expected = AutoEncoderClusterer(**FEW).fit(dark / np.float32(255)).embedding_
    np.testing.assert_array_equal(divided, expected)
    assert np.abs(divided - other).max() > 1e-3


def test_a_preparation_holds_for_fit_and_predict(folder: Path, tmp_path: Path) -> None:
    """Images of three sizes, in colour, become 9 x 10 grey ones, whatever form they come in."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (8 + i % 3, 11, 3), np.uint8) for i in range(12)]
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    preparation = Preparation(size=(9, 10), fit="stretch", grey=True)
    detector = AutoEncoderDetector(**FEW, preparation=preparation).fit(tmp_path)
    assert detector.image_shape_ == (9, 10, 1)
    v = detector.score_samples(images)
    np.testing.assert_array_equal(detector.score_samples(sorted(tmp_path.iterdir())), v)
    for some, X in ((slice(0, 12, 3), np.stack(images[::3])), (slice(0, 1), images[:1])):
        np.testing.assert_allclose(detector.score_samples(X), v[some], atol=ROUNDING)
    detector.save(tmp_path / "saved.npz")
    loaded = AutoEncoderDetector.load(tmp_path / "saved.npz")
    assert loaded.preparation == preparation
    np.testing.assert_array_equal(loaded.score_samples(images), v)
    assert loaded.reconstruct(images).shape == (12, 9, 10, 1)


def test_flat_rows_of_another_size_than_the_network(bytes8: Array) -> None:
    preparation = Preparation(size=(12, 12), fit="stretch")
    rows = AutoEncoderClusterer(**FEW, image_shape=(8, 8), preparation=preparation)
    rows.fit(bytes8.reshape(40, 64))
    images = AutoEncoderClusterer(**FEW, preparation=preparation).fit(bytes8)
    assert rows.image_shape_ == images.image_shape_ == (12, 12, 1)
    np.testing.assert_array_equal(rows.predict(bytes8.reshape(40, 64)), images.labels_)


def test_grey_images_go_where_colour_was_trained_on(bytes8: Array) -> None:
    colour = AutoEncoderClusterer(**FEW).fit(np.repeat(bytes8[..., None], 3, axis=3))
    np.testing.assert_array_equal(colour.predict(bytes8), colour.labels_)


def test_what_is_no_set_of_images_is_named(
    bytes8: Array, folder: Path, fitted: AutoEncoderClusterer, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    ragged = [bytes8[0], bytes8[1, :7]]
    for X, message in [
        (bytes8[0], r"predict: X is \(8, 8\), one image; write X\[None\]"),
        (bytes8[0, ..., None], r"predict: X is \(8, 8, 1\), one image"),
        (Image.fromarray(bytes8[0]), r"predict: X is .*, one image; write \[X\]"),
        (tmp_path / "missing", "predict: .*missing is neither"),
        ([tmp_path / "bad.png"], r"predict: .*bad.png: cannot be decoded"),
        (ragged, r"predict: images have 2 sizes, 8×8 \(image 0\), 8×7 \(image 1\)"),
        ([Image.fromarray(bytes8[0]), None], "predict: image 1: is NoneType but expected a file"),
        (bytes8[:, :7], r"predict: X is .* fitted to images of shape \(8, 8, 1\)"),
        (bytes8.astype(np.int64), r"predict: X has values from 0.0 to 255"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.predict(X)
    one_in_colour = np.zeros((20, 30, 3), np.uint8)
    prepared = AutoEncoderClusterer(**FEW, preparation=Preparation(size=(8, 8)))
    with pytest.raises(ValueError, match=r"fit: X is \(20, 30, 3\), .* one colour image"):
        prepared.fit(one_in_colour)
    with pytest.raises(ValueError, match=r"fit: X: images have shape \(6, 3, 8, 8\), which looks"):
        AutoEncoderClusterer(**FEW).fit(np.zeros((6, 3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="preparation is 32 but expected a Preparation"):
        AutoEncoderClusterer(**FEW, preparation=32).fit(bytes8)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32])
def test_images_of_as_many_pixels_in_another_shape_are_refused(dtype: Any) -> None:
    """Nobody wants 6 × 9 images in the rows of 9 × 6 ones, nor colours in the place of rows."""
    X = np.random.default_rng(0).integers(0, 2, (40, 6, 9)).astype(dtype)
    few: dict[str, Any] = FEW | {"model": "dense", "hidden": (8,)}
    fitted = AutoEncoderClusterer(**few).fit(X)
    for other in (X.transpose(0, 2, 1), X.reshape(40, 3, 18), X.reshape(40, 3, 6, 3)):
        with pytest.raises(ValueError, match=r"predict: X is .* fitted to images of shape \(6, 9"):
            fitted.predict(np.ascontiguousarray(other))
    with pytest.raises(ValueError, match=r"fit: image_shape is \(9, 6, 1\) but .* are \(6, 9, 1\)"):
        AutoEncoderClusterer(**few, image_shape=(9, 6)).fit(X)
    narrow = X.reshape(40, 18, 3)
    flat = AutoEncoderClusterer(**few, image_shape=(18, 3)).fit(narrow)
    np.testing.assert_array_equal(flat.predict(narrow), flat.labels_)
    np.testing.assert_array_equal(flat.predict(narrow.reshape(40, 54)), flat.labels_)


def test_scales_of_ones_own_take_bytes_as_they_are(bytes8: Array) -> None:
    """Standardization undoes a factor; without any the network gets 0 … 255."""
    scaled = AutoEncoderClusterer(**FEW, scale="standard").fit(bytes8)
    np.testing.assert_allclose(scaled.mean_, bytes8.reshape(40, 64).mean(axis=0))
    raw = AutoEncoderClusterer(**FEW, scale="none").fit(bytes8)
    same = AutoEncoderClusterer(**FEW, scale="none").fit(bytes8.astype(np.float64))
    np.testing.assert_array_equal(raw.embedding_, same.embedding_)
