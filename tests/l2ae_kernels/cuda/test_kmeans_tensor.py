"""Assignment by tensor cores: the labels of float32."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.kmeans import tensor
from l2ae_kernels.operations import IMPLEMENTATIONS

from .samples import blobs


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (33, 10, 10), (257, 3, 7), (150, 70, 129)])
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


def test_the_margin_covers_what_rounding_does(device: Device) -> None:
    """Values of h from tensor cores and from float32 distances, against float64, at their worst."""
    a, b = tensor.margins(128)
    rng = np.random.default_rng(0)
    x, c = (rng.uniform(0.5, 1, (64, 128)).astype(np.float32) for _ in range(2))
    exact = ((x[:, None].astype(np.float64) - c.astype(np.float64)) ** 2).sum(axis=2)
    rounded = np.zeros((64, 64), np.float32)
    for f in range(128):
        rounded += (x[:, None, f] - c[None, :, f]) ** 2
    size, most = np.linalg.norm(x, axis=1)[:, None], np.linalg.norm(c, axis=1).max()
    assert (np.abs(rounded - exact) / 2 < b * (size + most) ** 2 / 2).all()
    assert 0 < a < 1e-4
