"""Warped images and self-labelling in the estimators: what `l2ae fit` does, saved and cloned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from l2ae_core.commands import fit
from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_core.refinement import SelfLabelling
from l2ae_core.training.augment import Warp
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, threads

from .small import ONE_EPOCH, table

K = 4
SHARED: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-3, "n_init": 2}
SMALL: dict[str, Any] = {"epochs": 3, **SHARED}
FEW = SelfLabelling(K, rounds=2, batch_size=32, n_init=2)
RECORDED = {"round", "loss", "label_change", "kl", "reconstruction", "mean_max_q"}


@pytest.fixture(scope="module")
def images() -> Array:
    return load("digits", split="test").images[:90]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, {}),
        ({"augment": True}, {"augment": True}),
        ({"self_label": True}, {"self_label": True}),
        ({"augment": True, "self_label": True}, {"augment": True, "self_label": True}),
        (
            {"augment": True, "rotation": 30, "scale": 0.2, "self_label": True, "rounds": 2,
             "concentration": 8, "gamma": 0.5, "label_shift": 0.25, "label_scale": 0},
            {"augment": Warp(30, 0.1, 0.2),
             "self_label": SelfLabelling(K, rounds=2, concentration=8, gamma=0.5,
                                         warp=Warp(20, 0.25, 0), **SHARED)},
        ),
    ],
    ids=["plain", "augment", "self_label", "both", "both with settings"],
)  # fmt: skip
def test_the_bits_are_those_of_l2ae_fit_for_any_number_of_threads(
    settings: dict[str, Any], parameters: dict[str, Any], images: Array, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    np.save(tmp_path / "images.npy", images)
    given = {"data": str(tmp_path / "images.npy"), "clusters": K, "seed": 5, **SMALL, **settings}
    expected = fit(tmp_path / "run", given, progress=False)
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)  # share even tiny work
    for count in (1, MOST):
        with threads(count):
            found = AutoEncoderClusterer(K, random_state=5, **SMALL, **parameters).fit(images)
        np.testing.assert_array_equal(found.embedding_, expected.codes)
        np.testing.assert_array_equal(found.cluster_centers_, expected.clusters.centers)
        np.testing.assert_array_equal(found.labels_, expected.clusters.labels)
        assert found.inertia_ == expected.clusters.inertia
        assert [record["loss"] for record in found.history_] == expected.history.losses
        refined = expected.self_labelled
        assert found.self_labelling_history_ == (None if refined is None else refined.rounds())


@pytest.mark.parametrize("estimator_class", [AutoEncoderClusterer, AutoEncoderDetector])
def test_codes_and_clusters_are_those_of_the_self_labelled_network(
    estimator_class: type[Any], images: Array
) -> None:
    model = estimator_class(K, self_label=FEW, **ONE_EPOCH).fit(images)
    plain = estimator_class(K, **ONE_EPOCH).fit(images)
    u = model.autoencoder_.encode(images)
    np.testing.assert_array_equal(model.embedding_, u)
    assert not np.array_equal(model.embedding_, plain.embedding_)
    squares = ((u[:, None] - model.cluster_centers_) ** 2).sum(axis=2)  # (N, K)
    near = squares.min(axis=1) + 1e-5  # rounding of float32, for codes halfway between centers
    assert (squares[np.arange(len(u)), model.labels_] <= near).all()
    rounds = model.self_labelling_history_
    assert [r["round"] for r in rounds] == list(range(1, len(rounds) + 1))
    assert all(r.keys() == RECORDED for r in rounds)
    assert plain.self_labelling_history_ is None
    refitted = model.set_params(self_label=False).fit(images)
    assert refitted.self_labelling_history_ is None
    np.testing.assert_array_equal(refitted.embedding_, plain.embedding_)


def test_a_detector_of_a_self_labelled_clusterer_is_one_of_its_own(images: Array) -> None:
    settings: dict[str, Any] = {**ONE_EPOCH, "augment": Warp(5.0), "self_label": FEW}
    trained = AutoEncoderDetector(K, **settings).fit(images)
    clusterer = AutoEncoderClusterer(K, **settings).fit(images)
    detector = AutoEncoderDetector.from_clusterer(clusterer)
    assert detector.get_params() == trained.get_params()
    assert detector.self_labelling_history_ == trained.self_labelling_history_
    np.testing.assert_array_equal(detector.score_samples(images), trained.score_samples(images))
    np.testing.assert_array_equal(detector.offset_, trained.offset_)


def test_tables_are_self_labelled_without_a_warp() -> None:
    X = table()
    model = AutoEncoderClusterer(3, self_label=True, **ONE_EPOCH).fit(X)
    given = SelfLabelling(3, warp=None, n_init=ONE_EPOCH["n_init"])
    same = AutoEncoderClusterer(3, self_label=given, **ONE_EPOCH).fit(X)
    np.testing.assert_array_equal(same.embedding_, model.embedding_)


def test_students_assignment_takes_codes_of_any_length() -> None:
    student = SelfLabelling(3, assignment="student", gamma=None, rounds=2, warp=None, n_init=2)
    model = AutoEncoderClusterer(3, norm="none", self_label=student, **ONE_EPOCH).fit(table())
    assert {r["reconstruction"] for r in model.self_labelling_history_} == {None}


def test_parameters_are_cloned_and_searched(images: Array) -> None:
    model = AutoEncoderClusterer(K, augment=Warp(rotation=20.0), self_label=FEW, **ONE_EPOCH)
    copied = clone(model)
    assert (copied.augment, copied.self_label) == (Warp(rotation=20.0), FEW)
    assert copied.set_params(augment=False).get_params()["augment"] is False
    grid = {"augment": [False, Warp(rotation=20.0)], "self_label": np.array([False, True])}
    flat = AutoEncoderClusterer(2, image_shape=(8, 8), **ONE_EPOCH)
    search = GridSearchCV(flat, grid, cv=2).fit(images.reshape(len(images), -1))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["augment"] in grid["augment"]


def edit(path: Path, change: Any) -> None:
    """Change the JSON values of a saved estimator."""
    with np.load(path) as archive:
        entries = dict(archive)
    values = json.loads(str(entries["values"]))
    change(values)
    np.savez(path, allow_pickle=False, **{**entries, "values": np.array(json.dumps(values))})


@pytest.mark.parametrize("estimator_class", [AutoEncoderClusterer, AutoEncoderDetector])
@pytest.mark.parametrize(
    ("augment", "self_label"),
    [
        (np.bool_(True), np.bool_(True)),
        (Warp(np.float32(20), 0.25), SelfLabelling(np.int64(K), rounds=2, gamma=None, warp=None)),
        (False, SelfLabelling(K, rounds=2, tol=0.5, warp=Warp(1.0, 0.5, 0.25))),
    ],
)
def test_settings_and_rounds_are_saved(
    estimator_class: type[Any], augment: Any, self_label: Any, images: Array, tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    settings = {**ONE_EPOCH, "augment": augment, "self_label": self_label}
    model = estimator_class(K, **settings).fit(images)
    model.save(path)
    loaded = estimator_class.load(path)
    assert loaded.get_params() == model.get_params()
    assert loaded.self_labelling_history_ == model.self_labelling_history_
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))
    np.testing.assert_array_equal(loaded.fit(images).embedding_, model.embedding_)


def test_a_file_from_before_self_labelling_is_read(images: Array, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = AutoEncoderClusterer(K, **ONE_EPOCH).fit(images)
    model.save(path)

    def remove(values: dict[str, Any]) -> None:
        del values["parameters"]["augment"], values["parameters"]["self_label"]
        del values["self_labelling_history_"]

    edit(path, remove)
    loaded = AutoEncoderClusterer.load(path)
    assert (loaded.augment, loaded.self_label) == (False, False)
    assert loaded.self_labelling_history_ is None
    np.testing.assert_array_equal(loaded.transform(images), model.embedding_)


@pytest.fixture(scope="module")
def saved(images: Array, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "good.npz"
    AutoEncoderClusterer(K, augment=Warp(), self_label=FEW, **ONE_EPOCH).fit(images).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("way", "value", "named"),
    [
        (("parameters", "augment", "rotation"), "much", "augment.rotation"),
        (("parameters", "augment", "rotation"), -1.0, "rotation is -1.0"),
        (("parameters", "augment", "turn"), 1.0, "augment.turn"),
        (("parameters", "augment"), 3, "augment is 3"),
        (("parameters", "self_label", "n_clusters"), 9, "n_clusters=9"),
        (("parameters", "self_label", "warp"), 0, "self_label.warp"),
        (("parameters", "self_label", "assignment"), "cosine", "self_label.assignment"),
        (("parameters", "norm"), "none", "norm is 'none'"),
        (("self_labelling_history_",), 1, "self_labelling_history_"),
        (("self_labelling_history_", 0), {}, r"self_labelling_history_\[0\].round"),
        (("self_labelling_history_", 0, "kl"), None, r"self_labelling_history_\[0\].kl"),
        (("self_labelling_history_", 0, "round"), 2, "round 2"),
    ],
)
def test_damaged_settings_and_rounds_are_refused_by_name(
    way: tuple[str | int, ...], value: Any, named: str, saved: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(saved)

    def damage(part: Any) -> None:
        for step in way[:-1]:
            part = part[step]
        part[way[-1]] = value

    edit(path, damage)
    with pytest.raises(ValueError, match=rf"bad\.npz.*{named}"):
        AutoEncoderClusterer.load(path)
