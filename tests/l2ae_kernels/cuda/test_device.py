"""What a device does with CuPy, shown with a stand-in for it: no GPU takes part."""

import contextlib
import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from l2ae_kernels.cuda import device as devices
from l2ae_kernels.cuda.device import Device, NoDevice, Properties, find_device


class CompileException(Exception):
    """CuPy's is no RuntimeError either."""


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy whose sums are right, and whose attributes lack what CuPy 14's lack."""
    module = MagicMock()
    module.cuda.compiler.CompileException = CompileException
    module.cuda.runtime.getDeviceProperties.return_value = {"name": b"a GPU"}
    module.arange.return_value.__add__.return_value.sum.return_value = 6.0
    device = module.cuda.Device.return_value.__enter__.return_value
    device.compute_capability = "121"
    device.attributes = {"MultiProcessorCount": 132, "MaxSharedMemoryPerBlockOptin": 232_448}
    monkeypatch.setitem(sys.modules, "cupy", module)
    # the one of other tests, a stand-in perhaps, is found again afterwards
    monkeypatch.setattr(devices, "_find", functools.cache(devices._find.__wrapped__))
    return module


def test_a_gpu_is_found_once(cupy):
    found = find_device()
    assert found.properties == Properties("a GPU", (12, 1), 132, 232_448)
    assert found is find_device(0)  # with the kernels it has compiled
    assert not found.emulated


@pytest.mark.parametrize("error", [RuntimeError, OSError, CompileException])
def test_a_gpu_that_cannot_compute_is_none(cupy, error):
    cupy.arange.side_effect = error("no such\nheader")
    with pytest.raises(NoDevice, match=f"no CUDA device: {error.__name__}: no such header"):
        find_device()


def test_a_gpu_that_computes_wrongly_is_none(cupy):
    cupy.arange.return_value.__add__.return_value.sum.return_value = 5.0
    with pytest.raises(NoDevice, match=r"came out as 5\.0"):
        find_device()


def test_a_gpu_that_cannot_copy_asynchronously_is_none(cupy):
    device = cupy.cuda.Device.return_value.__enter__.return_value
    device.compute_capability = "75"
    with pytest.raises(NoDevice, match=r"a GPU has compute capability 7\.5 but .* needs 8\.0"):
        find_device()
    device.compute_capability = "80"
    assert find_device().properties.compute_capability == (8, 0)


def two_at_once(call):
    """Results of two threads that call at the same time."""
    barrier = Barrier(2)

    def wait_and_call(_):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(wait_and_call, range(2)))


def test_two_threads_find_one_device(cupy):
    six = cupy.arange.return_value.__add__.return_value.sum
    six.side_effect = lambda: sleep(0.05) or 6.0
    one, other = two_at_once(find_device)
    assert one is other


def test_two_threads_compile_a_kernel_once():
    made = []

    def factory(**arguments):
        sleep(0.05)
        made.append(arguments)
        return MagicMock()

    device = Device(np, factory, Properties("", (9, 0), 1, 1))
    one, other = two_at_once(lambda: device.kernel("adam.cu", "adam_step"))
    assert one is other
    assert len(made) == 1


def test_a_null_pointer_is_a_number():
    """CuPy 13 takes None for an argument, and the kernel gets a pointer that is not null."""
    launched = []

    def kernel(grid, block, arguments, shared_mem):
        launched.append((grid, block, arguments, shared_mem))

    device = Device(MagicMock(), MagicMock(), Properties("a GPU", (9, 0), 132, 1000))
    device.launch(kernel, (2,), (32,), (None, np.int32(3)), 0)
    ((grid, block, (pointer, three), shared),) = launched
    assert (grid, block, shared, three) == ((2,), (32,), 0, 3)
    assert pointer is not None
    assert (int(pointer), pointer.itemsize) == (0, 8)


class CUDARuntimeError(RuntimeError):
    """CuPy's."""


@pytest.mark.parametrize("ended_by_an_error", [False, True])
def test_an_error_inside_ends_the_capture_of_the_stream(ended_by_an_error):
    """Where an operation that cannot be captured has ended it, end_capture raises as well."""
    cupy = MagicMock()
    cupy.cuda.runtime.CUDARuntimeError = CUDARuntimeError
    stream = cupy.cuda.Stream.return_value
    if ended_by_an_error:
        stream.end_capture.side_effect = CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
    device = Device(cupy, MagicMock(), Properties("a GPU", (9, 0), 132, 1000))
    with pytest.raises(ZeroDivisionError), device.capture() as graph:
        raise ZeroDivisionError
    stream.end_capture.assert_called_once_with()
    with pytest.raises(RuntimeError, match="nothing was captured"):
        graph.launch()
    stream.end_capture.side_effect = None
    with device.capture() as graph:
        pass
    graph.launch()
    stream.end_capture.return_value.launch.assert_called_once_with()


class TwoGpus(SimpleNamespace):
    """A CuPy with two GPUs, the first of which is current; `used` are those that were acted on."""

    def __init__(self):
        use = lambda *_: self.used.append(self.current)  # noqa: E731 (one for all)
        arrays = dict.fromkeys(("empty", "zeros", "full", "asarray"), use)
        super().__init__(current=0, used=[], cuda=MagicMock(), **arrays)
        self.cuda.runtime.getDevice = lambda: self.current
        self.cuda.Device = self.switch
        stream = self.cuda.Stream.return_value
        stream.begin_capture = stream.end_capture.return_value.launch = use

    @contextlib.contextmanager
    def switch(self, index):
        before, self.current = self.current, index
        yield
        self.current = before


def captured(device):
    with device.capture() as graph:
        pass
    graph.launch()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    "act",
    [
        lambda device: device.empty(3, np.float32),
        lambda device: device.zeros(3, np.float32),
        lambda device: device.full(3, 7.0, np.float32),
        lambda device: device.to_device(np.zeros(3)),
        captured,
    ],
)
def test_a_device_acts_on_its_own_gpu(act, index):
    cupy = TwoGpus()
    device = Device(cupy, MagicMock(), Properties("a GPU", (9, 0), 132, 1000), index)
    act(device)
    assert set(cupy.used) == {index}
    assert cupy.current == 0


def test_a_kernel_is_launched_on_its_own_gpu():
    cupy = TwoGpus()
    device = Device(cupy, MagicMock(), Properties("a GPU", (9, 0), 132, 1000), 1)
    device.launch(lambda *_, **named: cupy.used.append(cupy.current), (1,), (1,), ())
    assert cupy.used == [1]
