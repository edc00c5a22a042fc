"""The method: which weights are kept, what is computed once, what a seed fixes."""

from collections.abc import Callable

import numpy as np
import pytest

from l2ae_core.anomaly import cosine_normality, reconstruction_error
from l2ae_core.method import cluster, score, train
from l2ae_core.networks import Architecture, AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_kernels.arrays import Array

SMALL = Architecture("dense", (4, 4, 1), latent_dim=3, slope=0.3, hidden=(8,))


@pytest.fixture(scope="module")
def images() -> Array:
    return np.random.default_rng(0).random((40, 4, 4, 1), np.float32)


def test_the_weights_are_those_of_the_lowest_loss_or_of_the_last_epoch(images: Array) -> None:
    trained = {
        weights: train(images, SMALL, epochs=8, learning_rate=0.3, seed=1, weights=weights)
        for weights in ("best", "last")
    }
    (best, history), (last, other) = trained["best"], trained["last"]
    assert history.losses == other.losses, "a seed fixes a training"
    assert history.losses[-1] > min(history.losses), "this rate must overshoot"
    assert any(not np.array_equal(last.params[name], p) for name, p in best.params.items())
    for name, p in history.best.params.items():
        np.testing.assert_array_equal(best.params[name], p)
    with pytest.raises(ValueError, match="weights is 'worst' but expected one of"):
        train(images, SMALL, epochs=1, weights="worst")


@pytest.mark.parametrize("norm", ["l2", "none"])
def test_images_are_encoded_once_and_scored_with_the_bits_of_a_reconstruction(
    norm: str, images: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture("dense", (4, 4, 1), 3, norm, hidden=(8,))
    model, _ = train(images, architecture, epochs=1)
    u, clustering = cluster(model, images, 3, n_init=2, rng=rngs(0).kmeans)
    np.testing.assert_array_equal(clustering.predict(u), clustering.labels)
    expected = reconstruction_error(images, model.reconstruct(images))
    encoded: list[int] = []

    def counted(self: AutoEncoder, x: Array, plain: Callable[..., Array] = AutoEncoder._z) -> Array:
        encoded.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(AutoEncoder, "_z", counted)
    found = score(model, clustering.centers, images)
    assert encoded == [len(images)]
    np.testing.assert_array_equal(found.u, u)
    np.testing.assert_array_equal(found.v, cosine_normality(u, clustering.centers))
    np.testing.assert_array_equal(found.error, expected)
