"""Whole runs of k-means on a device: the start, and iterations without the host."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import init, resident, shapes
from l2ae_kernels.cuda.kmeans.resident import Resident

from .samples import DTYPES, RTOL, blobs, starts, typed


@pytest.mark.everyday("4-513-10-float32")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n", "d"), [(1, 1, 1), (4, 513, 10), (11, 1100, 40)])
def test_potentials_of_candidates(device: Device, m: int, n: int, d: int, dtype: type) -> None:
    x = blobs(n, d, 5, dtype)
    candidates = x[np.arange(2 * m).reshape(2, m) % n]
    nearest = np.random.default_rng(0).uniform(0, d, (2, n)).astype(dtype)
    nearest[1] = np.inf  # before the first center
    slow = ops.restarts(x, 2, 2, impl="reference")
    fast = ops.restarts(device.to_device(x), 2, 2)
    there = device.to_device(nearest)
    potentials = fast.min_sq_distances(device.to_device(candidates), there, keep=False)
    np.testing.assert_array_equal(device.to_host(there), nearest)
    expected = slow.min_sq_distances(candidates, nearest, keep=False)
    np.testing.assert_allclose(device.to_host(potentials), expected, rtol=RTOL[dtype])
    fast.min_sq_distances(device.to_device(candidates[:, :1]), there, keep=True)
    slow.min_sq_distances(candidates[:, :1], nearest, keep=True)
    np.testing.assert_allclose(device.to_host(there), nearest, rtol=RTOL[dtype], atol=0)


@pytest.mark.parametrize(("draws", "rows"), [(0.0, 1), (0.24, 1), (0.25, 3), (0.99, 3), (1.0, 3)])
@pytest.mark.parametrize("place", [0, 2 * shapes.TILE, 40 * shapes.TILE])
def test_a_draw_never_takes_a_sample_of_zero_weight(
    device: Device, draws: float, rows: int, place: int
) -> None:
    # 1.0 stands for a product that rounds up to the total
    nearest = np.zeros((1, 41 * shapes.TILE + 7), np.float32)
    nearest[0, place : place + 5] = [0, 1, 0, 3, 0]
    potentials = np.add.reduceat(
        nearest, np.arange(0, nearest.size, shapes.TILE), axis=1, dtype=float
    )
    found, stuck = device.zeros((1, 1), np.int64), device.full(1, -1, np.int32)
    arguments = (np.array([[draws]]), potentials[:, None], nearest)
    init.draw(device, 0, *map(device.to_device, arguments), found, stuck)
    assert int(device.to_host(found)[0, 0]) == place + rows
    assert int(device.to_host(stuck)[0]) == -1


@pytest.mark.everyday
def test_a_start_without_a_sample_to_draw_says_where(device: Device) -> None:
    x = np.repeat(blobs(2, 3, 2), 40, axis=0)
    first, draws = np.array([0, 70]), np.full((2, 3, 2), 0.5)
    centers, stuck = init.greedy_init(device.to_device(x), 4, first, draws)
    np.testing.assert_array_equal(stuck, [1, 1])  # two centers cover two distinct rows
    np.testing.assert_array_equal(centers[:, :2], [[x[0], x[40]], [x[40], x[0]]])


# --- resident runs


SHAPES = [(1, 1, 1), (33, 10, 10), (257, 3, 7), (900, 10, 10), (2300, 3, 7)]
# Spherical runs differ in how centers move, which depends on no shape: every day in one.
CASES = [
    pytest.param(
        *case.values,
        spherical,
        marks=[*case.marks, *[pytest.mark.slow][: spherical and case.values[0] != 257]],
    )
    for case in typed(SHAPES).args[1]
    for spherical in (False, True)
]


@pytest.mark.everyday("33-10-10-float32-False")
@pytest.mark.parametrize(("n", "d", "k", "dtype", "spherical"), CASES)
def test_resident_runs_end_where_those_of_single_iterations_end(
    device: Device, n: int, d: int, k: int, dtype: type, spherical: bool
) -> None:
    x = blobs(n, d, k, dtype)
    if spherical:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    together = ops.restarts(device.to_device(x), k, 4, impl="cuda-resident")
    by_one = ops.restarts(device.to_device(x), k, 4, impl="cuda-resident")
    for restarts in (together, by_one):
        restarts.centers[:] = starts(x, k, 4)
        restarts.assign([0, 1, 2, 3])
    most = [50, 50, 2]  # the last run is cut
    found = together.iterate([0, 1, 3], most, 0.0, spherical)
    for r, at_most, (inertias, moved) in zip([0, 1, 3], most, found, strict=True):
        history = []
        for _ in range(at_most):
            ((inertia,), distance) = by_one.iterate([r], [1], 0.0, spherical)[0]
            history.append(inertia)
            if not by_one.changed[r] or distance == 0 or by_one.counts[r].min() == 0:
                break
        assert history == inertias  # bit for bit: nothing depends on how runs share the blocks
        assert distance == moved
        for name in ("centers", "sums", "counts", "inertia", "changed"):
            assert getattr(together, name)[r].tobytes() == getattr(by_one, name)[r].tobytes()
    np.testing.assert_array_equal(device.to_host(together.labels), device.to_host(by_one.labels))


def test_a_run_ends_at_an_empty_cluster_and_at_a_small_step(device: Device) -> None:
    x = np.array([[0.0], [1.0], [10.0], [12.0]])
    restarts = ops.restarts(device.to_device(x), 2, 2, impl="cuda-resident")
    restarts.centers[:] = [[[1.0], [1e6]], [[0.0], [1.0]]]
    restarts.assign([0, 1])
    empty, small = restarts.iterate([0, 1], [9, 9], 100.0, False)
    assert len(empty[0]) == 1
    assert restarts.counts[0].min() == 0
    # {0} {1, 10, 12}: the second center moves from 1 to 23/3, and takes no sample of the first.
    np.testing.assert_allclose(small[0], [1 + (10 - 23 / 3) ** 2 + (12 - 23 / 3) ** 2])
    np.testing.assert_allclose(small[1], (20 / 3) ** 2)
    assert restarts.changed[1] == 1


def test_runs_that_do_not_fit_the_chip_take_one_iteration(device: Device) -> None:
    x = device.to_device(blobs(64, 10, 3))
    assert resident.plan_grid(device, x, 3, 2) is not None
    assert resident.plan_grid(device, x, 3000, 2) is None
    long = device.to_device(blobs(64, 40, 3))
    assert resident.plan_grid(device, long, 3, 2) is None
    restarts, expected = Resident(long, 3, 1), ops.restarts(device.to_host(long), 3, 1)
    for runs in (restarts, expected):
        runs.centers[:] = expected.x[:3]
        runs.assign([0])
        ((found, moved),) = runs.iterate([0], [9], 0.0, False)
        assert len(found) == 1
        assert moved > 0
    np.testing.assert_allclose(restarts.centers, expected.centers, rtol=1e-6)
    np.testing.assert_allclose(restarts.inertia, expected.inertia, rtol=1e-6)
