"""How often a call copies, waits and allocates: what a GPU loses time to, and no result shows."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import Device

from .device import StandIn

TO_DEVICE, TO_HOST = "copies to the device", "copies to the host"
WAITS = ("waits for a stream", "waits for an event", "waits for the device")


def counted(stand_in: StandIn, call: Callable[[], object]) -> Counter[str]:
    """Return what a second call did: the first may compile, and fill a pool."""
    call()
    before = stand_in.counts.copy()
    call()
    return stand_in.counts - before


def test_a_product_only_queues(stand_in: StandIn, gpu: Device) -> None:
    x, W = (gpu.to_device(np.ones(s, np.float32)) for s in ((16, 784), (784, 20)))
    y = gpu.empty((16, 20), np.float32)
    found = counted(stand_in, lambda: products.dense(x, W, None, y))
    assert found == {"launches": 2}  # parts, and their sum


def test_a_pass_of_kmeans_is_read_back(stand_in: StandIn, gpu: Device) -> None:
    x = np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)
    restarts = ops.restarts(gpu.to_device(x), 10, 3, impl="cuda-fused")
    restarts.centers[:] = x[:10]
    found = counted(stand_in, lambda: restarts.assign([0, 1, 2]))
    assert found["launches"] == 1
    assert found[TO_HOST] == sum(found[w] for w in WAITS) == 4
    assert found["allocations"] == 0
