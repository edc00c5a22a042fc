"""What a replayed graph writes: the memory of others where it was captured without care."""

import numpy as np
import pytest

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import products
from l2ae_kernels.cuda.device import Device

from .device import StandIn

pytestmark = pytest.mark.usefixtures("stand_in")


def operands(gpu: Device) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """A product whose depth is cut: x, W, an output, and the shape of the parts that it adds."""
    rng = np.random.default_rng(0)
    x, W = (
        gpu.to_device(rng.standard_normal(s).astype(np.float32)) for s in ((16, 784), (784, 20))
    )
    parts = products.splits(16, 20, 784)[0]
    assert parts > 1
    return x, W, gpu.empty((16, 20), np.float32), (16, 20, parts)


def test_a_graph_of_the_default_pool_writes_to_arrays_that_are_made_later(gpu: Device) -> None:
    """CuPy's pool hands out the parts of a captured product again, and no error tells of it."""
    cupy = gpu.array_module
    x, W, y, shape = operands(gpu)
    products.dense(x, W, None, y)
    expected = gpu.to_host(y)
    y.fill(0)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        gpu.synchronize()
        stream.begin_capture()
        products.dense(x, W, None, y)
        graph = stream.end_capture()
        mine = cupy.full(shape, 7, np.float32)
        graph.launch()
        stream.synchronize()
        np.testing.assert_array_equal(gpu.to_host(y), expected)
        assert not (gpu.to_host(mine) == 7).any()


def test_a_captured_graph_writes_to_its_own_memory(gpu: Device) -> None:
    x, W, y, shape = operands(gpu)
    products.dense(x, W, None, y)
    expected = gpu.to_host(y)
    y.fill(0)
    with gpu.capture() as graph:
        products.dense(x, W, None, y)
    later = [gpu.full(shape, 7, np.float32) for _ in range(3)]
    for _ in range(2):
        graph.launch()
        np.testing.assert_array_equal(gpu.to_host(y), expected)
        y.fill(0)
    for array in later:
        assert (gpu.to_host(array) == 7).all()


def test_what_is_captured_is_not_done_yet(stand_in: StandIn, gpu: Device) -> None:
    x, W, y, _ = operands(gpu)
    y.fill(3)
    with gpu.capture() as graph:
        products.dense(x, W, None, y)
    gpu.synchronize()
    assert (gpu.to_host(y) == 3).all()
    before = stand_in.counts["launches"]
    graph.launch()
    assert (gpu.to_host(y) != 3).any()
    assert stand_in.counts["launches"] == before  # they were made when it was captured


def test_copies_from_the_host_are_refused_in_a_capture(gpu: Device) -> None:
    """By CuPy, and by CUDA where CuPy is not asked."""
    cupy = gpu.array_module
    y, host = gpu.zeros(4, np.float32), np.ones(4, np.float32)
    runtime = cupy.cuda.runtime
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="H2D transfers are disallowed"):
            y.set(host)
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            runtime.memcpyAsync(
                y.data.ptr, host.ctypes.data, 16, runtime.memcpyHostToDevice, stream.ptr
            )
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
    assert not gpu.to_host(y).any()


def test_the_host_cannot_wait_inside_a_capture(gpu: Device) -> None:
    cupy = gpu.array_module
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            stream.synchronize()
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
