"""What the estimators compute: labels, scores, thresholds, scaling, one network for both."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from l2ae_core import method
from l2ae_core.anomaly import ROUNDING
from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_core.layers import LeakyReLU
from l2ae_kernels.arrays import Array

from .small import ONE_EPOCH, TINY, table


def nearest(u: Array, centers: Array) -> Array:
    return ((u[:, None, :] - centers) ** 2).sum(axis=2).argmin(axis=1)  # (N, K, D) -> (N,)


@pytest.mark.parametrize("spherical", [False, True])
def test_predict_on_new_data_is_the_nearest_center_of_the_codes(spherical: bool) -> None:
    model = AutoEncoderClusterer(4, spherical=spherical, norm="none", random_state=0, **TINY)
    X, new = table(), table(seed=1)
    model.fit(X)
    for x, labels in ((X, model.labels_), (new, model.predict(new))):
        u = model.transform(x)
        u = u / np.linalg.norm(u, axis=1, keepdims=True) if spherical else u
        np.testing.assert_array_equal(labels, nearest(u, model.cluster_centers_))
        inertia = ((u - model.cluster_centers_[labels]) ** 2).sum()
        assert model.score(x) == pytest.approx(-inertia)
    assert model.score(X) == pytest.approx(-model.inertia_)


@pytest.mark.parametrize("norm", ["l2", "none"])
def test_scores_are_the_cosine_to_the_nearest_center_and_never_clipped(norm: str) -> None:
    X = table()
    model = AutoEncoderDetector(1, norm=norm, random_state=0, **TINY).fit(X)
    u = AutoEncoderClusterer(1, norm=norm, random_state=0, **TINY).fit_transform(X)
    c = model.cluster_centers_[0]
    v = model.score_samples(X)
    np.testing.assert_allclose(v, u @ c / np.linalg.norm(u, axis=1) / np.linalg.norm(c))
    assert v.min() < 0, "negative scores exist and are kept"
    assert np.abs(v).max() <= 1 + 1e-6


def test_threshold_follows_contamination_and_calibration() -> None:
    X, normal = table(200), table(100, seed=1)
    model = AutoEncoderDetector(3, random_state=0, **TINY)
    for contamination, alarms in (("auto", 10), (0.1, 20), (0.5, 100)):
        model.set_params(contamination=contamination).fit(X)
        assert (model.predict(X) == -1).sum() == alarms
    model.calibrate(normal, fpr=0.03)
    assert (model.predict(normal) == -1).sum() == 3
    v = model.score_samples(normal)
    np.testing.assert_array_equal(model.decision_function(normal), v - model.offset_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sample_alone_and_in_company_is_on_the_same_side(dtype: type) -> None:
    """Where the scores on both sides of the threshold differ by more than rounding."""
    X = load("digits", split="test").images.astype(dtype)
    model = AutoEncoderDetector(3, random_state=0, **{**TINY, "epochs": 1}).fit(X)
    v, compared = model.score_samples(X), 0
    thresholds = [(model.offset_, 0.05)]
    thresholds += [(model.calibrate(X, fpr).offset_, fpr) for fpr in (0.01, 0.02, 0.05, 0.1, 0.2)]
    for model.offset_, share in thresholds:
        above, below = (
            np.where(v > model.offset_, v, 2).argmin(),
            np.where(v < model.offset_, v, -2).argmax(),
        )
        assert v[below] < model.offset_ < v[above]
        assert (v <= v[below]).mean() <= share < (v <= v[above]).mean()
        if v[above] - v[below] > 2 * ROUNDING:
            assert model.offset_ == pytest.approx((v[above] + v[below]) / 2, abs=1e-12)
            for k in (above, below):
                assert model.predict(X[k : k + 1])[0] == model.predict(X)[k]
            compared += 1
    assert compared >= 2


def test_equal_random_state_gives_equal_bits_and_another_one_does_not() -> None:
    X = table()
    first, second, other = (
        AutoEncoderClusterer(3, random_state=seed, **TINY).fit(X) for seed in (7, 7, 8)
    )
    for name in ("embedding_", "cluster_centers_", "labels_"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.inertia_ == second.inertia_
    assert not np.array_equal(first.embedding_, other.embedding_)
    numpy_random = AutoEncoderClusterer(3, random_state=np.random.RandomState(7), **TINY).fit(X)
    assert clone(numpy_random).fit(X).seed_ != 7, "a RandomState draws a seed"


def test_images_flat_grey_or_with_a_channel_axis_are_the_same() -> None:
    images = load("digits", split="test").images  # (N, 8, 8, 1)
    flat = images.reshape(len(images), 64)
    with_channel = AutoEncoderClusterer(3, **ONE_EPOCH).fit(images)
    grey = AutoEncoderClusterer(3, **ONE_EPOCH).fit(images[..., 0])
    named = AutoEncoderClusterer(3, image_shape=(8, 8), **ONE_EPOCH).fit(flat)
    for model in (grey, named):
        np.testing.assert_array_equal(model.embedding_, with_channel.embedding_)
        np.testing.assert_array_equal(model.predict(images), with_channel.predict(flat))
    assert with_channel.architecture_.model == "cae"
    assert with_channel.reconstruct(images).shape == images.shape
    assert with_channel.reconstruct(flat).shape == flat.shape


def test_auto_takes_convolutions_only_where_the_sides_fit() -> None:
    rng = np.random.default_rng(0)
    for shape, expected in (((8, 12, 2), "cae"), ((9, 10, 1), "cae"), ((7, 9, 1), "dense")):
        model = AutoEncoderClusterer(2, **ONE_EPOCH).fit(rng.random((6, *shape)))
        assert model.architecture_.model == expected
        assert model.image_shape_ == shape
    assert AutoEncoderClusterer(2, **ONE_EPOCH).fit(table()).architecture_.model == "dense"


def test_widths_are_those_of_the_network() -> None:
    x = np.random.default_rng(0).random((6, 5, 7))
    model = AutoEncoderClusterer(2, **ONE_EPOCH | {"filters": [3, 6], "kernels": (5, 2)}).fit(x)
    shapes = {n: p.shape for n, p in model.autoencoder_.params.items() if p.ndim == 4}
    assert shapes == {
        "encoder.0.W": (5, 5, 1, 3), "encoder.2.W": (2, 2, 3, 6),
        "decoder.3.W": (2, 2, 3, 6), "decoder.5.W": (5, 5, 1, 3),
    }  # fmt: skip
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("estimator_class", [AutoEncoderClusterer, AutoEncoderDetector])
def test_the_slope_is_that_of_every_activation(estimator_class: type[Any]) -> None:
    network = (
        estimator_class(2, slope=0.25, **{**ONE_EPOCH, "hidden": (16, 8)}).fit(table()).autoencoder_
    )
    layers = (*network.encoder.layers, *network.decoder.layers)
    assert [a.slope for a in layers if isinstance(a, LeakyReLU)] == [0.25] * 4


def test_dtype_of_X_is_kept_and_float64_rows_do_not_depend_on_their_companions() -> None:
    X = table()
    model = AutoEncoderClusterer(3, random_state=0, **TINY).fit(X)
    narrow = model.transform(X.astype(np.float32))
    assert (narrow.dtype, model.transform(X).dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(narrow, model.transform(X), atol=1e-5)  # float32 rounding
    one_by_one = np.concatenate([model.transform(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(one_by_one, model.transform(X), atol=1e-12)


def test_tables_are_standardized_and_decoded_in_their_own_units() -> None:
    X = table() * [1, 1e3, 1e-3, 1, 1]
    X[:, 4] = 0.1
    model = AutoEncoderClusterer(3, random_state=0, **TINY).fit(X)
    np.testing.assert_allclose(model.mean_, X.mean(axis=0))
    np.testing.assert_allclose(model.scale_[:4], X.std(axis=0)[:4])
    assert model.scale_[4] == 1
    decoded = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(decoded, model.reconstruct(X))
    unscaled = AutoEncoderClusterer(3, random_state=0, scale="none", **TINY)
    standardized = (X - X.mean(axis=0)) / np.where(X.std(axis=0) < 1e-9, 1, X.std(axis=0))
    same = unscaled.fit_transform(standardized)
    np.testing.assert_allclose(same, model.embedding_, atol=1e-4)  # float32 training
    error = ((decoded - X) / model.scale_).var(axis=0)[:4]
    assert (error < 0.9).all(), "twenty epochs explain something of every column"


def test_from_clusterer_trains_nothing_and_equals_a_detector_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, new = table(), table(seed=1)
    trained = AutoEncoderDetector(3, contamination=0.2, random_state=0, **TINY).fit(X)
    clusterer = AutoEncoderClusterer(3, random_state=0, **TINY).fit(X)
    with monkeypatch.context() as forbidden:
        forbidden.setattr(method, "fit", None)
        forbidden.setattr(method, "kmeans", None)
        detector = AutoEncoderDetector.from_clusterer(clusterer, contamination=0.2)
    assert detector.autoencoder_ is clusterer.autoencoder_
    assert detector.get_params() == trained.get_params()
    assert detector.offset_ == trained.offset_
    scores = detector.score_samples(new)
    np.testing.assert_array_equal(scores, trained.score_samples(new))
    clusterer.set_params(random_state=1).fit(X)
    np.testing.assert_array_equal(detector.score_samples(new), scores)


def test_nested_lists_of_images_are_what_the_array_is() -> None:
    images = np.random.default_rng(0).random((20, 8, 8))
    clusterer = AutoEncoderClusterer(
        2, hidden=(8,), latent_dim=3, epochs=1, n_init=1, model="dense", random_state=0
    )
    expected = clusterer.fit(images).labels_
    for given in (images.tolist(), list(images), images[..., None].tolist()):
        np.testing.assert_array_equal(clusterer.fit(given).labels_, expected)
        assert clusterer.image_shape_ == (8, 8, 1)
        np.testing.assert_array_equal(clusterer.predict(given), expected)
    assert clusterer.reconstruct(images.tolist()).shape == images.shape
    with pytest.raises(ValueError, match="one image"):
        clusterer.predict(images[0].tolist())
