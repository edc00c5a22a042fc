"""k-means on samples that lie far from zero, in float32, against float64 from equal starts."""

import numpy as np
import pytest

from l2ae_core.clustering.inputs import origin_of
from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels.arrays import Array, device_name, to_host
from l2ae_kernels.cuda.device import Device

from .made_up import blobs, rng

K, D = 8, 10
OFFSETS = [1e4, 1e6, 1e7, 1e8]


def far(offset: float, apart: float = 1.0) -> tuple[Array, Array]:
    """Well separated blobs around `offset`, as float32 has them, and one of each as a start."""
    x = blobs(2000, D, K, spread=1.0 / 8)
    size = apart * max(8.0, offset / 2**19)  # ≥ 16 steps of float32 between neighbours
    x = (offset + size * x).astype(np.float32)
    return x, x[:K]


def rounding(x: Array, exact: float) -> float:
    """How far an inertia in float32 may lie from the exact one of the same partition.

    Each distance rounds D differences, D products and D sums: (D + 2) ε of it. A center that is
    rounded costs n |δ|², and is counted from a point that no sample lies farther from than r.
    """
    eps = float(np.finfo(np.float32).eps)
    wide = x.astype(np.float64)
    r = 2 * np.abs(wide - wide.mean(axis=0)).max()
    return (D + 2) * eps * exact + len(x) * D * (eps * r) ** 2


@pytest.mark.parametrize("offset", [*OFFSETS, *(-o for o in OFFSETS)])
def test_is_as_good_as_in_float64(offset: float) -> None:
    x, init = far(offset)
    ours = kmeans(x, K, rng=rng(), init=init)
    exact = kmeans(x.astype(np.float64), K, rng=rng(), init=init.astype(np.float64))
    np.testing.assert_array_equal(ours.labels, exact.labels)
    assert abs(ours.inertia - exact.inertia) <= rounding(x, exact.inertia)
    assert ours.centers.dtype == np.float32
    step = np.spacing(np.float32(2 * abs(offset)))
    np.testing.assert_allclose(ours.centers, exact.centers, rtol=0, atol=step)
    np.testing.assert_array_equal(ours.predict(x), ours.labels)
    np.testing.assert_array_equal(ours.predict(x[:1]), ours.labels[:1])


@pytest.mark.parametrize("offset", OFFSETS)
def test_random_starts_come_as_near_to_float64(offset: float) -> None:
    """Of 20 restarts one finds the blobs, in float32 and in float64."""
    x, _ = far(offset)
    ours = kmeans(x, K, rng=rng(2))
    exact = kmeans(x.astype(np.float64), K, rng=rng(2))
    assert abs(ours.inertia - exact.inertia) <= rounding(x, exact.inertia)


def test_no_cluster_stays_empty_where_rows_are_distinct(recwarn: pytest.WarningsRecorder) -> None:
    """At 1e8 the rows are 8 apart at least: many are copies, but far more than K are not."""
    x = (1e8 + 10 * blobs(2000, 2, K, spread=1.0)).astype(np.float32)
    assert K < len(np.unique(x, axis=0)) < 400
    for seed in range(5):
        found = kmeans(x, K, n_init=1, rng=rng(seed))
        assert len(np.unique(found.labels)) == K
    assert not recwarn.list


def test_an_empty_cluster_among_distinct_rows_has_its_reason() -> None:
    """Two heaps far apart, whose rows differ by less than float32 can tell from their mean."""
    x = np.repeat(np.float32([[0, 0], [1, 1]]), 50, axis=0)
    x[:, 0] += np.arange(100, dtype=np.float32) % 4 * np.float32(1e-8)
    assert len(np.unique(x, axis=0)) > 3
    with pytest.warns(UserWarning, match="clusters stay empty, because all rows of x lie within"):
        kmeans(x, 4, rng=rng(), init=x[[0, 0, 0, 99]])


@pytest.mark.parametrize("streamed", [False, True])
def test_on_a_device(device: Device, streamed: bool) -> None:
    x, init = far(1e7)
    ours = kmeans(x, K, rng=rng(), init=init)
    placed = device.stream(x) if streamed else device.to_device(x)
    theirs = kmeans(placed, K, rng=rng(), init=init)
    where = "cpu" if streamed else "cuda"
    assert device_name(theirs.labels) == device_name(theirs.centers) == where
    np.testing.assert_array_equal(to_host(theirs.labels), ours.labels)
    np.testing.assert_allclose(theirs.inertia, ours.inertia, rtol=1e-6)
    np.testing.assert_array_equal(to_host(theirs.predict(placed)), ours.labels)


@pytest.mark.parametrize("spread", [1.0, 0.1, 1e-2, 1e-3])
def test_codes_of_unit_length_are_counted_from_zero(spread: float) -> None:
    """Even of codes that nearly fell together: their bits are those of their own centers."""
    z = np.full(10, 1 / np.sqrt(10)) + spread * rng().normal(size=(500, 10))
    u = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    assert origin_of(u) is None
    assert kmeans(u, 4, n_init=1, rng=rng()).recentered is None
    for row in u[:20]:  # equal codes: nothing to tell apart
        assert origin_of(np.full((31, 10), row)) is None


def test_x_is_not_changed_and_float64_needs_more() -> None:
    x, init = far(1e7)
    before = x.copy()
    kmeans(x, K, rng=rng(), init=init)
    np.testing.assert_array_equal(x, before)
    assert origin_of(x.astype(np.float64)) is None
    assert origin_of(1e9 + 1e-6 * x.astype(np.float64)) is not None


def test_a_memory_map_near_zero_is_not_copied(tmp_path) -> None:
    np.save(tmp_path / "x.npy", blobs().astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert origin_of(x) is None
    np.testing.assert_array_equal(
        kmeans(x, 6, n_init=1, rng=rng()).labels,
        kmeans(np.array(x), 6, n_init=1, rng=rng()).labels,
    )
