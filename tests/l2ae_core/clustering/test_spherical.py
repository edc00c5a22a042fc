"""Spherical k-means: unit centers, and the cosine."""

import numpy as np

from l2ae_core.clustering.kmeans import kmeans

from .made_up import blobs, rng


def test_spherical_has_unit_centers_and_maximises_the_cosine() -> None:
    x = blobs(700, 6, 5, spread=0.7)
    found = kmeans(x, 5, n_init=5, rng=rng(), spherical=True)
    np.testing.assert_allclose(np.linalg.norm(found.centers, axis=1), 1, rtol=1e-12)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ found.centers.T
    np.testing.assert_array_equal(found.labels, cosine.argmax(axis=1))
    np.testing.assert_allclose(found.inertia, 2 * (1 - cosine.max(axis=1)).sum())
    for j in range(5):  # each center is the direction of the mean of its samples
        mean = unit[found.labels == j].sum(axis=0)
        np.testing.assert_allclose(found.centers[j], mean / np.linalg.norm(mean), rtol=1e-9)


def test_spherical_ignores_the_length_of_rows_and_of_the_start() -> None:
    x = blobs(300, 4, 5)
    start = x[:5]
    lengths = rng(1).uniform(0.5, 2.0, size=(300, 1))
    plain = kmeans(x, 5, rng=rng(), init=start, spherical=True)
    scaled = kmeans(lengths * x, 5, rng=rng(), init=3 * start, spherical=True)
    np.testing.assert_array_equal(plain.labels, scaled.labels)
    np.testing.assert_array_equal(plain.predict(lengths * x), plain.labels)


def test_spherical_differs_from_kmeans_on_unit_rows() -> None:
    # Centers at angles 0 (tight) and 90 degrees (spread by 60): plain k-means shortens the second.
    angles = np.deg2rad(np.concatenate([np.zeros(50), np.linspace(30, 150, 61)]))
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    start = np.array([[1.0, 0.0], [0.0, 1.0]])
    spherical = kmeans(x, 2, rng=rng(), init=start, spherical=True)
    plain = kmeans(x, 2, rng=rng(), init=start)
    assert (spherical.labels != plain.labels).any()


def test_spherical_cluster_whose_samples_cancel_keeps_its_center() -> None:
    x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = kmeans(x, 1, rng=rng(), init=np.array([[0.0, 2.0]]), spherical=True)
    np.testing.assert_array_equal(found.centers, [[0.0, 1.0]])
    assert found.inertia == 4.0
