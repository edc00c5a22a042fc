"""Assignment by tensor cores: the labels of float32."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.kmeans import shapes, tensor
from l2ae_kernels.operations import IMPLEMENTATIONS

from .samples import blobs

SHAPES = [
    (1, 1, 1),
    (33, 10, 10),
    (257, 3, 7),
    (150, 70, 129),
    (130, 64, 66),  # rows of whole vectors
    (40, 132, 70),  # more chunks than stay in shared memory
    pytest.param(40, 130, 70, marks=pytest.mark.slow),  # rows of no whole vectors besides
]


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_tensor_cores_find_the_labels_of_float32(device: Device, n: int, d: int, k: int) -> None:
    x, centers = blobs(n, d, k, spread=1.0), blobs(k, d, 3)
    there = device.to_device(x), device.to_device(centers)
    labels, nearest = tensor.assign_tensor(*there)
    expected = IMPLEMENTATIONS["assign"]["cuda-registers"].function(*there)
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(expected[0]))
    np.testing.assert_array_equal(device.to_host(nearest), device.to_host(expected[1]))


def test_near_ties_are_looked_at_again_and_clear_cases_are_not(device: Device) -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(70, 40)).astype(np.float32)
    x = np.repeat(centers[:10], 3, axis=0)
    twins = centers[20:30] + np.float32(1e-7) * centers[30:40]  # nearly in two places
    there = device.to_device(np.concatenate([x, twins]))
    centers = np.concatenate([centers, twins + np.float32(2e-7)])
    labels, nearest = device.empty(40, np.int32), device.empty(40, np.float32)
    again = tensor.decide(device, there, device.to_device(centers), labels, nearest)
    assert int(device.to_host(again)[0]) == 10
    exact = ops.assign(there, device.to_device(centers), impl="cuda-registers")[0]
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(exact))


def test_one_product_of_tf32_would_not_do(device: Device) -> None:
    """Pairs of centers closer than the rounding to TF32, and farther than the margin."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(35, 40)).astype(np.float32)
    twins = centers + 5e-4 * rng.normal(size=centers.shape).astype(np.float32)
    x = device.to_device(rng.normal(size=(150, 40)).astype(np.float32))
    there = device.to_device(np.concatenate([centers, twins]))
    labels, nearest = device.empty(150, np.int32), device.empty(150, np.float32)
    again = tensor.decide(device, x, there, labels, nearest)
    assert int(device.to_host(again)[0]) < 75
    exact = ops.assign(x, there, impl="cuda-registers")[0]
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(exact))


