"""`L2AutoEncoder` as PyOD uses its detectors: alone, cloned, and in its ensembles."""

import warnings
from copy import copy
from inspect import signature

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

pytest.importorskip("pyod", reason="the extra pyod is not installed")

from pyod.models.base import BaseDetector

from l2ae_core.estimators import AutoEncoderDetector
from l2ae_core.estimators.pyod import L2AutoEncoder

SMALL = {"n_clusters": 2, "epochs": 20, "batch_size": 32, "n_init": 2, "random_state": 0}
SMALL |= {"model": "dense", "hidden": (16, 8), "latent_dim": 3}
SHARE = 0.1


def samples(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 4, 6) of two kinds, every tenth of a third kind, and which these are."""
    rng = np.random.default_rng(seed)
    x, kind = rng.random((n, 4, 6)) * 0.2, np.arange(n) % 2
    anomalous = np.arange(n) % 10 == 9
    x[(kind == 0) & ~anomalous, :2] += 0.8
    x[(kind == 1) & ~anomalous, 2:] += 0.8
    x[anomalous, :, ::2] += 0.8
    return x, anomalous.astype(int)


X, Y = samples(120, 0)
NEW, NEW_Y = samples(60, 1)


@pytest.fixture(scope="module")
def fitted() -> L2AutoEncoder:
    return L2AutoEncoder(**SMALL, contamination=SHARE).fit(X)


def test_scores_labels_and_threshold(fitted):
    assert isinstance(fitted, BaseDetector)
    assert fitted.decision_scores_.shape == (120,)
    assert fitted.labels_.sum() == 12
    np.testing.assert_array_equal(fitted.labels_, fitted.decision_scores_ > fitted.threshold_)
    np.testing.assert_allclose(fitted.decision_function(X), fitted.decision_scores_, atol=1e-12)
    found = fitted.decision_function(NEW)
    np.testing.assert_array_equal(found, 1 - fitted.detector_.score_samples(NEW))
    np.testing.assert_array_equal(fitted.predict(NEW), (found > fitted.threshold_).astype(int))
    # the third kind was a tenth of the training: high scores are its own
    assert roc_auc_score(Y, fitted.decision_scores_) > 0.9
    assert roc_auc_score(NEW_Y, found) > 0.9


def test_by_both_criteria(fitted):
    both = L2AutoEncoder(**SMALL, contamination=SHARE, criterion="both").fit(X)
    np.testing.assert_allclose(both.decision_function(X), both.decision_scores_, atol=1e-12)
    assert both.labels_.sum() == 12
    assert both.detector_.criterion == "both"
    np.testing.assert_array_equal(both.decision_function(X), -both.detector_.decision_function(X))
    # images of nothing that the training had: v may take them for normal, the error does not
    checks = np.tile([[0.0, 1.0], [1.0, 0.0]], (2, 3))
    new = np.concatenate([NEW[NEW_Y == 0], 0.9 * checks[None]])
    assert both.decision_function(new).argmax() == len(new) - 1
    again = L2AutoEncoder.from_detector(both.detector_, contamination=SHARE)
    np.testing.assert_array_equal(again.decision_scores_, both.decision_scores_)


def test_what_the_base_class_makes_of_them(fitted):
    for method in ("linear", "unify"):
        probability, confidence = fitted.predict_proba(NEW, method, return_confidence=True)
        assert probability.shape == (60, 2)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert 0 <= probability.min() <= probability.max() <= 1
        assert confidence.shape == (60,)
        assert roc_auc_score(NEW_Y, probability[:, 1]) > 0.9
    with pytest.raises(ValueError, match="something"):
        fitted.predict_proba(NEW, method="something")
    labels, confidence = fitted.predict(NEW, return_confidence=True)
    assert set(labels) == {0, 1}
    assert 0 <= confidence.min() <= confidence.max() <= 1
    assert set(fitted.predict_with_rejection(NEW, T=1, c_r=0.1)) <= {-2, 0, 1}
    ranks = fitted._predict_rank(NEW)
    order = np.argsort(fitted.decision_function(NEW))
    assert (np.diff(ranks[order]) >= 0).all()
    assert 0 < fitted._predict_rank(NEW, normalized=True).max() <= 1


def test_deprecated_methods_that_pyod_still_tests():
    one = L2AutoEncoder(**SMALL | {"epochs": 2}, contamination=SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        np.testing.assert_array_equal(one.fit_predict(X), one.labels_)
        assert 0 <= one.fit_predict_score(X, Y) <= 1
        assert 0 <= one.fit_predict_score(X, Y, scoring="prc_n_score") <= 1


def test_parameters_and_clones(fitted):
    parameters = fitted.get_params()
    assert {*parameters} == {*signature(AutoEncoderDetector).parameters}
    unfitted = clone(fitted)
    assert unfitted.get_params() == parameters
    assert not hasattr(unfitted, "decision_scores_")
    with pytest.raises(ValueError, match="not fitted"):
        unfitted.decision_function(NEW)
    np.testing.assert_array_equal(unfitted.fit(X).decision_scores_, fitted.decision_scores_)
    other = clone(fitted).set_params(random_state=1).fit(X)
    assert (other.decision_scores_ != fitted.decision_scores_).any()
    assert repr(fitted).startswith("L2AutoEncoder(")


def test_bad_parameters():
    for bad in (0.0, 0.6, -1):
        with pytest.raises(ValueError, match="contamination must be in"):
            L2AutoEncoder(contamination=bad)
    with pytest.raises(ValueError, match="epochs"):
        L2AutoEncoder(epochs=0).fit(X)


def test_labels_given_to_fit_are_ignored_with_a_warning(fitted):
    with pytest.warns(UserWarning, match="unsupervised"):
        given = clone(fitted).fit(X, Y)
    np.testing.assert_array_equal(given.decision_scores_, fitted.decision_scores_)


def test_flat_images_are_images(fitted):
    flat = L2AutoEncoder(**SMALL, image_shape=(4, 6), contamination=SHARE).fit(X.reshape(120, -1))
    np.testing.assert_array_equal(flat.decision_scores_, fitted.decision_scores_)
    new = NEW.reshape(60, -1)
    np.testing.assert_array_equal(flat.decision_function(new), fitted.decision_function(NEW))


def test_over_a_detector_that_was_saved(fitted, tmp_path):
    fitted.detector_.save(tmp_path / "detector.npz")
    detector = AutoEncoderDetector.load(tmp_path / "detector.npz")
    found = L2AutoEncoder.from_detector(detector, contamination=SHARE)
    assert found.get_params() == fitted.get_params()
    np.testing.assert_array_equal(found.labels_, fitted.labels_)
    np.testing.assert_array_equal(found.predict_proba(NEW), fitted.predict_proba(NEW))


def test_over_a_detector_without_what_it_needs(fitted):
    for criterion, name in (("cosine", "embedding_"), ("both", "reconstruction_errors_")):
        detector = copy(fitted.detector_)
        detector.criterion = criterion
        setattr(detector, name, None)
        with pytest.raises(ValueError, match=f"the detector has no {name}"):
            L2AutoEncoder.from_detector(detector)


class Thresholder:
    """What an object of PyThresh offers: a threshold of its own making."""

    def fit(self, scores: np.ndarray) -> None:
        self.thresh_ = float(np.median(scores))
        self.labels_ = (scores > self.thresh_).astype(int)

    def predict(self, scores: np.ndarray) -> np.ndarray:
        return (scores > self.thresh_).astype(int)


def test_a_thresholder_as_contamination():
    found = L2AutoEncoder(**SMALL | {"epochs": 2}, contamination=Thresholder()).fit(X)
    assert found.labels_.sum() == 60
    np.testing.assert_array_equal(
        found.predict(NEW), found.decision_function(NEW) > found.contamination.thresh_
    )


TABLE, NEW_TABLE = X.reshape(120, -1), NEW.reshape(60, -1)


def test_feature_bagging():
    """It trains clones, each with a seed of its own, on some of the columns of a table."""
    pytest.importorskip("combo", reason="the extra pyod is not installed")
    from pyod.models.feature_bagging import FeatureBagging

    one = L2AutoEncoder(**SMALL)
    bag = FeatureBagging(one, n_estimators=3, contamination=SHARE, random_state=0).fit(TABLE)
    assert len({e.random_state for e in bag.estimators_}) == 3
    assert roc_auc_score(NEW_Y, bag.decision_function(NEW_TABLE)) > 0.9


def test_lscp():
    pytest.importorskip("combo", reason="the extra pyod is not installed")
    from pyod.models.lscp import LSCP

    pair = [L2AutoEncoder(**SMALL | {"random_state": seed}) for seed in (0, 1)]
    found = LSCP(pair, contamination=SHARE, random_state=0).fit(TABLE)
    assert found.decision_scores_.shape == (120,)
    assert roc_auc_score(NEW_Y, found.decision_function(NEW_TABLE)) > 0.9


def test_suod():
    pytest.importorskip("suod", reason="suod is no part of the extra pyod")
    from pyod.models.suod import SUOD

    pair = [L2AutoEncoder(**SMALL | {"random_state": seed}) for seed in (0, 1)]
    found = SUOD(
        pair, contamination=SHARE, n_jobs=1, rp_flag_global=False, bps_flag=False,
        approx_flag_global=False,
    ).fit(TABLE)  # fmt: skip
    assert found.decision_scores_.shape == (120,)
    assert roc_auc_score(NEW_Y, found.decision_function(NEW_TABLE)) > 0.9
