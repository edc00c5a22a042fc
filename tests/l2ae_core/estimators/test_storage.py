"""Saved and loaded estimators give the same bits; foreign files are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector

from .small import ONE_EPOCH, TINY, table


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
    model = AutoEncoderClusterer(2, slope=0.3, random_state=0, **TINY).fit(table())
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
    model = AutoEncoderClusterer(3, image_shape=(8, 8), **ONE_EPOCH).fit(images)
    model.save(str(tmp_path / "model.npz"))
    loaded = AutoEncoderClusterer.load(str(tmp_path / "model.npz"))
    assert loaded.image_shape_ == (8, 8, 1)
    assert loaded.mean_ is None
    np.testing.assert_array_equal(loaded.transform(images), model.embedding_)


def test_foreign_damaged_and_newer_files_are_refused_by_name(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    AutoEncoderClusterer(2, random_state=0, **TINY).fit(table()).save(good)
    with pytest.raises(ValueError, match=r"good.npz: holds 'AutoEncoderClusterer' but expected"):
        AutoEncoderDetector.load(good)
    with pytest.raises(FileNotFoundError, match=r"absent.npz"):
        AutoEncoderClusterer.load(tmp_path / "absent.npz")
    with np.load(good) as archive:
        entries = dict(archive)
    for content, message in (
        (b"not a zip", "not a readable .npz"),
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


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fitted") / "good.npz"
    AutoEncoderClusterer(2, **ONE_EPOCH).fit(table()).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels_", np.zeros(60)), ("labels_", np.full(60, 2)), ("labels_", np.full(60, -1)),
        ("labels_", np.zeros(59, int)), ("embedding_", np.zeros((60, 3), "f4")),
        ("embedding_", np.full((60, 4), np.nan)), ("cluster_centers_", np.zeros((2, 9))),
        ("cluster_centers_", np.zeros(4)), ("mean_", np.zeros(4)), ("scale_", np.array("x")),
        ("values/inertia_", "1"), ("values/seed_", 1.5), ("values/n_features_in_", 6),
        ("values/image_shape_", [5, 1, 1]), ("values/history_", [{}]), ("values/history_", {}),
        ("values/architecture", []), ("values/architecture/latent_dim", 10**9),
        ("values/architecture/hidden", [10**6, 10**6]), ("values/parameters/scale", 3),
        ("values/parameters/more", 3), ("values/parameters/n_clusters", "two"),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_is_refused_by_name(
    fitted: Path, tmp_path: Path, name: str, value: Any
) -> None:
    path = tmp_path / "bad.npz"
    with np.load(fitted) as archive:
        entries = dict(archive)
    if name.startswith("values"):
        values = json.loads(str(entries["values"]))
        _, *way, last = name.split("/")
        part = values
        for step in way:
            part = part[step]
        part[last] = value
        entries["values"] = np.array(json.dumps(values))
    else:
        entries[name] = value
    np.savez(path, **entries)
    with pytest.raises(ValueError, match=r"bad\.npz") as told:
        AutoEncoderClusterer.load(path)
    assert "\n" not in str(told.value)