def test_small_parts_of_samples_count(device: Device) -> None:
    """Between two centers, where what TF32 leaves of x says which is nearer, all of it one way."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(70, 40)).astype(np.float32)
    first, second = rng.permuted(np.tile(np.arange(70), (150, 1)), axis=1)[:, :2].T
    toward = np.sign(centers[first] - centers[second])
    middle = ((centers[first] + centers[second]) / 2).view(np.uint32) & np.uint32(0xFFFFE000)
    unit = 2.0 ** (np.frexp(middle.view(np.float32))[1] - 11)
    x = device.to_device((middle.view(np.float32) + 0.2 * unit * toward).astype(np.float32))
    there = device.to_device(centers)
    labels, nearest = device.empty(150, np.int32), device.empty(150, np.float32)
    again = tensor.decide(device, x, there, labels, nearest)
    assert int(device.to_host(again)[0]) < 75
    exact = ops.assign(x, there, impl="cuda-registers")[0]
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(exact))


@pytest.mark.slow
@pytest.mark.usefixtures("nvrtc")
def test_whole_vectors_move_in_the_least_sectors_and_passes() -> None:
    """In the PTX that NVRTC makes."""
    device = emulate(order="ptx", count=True)
    tensor.assign_tensor(device.to_device(blobs(128, 64, 5)), device.to_device(blobs(64, 64, 3)))
    assert device.counts is not None
    (counts,) = (c for c in device.counts if c.kernel == "assign_tensor")
    for traffic in (counts.loads, counts.shared):
        assert traffic.cost == traffic.least > 0


@pytest.mark.parametrize("d", [40, pytest.param(132, marks=pytest.mark.slow)])
def test_a_block_takes_one_piece_of_the_samples_after_the_other(
    device: Device, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "BLOCKS", 0)  # a grid of one
    there = device.to_device(blobs(280, d, 5, spread=1.0)), device.to_device(blobs(66, d, 3))
    labels, nearest = tensor.assign_tensor(*there)
    expected = IMPLEMENTATIONS["assign"]["cuda-registers"].function(*there)
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(expected[0]))
    np.testing.assert_array_equal(device.to_host(nearest), device.to_host(expected[1]))


def test_what_is_not_finite_is_looked_at_again(device: Device) -> None:
    x, centers = blobs(40, 33, 5, spread=1.0), device.to_device(blobs(66, 33, 3))
    x[3, 5], x[9, 32], x[20], x[30, 0] = np.nan, np.inf, -np.inf, 3e38
    there = device.to_device(x)
    labels, nearest = device.empty(40, np.int32), device.empty(40, np.float32)
    again = tensor.decide(device, there, centers, labels, nearest)
    assert 4 <= int(device.to_host(again)[0]) < 40
    expected = IMPLEMENTATIONS["assign"]["cuda-registers"].function(there, centers)
    np.testing.assert_array_equal(device.to_host(labels), device.to_host(expected[0]))
    np.testing.assert_array_equal(device.to_host(nearest), device.to_host(expected[1]))


def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two TF32 numbers of each number, as a tensor core reads them."""

    def seen(a: np.ndarray) -> np.ndarray:
        return (a.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    near = (x.astype(np.float64) * (1 + 0.75 * 2.0**-11)).astype(np.float32)
    return seen(near), seen(x - seen(near))


def cut(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return x toward zero, to whole units in the last place of a float32 as large as `like`."""
    unit = 2.0 ** (np.frexp(like)[1] - 24)
    return np.trunc(x / unit) * unit


def tensor_product(x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return ⟨x, c⟩ (n, k) with the sums of a tensor core that keeps no bit beyond float32's.

    The 9 terms of a step of 8 features are cut to the unit of the largest, and so is their sum.
    """
    (x_big, x_small), (c_big, c_small) = split(x), split(c)
    total = np.zeros((len(x), len(c)))
    for first in range(0, x.shape[1], 8):
        step = slice(first, first + 8)
        for a, b in ((x_small, c_big), (x_big, c_small), (x_big, c_big)):
            terms = a[:, None, step].astype(np.float64) * b[None, :, step]
            terms = np.concatenate([terms, total[..., None]], axis=2)
            sum_ = cut(terms, np.abs(terms).max(axis=2, keepdims=True)).sum(axis=2)
            total = cut(sum_, sum_)
    return total


@pytest.mark.parametrize("d", [8, 13, 128])
@pytest.mark.parametrize("low", [-1.0, 0.5])
def test_the_margin_covers_what_rounding_does(d: int, low: float) -> None:
    """Products of tensor cores and distances of float32 against float64."""
    a, b = tensor.margins(d)
    rng = np.random.default_rng(0)
    x, c = (rng.uniform(low, 1, (64, d)).astype(np.float32) for _ in range(2))
    size, most = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(c, axis=1).max()
    error = np.abs(tensor_product(x, c) - x.astype(np.float64) @ c.T.astype(np.float64))
    assert (error < a * size * most / 2).all()
    if low > 0 and d == 128:  # all terms have one sign and are cut one way
        assert error.max() > a * size.min() * most / 2 / 32

    exact = ((x[:, None].astype(np.float64) - c.astype(np.float64)) ** 2).sum(axis=2)
    rounded = np.zeros((64, 64), np.float32)
    for f in range(d):
        rounded += (x[:, None, f] - c[None, :, f]) ** 2
    assert (np.abs(rounded - exact) / 2 < b * (size + most) ** 2 / 2).all()
    assert a <= tensor.margins(128)[0] < 1.3e-4  # few samples are looked at again
