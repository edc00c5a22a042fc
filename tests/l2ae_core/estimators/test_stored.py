"""Images as they are stored, and memory maps: the bits of the same images in memory, no copy."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import AutoEncoderClusterer, AutoEncoderDetector, Preparation, load
from l2ae_core.data.stored import StoredImages, store
from l2ae_core.estimators import inputs
from l2ae_kernels.arrays import Array

from .small import ONE_EPOCH

N = 2100  # two batches of a network and some images
FEW: dict[str, Any] = {"n_clusters": 3, "model": "dense", **ONE_EPOCH}


@pytest.fixture(scope="module")
def bytes8() -> Array:
    """Images (N, 8, 8) uint8 of digits, each a little brighter than the one before it."""
    images = load("digits").images[np.arange(N) % 1000, :, :, 0]
    return np.minimum(images * 200 + np.arange(N)[:, None, None] % 50, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted(bytes8: Array) -> AutoEncoderDetector:
    return AutoEncoderDetector(criterion="both", **FEW).fit(bytes8 / np.float32(255))


def mapped(array: Array, folder: Path) -> Any:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode="r")


FORMS = {
    "uint8": lambda x, folder: mapped(x, folder),
    "uint8 with a channel": lambda x, folder: mapped(x[..., None], folder),
    "float32": lambda x, folder: mapped(x / np.float32(255), folder),
    "stored": lambda x, folder: store(mapped(x, folder), "x"),
    "file": lambda x, folder: Path(mapped(x, folder).filename),
    "every second of twice as many": lambda x, folder: mapped(np.repeat(x, 2, axis=0), folder)[::2],
    "data set": lambda x, folder: load(x),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_bits_of_float32_in_memory(
    form: str, bytes8: Array, fitted: AutoEncoderDetector, tmp_path: Path
) -> None:
    X = FORMS[form](bytes8, tmp_path)
    more = {"preparation": Preparation(depth="auto")} if form == "data set" else {}
    again = AutoEncoderDetector(criterion="both", **FEW, **more).fit(X)
    for name in ("embedding_", "labels_", "cluster_centers_", "reconstruction_errors_"):
        np.testing.assert_array_equal(
            getattr(again, name), getattr(fitted, name), strict=True, err_msg=name
        )
    assert again.n_features_in_ == 64
    assert (again.offset_, again.error_threshold_) == (fitted.offset_, fitted.error_threshold_)
    x = bytes8 / np.float32(255)
    for name in ("predict", "score_samples", "decision_function", "reconstruct"):
        found, expected = getattr(fitted, name)(X), getattr(fitted, name)(x)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_rows_and_bits(dtype: Any, bytes8: Array, tmp_path: Path) -> None:
    """Rows (N, H·W) with image_shape; bool is 0 and 1."""
    rows = bytes8.reshape(N, 64)
    rows = rows if dtype is np.uint8 else rows > 99
    numbers = rows / np.float32(255) if dtype is np.uint8 else rows.astype(np.float32)
    expected = AutoEncoderClusterer(image_shape=(8, 8), **FEW).fit(numbers)
    found = AutoEncoderClusterer(image_shape=(8, 8), **FEW).fit(mapped(rows, tmp_path))
    np.testing.assert_array_equal(found.embedding_, expected.embedding_, strict=True)
    np.testing.assert_array_equal(found.transform(rows), expected.embedding_, strict=True)
    assert found.score(rows) == expected.score(numbers)


def test_validation_images_in_a_file_and_a_scale_of_ones_own(bytes8: Array, tmp_path: Path) -> None:
    x = bytes8 / np.float32(255)
    for settings in ({"validation": mapped(bytes8[:50], tmp_path)}, {"validation": 0.1}):
        found = AutoEncoderClusterer(**FEW, **settings).fit(bytes8)
        others = isinstance(settings["validation"], np.ndarray)
        chosen = {"validation": x[:50]} if others else settings
        expected = AutoEncoderClusterer(**FEW, **chosen).fit(x)
        np.testing.assert_array_equal(found.embedding_, expected.embedding_)
    scaled = AutoEncoderClusterer(scale="standard", **FEW).fit(store(bytes8, "x"))
    np.testing.assert_array_equal(
        scaled.embedding_, AutoEncoderClusterer(scale="standard", **FEW).fit(x).embedding_
    )


def test_a_run_directory_of_stored_images(bytes8: Array, tmp_path: Path) -> None:
    fitted = AutoEncoderClusterer(run_dir=tmp_path / "run", **FEW).fit(mapped(bytes8, tmp_path))
    again = AutoEncoderClusterer.from_run(tmp_path / "run", bytes8)
    np.testing.assert_array_equal(again.embedding_, fitted.embedding_)
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    with pytest.raises(ValueError, match="X has 9 images that are not the 2,100"):
        AutoEncoderClusterer.from_run(tmp_path / "run", bytes8[:9])


def test_grey_bytes_go_where_colour_was_trained_on(bytes8: Array) -> None:
    colour = AutoEncoderClusterer(**FEW).fit(np.repeat(bytes8[:90, ..., None], 3, axis=3))
    np.testing.assert_array_equal(colour.predict(bytes8[:90]), colour.labels_)


def test_errors_are_those_of_arrays(
    bytes8: Array, fitted: AutoEncoderDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "AT_ONCE", 500)  # a map is looked at in five pieces
    x = bytes8 / np.float32(255)
    bad = {
        "Input X contains NaN": x.copy(),
        "from 0.0 to 2.5 .*": x.copy(),
        r"shape \(8, 8, 1\)": x[:, :7],
    }
    bad["Input X contains NaN"][N - 3, 4, 4], bad["from 0.0 to 2.5 .*"][N - 3, 4, 4] = np.nan, 2.5
    for message, X in bad.items():
        for form in (X, mapped(X, tmp_path)):
            with pytest.raises(ValueError, match=message):
                fitted.predict(form)
    rows = AutoEncoderClusterer(image_shape=(8, 8), **FEW).fit(bytes8.reshape(N, 64))
    told = []
    for form in (x, mapped(bytes8, tmp_path)):
        with pytest.raises(ValueError, match="X") as error:
            rows.predict(form[:, :7].reshape(N, 56))
        told.append(str(error.value))
    assert "56" in told[1]
    with pytest.raises(ValueError, match="n_clusters is 3 but X has only n_samples=2"):
        AutoEncoderClusterer(**FEW).fit(mapped(bytes8[:2], tmp_path))
    with pytest.raises(ValueError, match="one image"):
        fitted.predict(bytes8[0])


@pytest.mark.slow
def test_no_copy_of_a_memory_map_is_made(tmp_path: Path) -> None:
    """All that `fit` and the others allocate is less than the images take as float32."""
    rng = np.random.default_rng(0)
    X = mapped(rng.integers(0, 256, (40_000, 28, 28), np.uint8), tmp_path)
    detector = AutoEncoderDetector(
        3, model="dense", hidden=(16,), latent_dim=4, epochs=1, n_init=1, criterion="both",
        random_state=0,
    )  # fmt: skip
    detector.fit(X[:5000])
    tracemalloc.start()
    try:
        detector.fit(X)
        detector.decision_function(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(detector.labels_) == len(X)
    assert peak < 3 * X.nbytes, f"{peak / 1e6:.0f} MB beside images of {X.nbytes / 1e6:.0f} MB"


def test_what_is_stored_is_not_read_to_be_checked(fitted: AutoEncoderDetector) -> None:
    """Bytes cannot be out of range: an image that nobody asks for is not looked at."""

    class Counted(np.ndarray[Any, Any]):
        read = 0

        def __getitem__(self, index: Any) -> Any:
            Counted.read += 1
            return super().__getitem__(index)

    X = StoredImages(np.zeros((5, 8, 8, 1), np.uint8).view(Counted))
    fitted._checked("predict", X)
    assert Counted.read == 0
