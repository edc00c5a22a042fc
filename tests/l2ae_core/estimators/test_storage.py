"""Saved and loaded estimators give the same bits; foreign files are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_kernels.arrays import Array

TINY: dict[str, Any] = {"hidden": (32,), "epochs": 20, "n_init": 2, "latent_dim": 4}


def table(n: int = 60, features: int = 5, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(n, features))


@pytest.mark.parametrize("estimator_class", [AutoEncoderClusterer, AutoEncoderDetector])
@pytest.mark.parametrize("norm", ["l2", "batch"])
def test_saved_and_loaded_gives_the_same_bits(
    tmp_path: Path, estimator_class: type[Any], norm: str
) -> None:
    X, new = table().astype(np.float32), table(seed=1)
    settings: dict[str, Any] = {**TINY, "hidden": (np.int64(16), 8), "norm": norm, "slope": 0.01}
    model = estimator_class(3, random_state=np.random.RandomState(3), **settings).fit(X)
    model.feature_names_in_ = np.array(list("abcde"), dtype=object)
    model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.npz"]
    loaded = estimator_class.load(tmp_path / "model.npz")
    assert loaded.get_params() == {**model.get_params(), "random_state": model.seed_}
    assert {n for n in vars(loaded) if n.endswith("_")} == {n for n in vars(model) if n[-1] == "_"}
    del model.feature_names_in_, loaded.feature_names_in_
    for method in ("predict", "transform", "score_samples", "reconstruct"):
        if hasattr(model, method):
            got, expected = getattr(loaded, method)(new), getattr(model, method)(new)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
    for name in ("embedding_", "labels_", "cluster_centers_", "mean_", "scale_"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model, name))
        assert getattr(loaded, name).dtype == getattr(model, name).dtype
    assert (loaded.inertia_, loaded.history_) == (model.inertia_, model.history_)


def test_a_file_from_before_the_slope_was_a_parameter_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = AutoEncoderClusterer(2, random_state=0, **TINY).fit(table())
    model.save(path)
    with np.load(path) as archive:
        entries = dict(archive)
    values = json.loads(str(entries["values"]))
    del values["parameters"]["slope"]
    np.savez(path, allow_pickle=False, **{**entries, "values": np.array(json.dumps(values))})
    loaded = AutoEncoderClusterer.load(path)
    assert loaded.slope == 0.3
    np.testing.assert_array_equal(loaded.transform(table()), model.embedding_)


def test_loaded_image_model_knows_its_images(tmp_path: Path) -> None:
    images = load("digits", split="test").images
    settings: dict[str, Any] = {**TINY, "epochs": 1}
    model = AutoEncoderClusterer(3, image_shape=(8, 8), random_state=0, **settings).fit(images)
    model.save(str(tmp_path / "model.npz"))
    loaded = AutoEncoderClusterer.load(str(tmp_path / "model.npz"))
    assert loaded.image_shape_ == (8, 8, 1)
    assert loaded.mean_ is None
    np.testing.assert_array_equal(loaded.transform(images), model.embedding_)


def test_foreign_damaged_and_newer_files_are_refused_by_name(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    AutoEncoderClusterer(2, random_state=0, **TINY).fit(table()).save(good)
    with pytest.raises(ValueError, match=r"good.npz holds an AutoEncoderClusterer but expected"):
        AutoEncoderDetector.load(good)
    with pytest.raises(FileNotFoundError, match=r"absent.npz"):
        AutoEncoderClusterer.load(tmp_path / "absent.npz")
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    with np.load(good) as archive:
        entries = dict(archive)
    for content, message in (
        (b"not a zip", "not a readable .npz"),
        (data[: len(data) // 2], "not a readable .npz"),
        (bytes(flipped), "damaged"),
        ({"a": np.zeros(3)}, "not an estimator of this library"),
        ({**entries, "format": np.array(["l2ae-estimator", "99", "X"])}, "newer"),
        ({**entries, "params/encoder.1.W": np.zeros(3, np.float32)}, "encoder.1.W"),
        ({k: v for k, v in entries.items() if k != "values"}, "values"),
        ({k: v for k, v in entries.items() if k != "labels_"}, "labels_"),
        ({**entries, "values": np.array([{}], dtype=object)}, "not a readable .npz"),
    ):
        if isinstance(content, bytes):
            bad.write_bytes(content)
        else:
            np.savez(bad, **content)
        with pytest.raises(ValueError, match=rf"bad.npz.*{message}"):
            AutoEncoderClusterer.load(bad)
