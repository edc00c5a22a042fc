"""How often a call copies, waits and allocates: what a GPU loses time to, and no result shows."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import Device

from .device import StandIn

TO_DEVICE, TO_HOST = "copies to the device", "copies to the host"
WAITS = ("waits for a stream", "waits for an event", "waits for the device")
RUNS = [0, 1, 2]


def counted(stand_in: StandIn, call: Callable[[], object]) -> Counter[str]:
    """Return what a second call did: the first may compile, and fill a pool."""
    call()
    before = stand_in.counts.copy()
    call()
    return stand_in.counts - before


def waits(found: Counter[str]) -> int:
    return sum(found[what] for what in WAITS)


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def test_a_product_only_queues(stand_in: StandIn, gpu: Device) -> None:
    x, W = (gpu.to_device(np.ones(s, np.float32)) for s in ((16, 784), (784, 20)))
    y = gpu.empty((16, 20), np.float32)
    found = counted(stand_in, lambda: products.dense(x, W, None, y))
    assert found == {"launches": 2}  # parts, and their sum


def test_a_pass_of_kmeans_reads_once(stand_in: StandIn, gpu: Device, x: Array) -> None:
    restarts = ops.restarts(gpu.to_device(x), 10, 3, impl="cuda-fused")
    restarts.centers[:] = x[:10]
    found = counted(stand_in, lambda: restarts.assign(RUNS))
    assert found[TO_HOST] == waits(found) == 1
    assert found[TO_DEVICE] == 1  # the centers
    assert found["launches"] <= 2  # of which one may be a fill
    assert found["allocations"] == 0


def test_iterations_ahead_read_once(stand_in: StandIn, gpu: Device, x: Array) -> None:
    restarts = ops.restarts(gpu.to_device(x), 10, 3, impl="cuda-resident")
    restarts.centers[:] = x[:10]
    restarts.assign(RUNS)
    found = counted(stand_in, lambda: restarts.iterate(RUNS, [2, 2, 2], 0.0, False))
    assert found[TO_HOST] == waits(found) == 1
    assert found["cooperative launches"] == 1
    assert found["allocations"] == 0


def test_kmeans_reads_as_often_for_many_runs_and_iterations(
    stand_in: StandIn, gpu: Device, x: Array
) -> None:
    there = gpu.to_device(x)

    def call(n_init: int, max_iter: int) -> None:
        kmeans(there, 10, n_init=n_init, max_iter=max_iter, rng=np.random.default_rng(0))

    few, many = (counted(stand_in, partial(call, *n)) for n in ((1, 5), (3, 300)))
    assert few[TO_HOST] == many[TO_HOST] == waits(many) <= 7
