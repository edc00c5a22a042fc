"""k-means at the limits of shared memory, and on a grid that is not the one planned."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import resident, shapes
from l2ae_kernels.reference import kmeans as reference

from .samples import DTYPES, blobs, starts


def with_shared(device: Device, bytes_a_block: int) -> Device:
    """Return the device, as if its blocks had that much shared memory."""
    smaller = copy.copy(device)
    smaller.properties = replace(device.properties, shared_per_block=bytes_a_block)
    return smaller


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tiled_kernel_keeps_what_fits_beside_its_tile(device: Device, dtype: type) -> None:
    if not device.emulated:
        pytest.skip("a GPU has the shared memory that it has")
    n, d, k = 513, 40, 9
    x = blobs(n, d, k, dtype)
    tile = shapes.TILE_NUMBERS * x.itemsize
    found = []
    for room, kept in ((4 * k * (2 * d + 1), 2), (4 * k * (2 * d + 1) - 4, 1), (4 * k - 4, 0)):
        smaller = with_shared(device, tile + room)
        there = smaller.to_device(x)
        assert shapes.private_bytes(smaller, there, k)[1] == kept
        restarts = ops.restarts(there, k, 1, impl="cuda-fused")
        for start in starts(x, k, 2):
            restarts.centers[0] = start
            restarts.assign([0])
        found.append(restarts)
    for restarts in found[1:]:
        for name in ("labels", "sums", "counts", "changed", "inertia"):
            assert getattr(restarts, name).tobytes() == getattr(found[0], name).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [16_384, 16_385, 50_000, 53_921, 58_113, 100_000])
def test_no_number_of_clusters_asks_for_more_than_there_is(
    device: Device, k: int, dtype: type
) -> None:
    """What the text declares and what the launch asks for come out of one limit."""
    for d in (1, 31, 40):
        x = np.empty((3, d), dtype)
        asked, _ = shapes.private_bytes(device, x, k)
        declared = shapes.TILE_NUMBERS * x.itemsize
        assert asked + declared <= device.properties.shared_per_block
        assert (asked == 4 * k) == (4 * k <= shapes.PRIVATE)


@pytest.mark.parametrize("k", [16_384, 60_000])
def test_update_of_very_many_clusters(device: Device, k: int) -> None:
    x, labels = blobs(33, 3, 4), np.random.default_rng(0).integers(0, k, 33).astype(np.int32)
    sums, counts = ops.update(device.to_device(x), device.to_device(labels), k)
    expected, expected_counts = reference.update(x, labels, k)
    np.testing.assert_array_equal(device.to_host(counts), expected_counts)
    np.testing.assert_allclose(device.to_host(sums), expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_pass_over_very_many_clusters(device: Device, dtype: type) -> None:
    k = 53_921
    centers = np.random.default_rng(0).normal(size=(k, 2)).astype(dtype)
    x = centers[[7, k - 1]]
    restarts = ops.restarts(device.to_device(x), k, 1, impl="cuda-fused")
    restarts.centers[0] = centers
    restarts.assign([0])
    np.testing.assert_array_equal(device.to_host(restarts.labels), [[7, k - 1]])
    np.testing.assert_array_equal(np.flatnonzero(restarts.counts[0]), [7, k - 1])
    np.testing.assert_allclose(restarts.sums[0, [7, k - 1]], x, rtol=0, atol=1e-6)


def test_a_grid_that_is_too_small_is_an_error_and_changes_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = blobs(400, 3, 7)
    restarts = ops.restarts(device.to_device(x), 7, 2, impl="cuda-resident")
    restarts.centers[:] = starts(x, 7, 2)
    restarts.assign([0, 1])
    plan = resident.plan_grid(device, restarts.x, 7, 2)
    labels, centers = device.to_host(restarts.labels), restarts.centers.copy()
    monkeypatch.setattr(resident, "plan_grid", lambda *_: plan._replace(slices=plan.slices - 1))
    with pytest.raises(RuntimeError, match="lloyd_resident: the grid holds fewer than 400 samples"):
        restarts.iterate([0, 1], [5, 5], 0.0, False)
    np.testing.assert_array_equal(device.to_host(restarts.labels), labels)
    np.testing.assert_array_equal(restarts.centers, centers)
    monkeypatch.undo()
    for inertias, _ in restarts.iterate([0, 1], [5, 5], 0.0, False):
        assert inertias
