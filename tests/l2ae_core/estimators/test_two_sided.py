"""The detector that judges the reconstruction error beside v, and clusters of another number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from l2ae_core import method
from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_kernels.arrays import Array

from .small import TINY, table

ITS_DECISION = (
    "scikit-learn wants decision_function to be score_samples - offset_, v - offset_: here it is "
    "the lower of two margins"
)


def expected_failures(estimator: Any) -> dict[str, str]:
    return {"check_outliers_train": ITS_DECISION}


@pytest.mark.slow
@parametrize_with_checks(
    [AutoEncoderDetector(criterion="both", **TINY)], expected_failed_checks=expected_failures
)
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> Array:
    return load("digits", split="test").images


@pytest.fixture(scope="module")
def clusterer(digits: Array) -> AutoEncoderClusterer:
    return AutoEncoderClusterer(10, epochs=60, n_init=2, random_state=0).fit(digits)


@pytest.fixture(scope="module")
def detector(clusterer: AutoEncoderClusterer) -> AutoEncoderDetector:
    return AutoEncoderDetector.from_clusterer(clusterer, contamination=0.1, criterion="both")


def test_decision_prediction_and_reason_agree(detector: AutoEncoderDetector, digits: Array) -> None:
    X = np.concatenate([digits, 1 - digits, np.zeros_like(digits[:1])])
    decision, reasons = detector.decision_function(X), detector.reasons(X)
    np.testing.assert_array_equal(detector.predict(X), np.where(decision < 0, -1, 1))
    np.testing.assert_array_equal(reasons != "", decision < 0)
    v = detector.score_samples(X)
    error = ((detector.reconstruct(X) - X) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_array_equal(
        np.isin(reasons, ["far from every cluster", "both"]), v < detector.offset_
    )
    near = np.isclose(error, detector.error_threshold_, rtol=1e-4)
    unreconstructed = np.isin(reasons, ["not reconstructed", "both"])
    np.testing.assert_array_equal(
        unreconstructed[~near], (error > detector.error_threshold_)[~near]
    )


def test_the_contamination_is_that_of_both(detector: AutoEncoderDetector, digits: Array) -> None:
    reasons = detector.reasons(digits)
    assert (reasons != "").sum() == int(0.1 * len(digits))
    assert {"far from every cluster", "not reconstructed"} <= {*reasons}
    np.testing.assert_allclose(
        detector.reconstruction_errors_,
        ((detector.reconstruct(digits) - digits) ** 2).sum(axis=(1, 2, 3)),
        rtol=1e-4,
    )


def test_v_alone_takes_negatives_for_normal_and_both_does_not(
    clusterer: AutoEncoderClusterer, detector: AutoEncoderDetector, digits: Array
) -> None:
    assert (detector.predict(1 - digits) == -1).all()
    alone = AutoEncoderDetector.from_clusterer(clusterer, contamination=0.1)
    assert alone.error_threshold_ is None
    assert (alone.predict(1 - digits) == 1).any()
    assert {*alone.reasons(1 - digits)} == {"", "far from every cluster"}
    np.testing.assert_array_equal(alone.score_samples(digits), detector.score_samples(digits))


def test_saved_and_loaded_it_judges_alike(
    detector: AutoEncoderDetector, digits: Array, tmp_path: Path
) -> None:
    detector.save(tmp_path / "both.npz")
    loaded = AutoEncoderDetector.load(tmp_path / "both.npz")
    for name in ("decision_function", "predict", "reasons"):
        np.testing.assert_array_equal(
            getattr(loaded, name)(digits), getattr(detector, name)(digits)
        )
    loaded.calibrate(digits[:200], 0.04)
    assert (loaded.predict(digits[:200]) == -1).sum() == 8


def test_fit_sets_both_thresholds_as_from_clusterer_does() -> None:
    X = table()
    settings: dict[str, Any] = {"random_state": 0, **TINY}
    clusterer = AutoEncoderClusterer(3, **settings).fit(X)
    made = AutoEncoderDetector.from_clusterer(clusterer, contamination=0.2, criterion="both")
    fitted = AutoEncoderDetector(3, contamination=0.2, criterion="both", **settings).fit(X)
    assert fitted.get_params() == made.get_params()
    assert (fitted.offset_, fitted.error_threshold_) == (made.offset_, made.error_threshold_)
    assert (fitted.predict(X) == -1).sum() == 12


def test_files_of_before_are_read_and_judge_by_v(
    clusterer: AutoEncoderClusterer, digits: Array, tmp_path: Path
) -> None:
    alone = AutoEncoderDetector.from_clusterer(clusterer)
    old = {}
    for name, model in (("detector", alone), ("clusterer", clusterer)):
        path = tmp_path / f"{name}.npz"
        model.save(path)
        with np.load(path) as archive:
            entries = dict(archive)
        values = json.loads(str(entries["values"]))
        values["parameters"].pop("criterion", None)
        values.pop("error_threshold_", None)
        del entries["reconstruction_errors_"]
        entries["values"] = np.array(json.dumps(values))
        entries["entries"] = np.array(json.dumps(sorted(entries.keys() - {"entries"})))
        np.savez(path, allow_pickle=False, **entries)
        old[name] = type(model).load(path)
    np.testing.assert_array_equal(
        old["detector"].decision_function(digits), alone.decision_function(digits)
    )
    AutoEncoderDetector.from_clusterer(old["clusterer"])
    with pytest.raises(ValueError, match="has no reconstruction_errors_: fit it again"):
        AutoEncoderDetector.from_clusterer(old["clusterer"], criterion="both")


def test_a_criterion_that_is_none_is_refused_before_the_training() -> None:
    with pytest.raises(ValueError, match="criterion is 'error' but expected 'cosine' or 'both'"):
        AutoEncoderDetector(2, criterion="error", epochs=10**9).fit(table())


# --- another number of clusters


@pytest.mark.parametrize("settings", [{}, {"spherical": True, "norm": "none"}])
def test_reclustering_is_a_fit_with_that_number_without_a_training(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, new = table(), table(seed=1)
    model = AutoEncoderClusterer(3, random_state=4, **TINY, **settings).fit(X)
    before, detector = model.labels_.copy(), AutoEncoderDetector.from_clusterer(model)
    scores = detector.score_samples(new)
    expected = clone(model).set_params(n_clusters=5).fit(X)
    with monkeypatch.context() as forbidden:
        forbidden.setattr(method, "train", None)
        assert model.recluster(5) is model
    assert model.get_params() == expected.get_params()
    for name in ("labels_", "cluster_centers_", "embedding_", "reconstruction_errors_"):
        np.testing.assert_array_equal(getattr(model, name), getattr(expected, name))
    assert (model.inertia_, model.n_iter_) == (expected.inertia_, expected.n_iter_)
    np.testing.assert_array_equal(model.predict(new), expected.predict(new))
    np.testing.assert_array_equal(detector.score_samples(new), scores)
    np.testing.assert_array_equal(model.recluster(3).labels_, before)


def test_reclustering_is_refused_by_name() -> None:
    with pytest.raises(NotFittedError):
        AutoEncoderClusterer(3).recluster(2)
    model = AutoEncoderClusterer(3, random_state=0, **TINY).fit(table())
    for n_clusters, message in (
        (0, "recluster: n_clusters is 0 but expected"),
        (61, "recluster: n_clusters is 61 but expected"),
        (2.5, "recluster: n_clusters is 2.5 but expected"),
    ):
        with pytest.raises(ValueError, match=message):
            model.recluster(n_clusters)  # type: ignore[arg-type]
    assert model.n_clusters == 3
    taught = AutoEncoderClusterer(3, self_label=True, random_state=0, **{**TINY, "epochs": 1})
    with pytest.raises(ValueError, match="its 3 clusters as labels"):
        taught.fit(table()).recluster(2)
