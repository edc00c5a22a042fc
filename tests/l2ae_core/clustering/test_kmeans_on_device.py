"""k-means where the samples are: on a device, and streamed through one, against the CPU."""

import warnings

import numpy as np
import pytest

from l2ae_core.clustering.init import kmeans_plus_plus
from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels.arrays import Array, device_name
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.kmeans import stream

from .made_up import rng


def blobs(n: int, d: int, k: int, dtype: type = np.float32) -> Array:
    generator = rng(n)
    centers = generator.normal(size=(k, d))
    return (centers[np.arange(n) % k] + 0.8 * generator.normal(size=(n, d))).astype(dtype)


def long(x: Array) -> Array:
    """Return x with zeros up to 40 features: each shorter length is a compilation of its own."""
    return np.pad(x, ((0, 0), (0, 40 - x.shape[1])))


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize(
    ("n", "d", "k", "dtype"),
    [
        (33, 10, 10, np.float32),
        (257, 3, 7, np.float32),
        (300, 40, 5, np.float32),
        pytest.param(33, 10, 10, np.float64, marks=pytest.mark.slow),  # seconds of compilation
        pytest.param(257, 3, 7, np.float64, marks=pytest.mark.slow),
        (300, 40, 5, np.float64),
    ],
)
def test_a_device_finds_what_the_cpu_finds(
    device: Device, n: int, d: int, k: int, spherical: bool, dtype: type
) -> None:
    """From equal draws: the same starts, the same labels, as many iterations of every restart.

    A row of unit length is x / |x|, and a GPU adds up |x|² in another order. Both are rounded d + 4
    times at most, so a feature differs by (d + 4) ε / 2; a center of length 1/2 doubles that.
    """
    x = blobs(n, d, k, dtype)
    there = device.to_device(x)
    theirs = kmeans(there, k, n_init=3, rng=rng(5), spherical=spherical)
    ours = kmeans(x, k, n_init=3, rng=rng(5), spherical=spherical)
    assert device_name(theirs.labels) == device_name(theirs.centers) == "cuda"
    np.testing.assert_array_equal(device.to_host(theirs.labels), ours.labels)
    atol = (d + 4) * np.finfo(dtype).eps if spherical else 0
    np.testing.assert_allclose(device.to_host(theirs.centers), ours.centers, rtol=1e-6, atol=atol)
    np.testing.assert_allclose(theirs.inertia, ours.inertia, rtol=1e-6)
    assert [len(h) for h in theirs.restarts] == [len(h) for h in ours.restarts]
    np.testing.assert_array_equal(device.to_host(theirs.predict(there)), ours.labels)


@pytest.mark.usefixtures("cxx")
@pytest.mark.parametrize(("d", "k"), [(3, 7), (40, 5)])
def test_a_seed_gives_the_same_bits_in_every_order_and_in_pieces(
    monkeypatch: pytest.MonkeyPatch, d: int, k: int
) -> None:
    x = blobs(1100, d, k)  # three pieces
    monkeypatch.setattr(stream.Restarts, "piece", 512 * 4 * d)
    devices = [emulate("ascending"), emulate("descending"), emulate("shuffled", 1)]
    placed = [*(device.to_device(x) for device in devices), devices[2].stream(x)]
    found = [kmeans(p, k, n_init=2, rng=rng(3)) for p in placed]
    assert type(found[-1].labels) is np.ndarray
    bits = {
        (f.inertia, *(np.asarray(a).tobytes() for a in (f.labels, f.centers, f.restarts[0])))
        for f in found
    }
    assert len(bits) == 1


def test_restart_r_does_not_depend_on_the_number_of_restarts(device: Device) -> None:
    x = device.to_device(blobs(200, 3, 7))
    three, five = (kmeans(x, 7, n_init=n, rng=rng(4)).restarts for n in (3, 5))
    assert five[:3] == three


@pytest.mark.parametrize("streamed", [False, True])
def test_empty_clusters_move_to_the_farthest_samples(device: Device, streamed: bool) -> None:
    x = long(np.array([[0.0], [0.2], [5.0], [9.0], [9.0], [9.0]]))
    start = long(np.array([[0.0], [1e6], [2e6]]))
    found = kmeans(device.stream(x) if streamed else device.to_device(x), 3, rng=rng(), init=start)
    labels = found.labels if streamed else device.to_host(found.labels)
    np.testing.assert_array_equal(labels, [0, 0, 2, 1, 1, 1])
    np.testing.assert_allclose(found.inertia, 0.02)


def test_fewer_distinct_rows_than_clusters(device: Device) -> None:
    rows = long(np.array([[0.1, 0.7], [1 / 3, 0.9], [-0.3, 1e3]]))
    x = np.repeat(rows, [1, 30, 77], axis=0)
    with pytest.warns(UserWarning, match="kmeans: 2 of 5 clusters stay empty"):
        found = kmeans(device.to_device(x), 5, n_init=2, rng=rng())
    assert found.n_iter < 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = kmeans(x, 5, n_init=2, rng=rng())
    np.testing.assert_array_equal(device.to_host(found.labels), ours.labels)


def test_the_start_goes_on_where_nothing_is_left_to_draw(device: Device) -> None:
    x = np.repeat(blobs(3, 2, 3), 20, axis=0)
    for seed in range(5):
        ours = kmeans_plus_plus(x, 7, rng(seed))
        np.testing.assert_array_equal(kmeans_plus_plus(device.to_device(x), 7, rng(seed)), ours)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("options", [{}, {"tol": 0.1}, {"spherical": True}])
def test_what_is_no_number_is_an_error(
    device: Device, value: float, options: dict[str, object]
) -> None:
    x = blobs(600, 3, 2)
    x[513, 1] = value
    for placed in (device.to_device(x), device.stream(x)):
        with pytest.raises(ValueError, match="kmeans: row 513 of x holds NaN or infinity"):
            kmeans(placed, 2, rng=rng(), **options)
