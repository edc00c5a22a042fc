"""Captured launches: a replay does what the launches do, and touches nobody's memory."""

import functools

import numpy as np
import pytest

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import elementwise, products
from l2ae_kernels.cuda.bottleneck import Bottleneck, Sizes
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.emulated import emulate

N = 200


def normal(device: Device, *shape: int, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return device.to_device(random.standard_normal(shape).astype(np.float32))


def dense(device):
    """A depth of 784 is cut into six parts, which lie in a temporary."""
    x, W, b = normal(device, 16, 784), normal(device, 784, 20), normal(device, 20)
    y = device.empty((16, 20), np.float32)
    return x, y, lambda: products.dense(x, W, b, y, slope=0.3)


def dense_adjoint_W(device):
    x, dy = normal(device, 300, 9), normal(device, 300, 5)
    dW = device.empty((9, 5), np.float32)
    return x, dW, lambda: products.dense_adjoint_W(x, dy, dW)


def bias_adjoint(device):
    dy, db = normal(device, 1100, 32), device.empty(32, np.float32)
    return dy, db, lambda: elementwise.bias_adjoint(dy, db)


def bottleneck(device):
    sizes = Sizes(2, 5, 40, 10, 33)
    params = {name: normal(device, 2, *shape) for name, shape in sizes.weights().items()}
    fused = Bottleneck(device, sizes, slope=0.3, slope_below=0.3)
    x, y = normal(device, 5, 40), device.empty((2, 5, 33), np.float32)
    return x, y, lambda: elementwise.leaky_relu(fused.forward(x, params), 1.0, y)


@pytest.mark.parametrize("launcher", [dense, dense_adjoint_W, bias_adjoint, bottleneck])
def test_a_replay_does_what_the_launches_do(device, launcher):
    x, y, launch = launcher(device)
    launch()
    first = device.to_host(y)
    with device.capture() as graph:
        launch()
    for seed in (1, 2):
        device.write(x, device.to_host(normal(device, *x.shape, seed=seed)))
        graph.launch()
        replayed = device.to_host(y)
        launch()
        np.testing.assert_array_equal(replayed, device.to_host(y))
        assert not np.array_equal(replayed, first)


def test_nothing_runs_in_a_capture(device):
    x, y = normal(device, N), device.full(N, 7.0, np.float32)
    with device.capture() as graph:
        elementwise.leaky_relu(x, 0.5, y)
    assert (device.to_host(y) == 7).all()
    graph.launch()
    assert not (device.to_host(y) == 7).any()


def test_a_replay_is_in_order_with_what_is_queued(device):
    x, y, z = normal(device, N), device.empty(N, np.float32), device.empty(N, np.float32)
    with device.capture() as graph:
        elementwise.leaky_relu(y, 0.5, y)
    elementwise.leaky_relu(x, 1.0, y)
    graph.launch()
    graph.launch()
    elementwise.leaky_relu(y, 1.0, z)
    host = device.to_host(x)
    expected = np.where(host > 0, host, np.float32(0.25) * host)
    np.testing.assert_array_equal(device.to_host(z), expected)


def test_a_replay_writes_to_no_memory_that_is_handed_out_later(device):
    """Neither to that of temporaries, nor to that of arrays whose owner is gone."""
    _, _, launch = dense(device)
    short_lived = device.empty(N, np.float32)
    numbers = normal(device, N)
    with device.capture() as graph:
        launch()
        elementwise.leaky_relu(numbers, 0.5, short_lived)
        device.zeros((3, N), np.float32)
    del short_lived
    if not device.emulated:  # what the pool has free now, anybody may get
        device.array_module.get_default_memory_pool().free_all_blocks()
    shapes = [(6, 1, 16, 20), (N,), (3, N)] * 3  # of the parts, the short-lived array, the zeros
    later = [device.full(shape, 7.0, np.float32) for shape in shapes]
    graph.launch()
    for array in later:
        assert (device.to_host(array) == 7).all()


def test_an_array_made_in_a_capture_can_be_read_after_a_replay(device):
    x = normal(device, N)
    with device.capture() as graph:
        y = device.empty(N, np.float32)
        elementwise.leaky_relu(x, 1.0, y)
    for _ in range(2):
        graph.launch()
        np.testing.assert_array_equal(device.to_host(y), device.to_host(x))


def test_fills_are_done_again(device):
    """The largest number so far begins at 0 in every replay."""
    kernel = device.kernel("max_abs.cu", "max_abs")
    x, found = normal(device, N), []
    with device.capture() as graph:
        largest = device.zeros(1, np.uint64)
        ones = device.full(N, 1.0, np.float32)
        device.launch(kernel, (1,), (256,), (x, np.int64(N), largest))
        elementwise.leaky_relu(ones, 1.0, x)
    for _ in range(2):
        graph.launch()
        found.append(int(device.to_host(largest)[0]))
    assert found[1] < found[0]
    assert (device.to_host(x) == 1).all()


@pytest.mark.parametrize("written_by", ["the host", "nobody"])
def test_temporaries_hold_nothing_when_a_replay_begins(device, written_by):
    if not device.emulated:
        pytest.skip("a GPU leaves there what there was: only the emulator can tell")
    total = device.zeros(N, np.float32)
    with device.capture() as graph:  # what is in error: a sum over parts that nothing inside writes
        both = device.empty((2, N), np.float32)
        elementwise.add_parts(device, both, total, count=2)
    if written_by == "the host":
        device.write(both, np.ones((2, N), np.float32))
    graph.launch()
    assert np.isnan(device.to_host(total)).all()


def _diamond(device, x, y, z, w):
    """y = x / 2, then beside each other z = y / 2 and w = y / 4, then w = w / 2, all of x ≤ 0."""
    beside = device.branch()
    elementwise.leaky_relu(x, 0.5, y)
    with beside:
        elementwise.leaky_relu(y, 0.5, z)
    elementwise.leaky_relu(y, 0.25, w)
    with beside:
        elementwise.leaky_relu(z, 0.5, z)
    beside.join()
    elementwise.leaky_relu(z, 0.5, z)
    elementwise.leaky_relu(w, 0.5, w)


@pytest.mark.parametrize("captured", [True, False])
def test_a_branch_is_in_order_with_what_is_before_it_and_behind(captured, device):
    x = device.to_device(-np.ones(N, np.float32))
    y, z, w = (device.empty(N, np.float32) for _ in range(3))
    if captured:
        with device.capture() as graph:
            _diamond(device, x, y, z, w)
        assert not (device.to_host(z) == -1 / 16).any()
        launch = graph.launch
    else:
        launch = functools.partial(_diamond, device, x, y, z, w)
    for _ in range(2):
        device.write(z, np.zeros(N, np.float32))
        launch()
        for array, expected in ((y, -1 / 2), (z, -1 / 16), (w, -1 / 16)):
            np.testing.assert_array_equal(device.to_host(array), np.full(N, expected, np.float32))


def test_the_emulator_does_a_branch_early_and_late():
    """What counts on a branch that is not joined is seen in one order, or in the other."""
    found = []
    for order in ("ascending", "shuffled"):
        device = emulate(order)
        x, y = normal(device, N), device.full(N, 7.0, np.float32)
        beside = device.branch()
        with beside:
            elementwise.leaky_relu(x, 1.0, y)
        found.append((device.to_host(y) == 7).all())
        beside.join()
        np.testing.assert_array_equal(device.to_host(y), device.to_host(x))
    assert found == [False, True]


def test_a_capture_ends_with_all_branches_joined(device):
    x, y = normal(device, N), device.empty(N, np.float32)
    beside = device.branch()
    with pytest.raises(RuntimeError), device.capture() as graph, beside:
        elementwise.leaky_relu(x, 0.5, y)
    with pytest.raises(RuntimeError, match="nothing was captured"):
        graph.launch()
    elementwise.leaky_relu(x, 0.5, y)
    assert device.to_host(y).min() > -5


REFUSED = {
    "to_device": lambda device, x: device.to_device(np.ones(3, np.float32)),
    "to_host": lambda device, x: device.to_host(x),
    "write": lambda device, x: device.write(x, np.ones(N, np.float32)),
    "synchronize": lambda device, x: device.synchronize(),
    "capture": lambda device, x: device.capture().__enter__(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_replay_would_repeat_is_refused(device, what):
    x, y = normal(device, N), device.empty(N, np.float32)
    with (
        pytest.raises(RuntimeError, match=f"^{what}: not inside a capture"),
        device.capture() as graph,
    ):
        REFUSED[what](device, x)
    with pytest.raises(RuntimeError, match="nothing was captured"):
        graph.launch()
    with device.capture() as graph:  # the capture that failed has left nothing behind
        elementwise.leaky_relu(x, 1.0, y)
    graph.launch()
    np.testing.assert_array_equal(device.to_host(y), device.to_host(x))


NUMPYS = {
    "get": lambda x: x.get(),
    "multiply": lambda x: x * 2,
    "add": lambda x: x.sum(),
    "__setitem__": lambda x: x.__setitem__(slice(None), 0),
    "__getitem__": lambda x: x[3],
    "__float__": lambda x: float(x[:1].reshape(())),
    "item": lambda x: x[3:4].item(),
    "copy": lambda x: x.copy(),
    "concatenate": lambda x: np.concatenate([x, x]),
}


@pytest.mark.parametrize("what", NUMPYS)
def test_the_emulator_refuses_what_numpy_would_do_at_once(device, what):
    if not device.emulated:
        pytest.skip("CuPy's own kernels are captured too")
    x = normal(device, N)
    with pytest.raises(RuntimeError, match=f"^{what}: not inside a capture"), device.capture():
        NUMPYS[what](x)
    NUMPYS[what](x)


def test_views_can_be_taken_in_a_capture(device):
    x, y = normal(device, 3, N), device.empty((3, N), np.float32)
    with device.capture() as graph:
        elementwise.leaky_relu(x[1], 1.0, y.reshape(-1)[N : 2 * N])
    graph.launch()
    np.testing.assert_array_equal(device.to_host(y)[1], device.to_host(x)[1])


def test_an_error_in_a_capture_ends_it(device):
    class Own(Exception):
        pass

    with pytest.raises(Own), device.capture() as graph:
        raise Own
    with pytest.raises(RuntimeError, match="nothing was captured"):
        graph.launch()
    x = normal(device, N)  # copies are allowed again
    elementwise.leaky_relu(x, 0.5, x)
    assert device.to_host(x).min() > -5


def test_a_wrong_launch_is_refused_where_it_is_recorded(device):
    if not device.emulated:
        pytest.skip("a GPU takes whatever bits it is given")
    kernel, x = device.kernel("max_abs.cu", "max_abs"), normal(device, N)
    with pytest.raises(ValueError, match="kernel 'max_abs', argument 1"), device.capture():
        device.launch(kernel, (1,), (256,), (x, np.int32(N), device.zeros(1, np.uint64)))


def test_a_graph_cannot_be_launched_before_it_is_captured(device):
    x = normal(device, N)
    with device.capture() as graph:
        elementwise.leaky_relu(x, 0.5, x)
        with pytest.raises(RuntimeError, match="nothing was captured"):
            graph.launch()
