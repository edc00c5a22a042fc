"""Judges 06_a_cuda_kernel.py in the emulator, with the threads in every order.

Sums of integers are exact. Bound of e: 40 products near 1, so rounding is below 40 ε ≈ 5e-6.
"""

import numpy as np
import pytest

from l2ae_kernels.emulator import RawModule
from l2ae_kernels.emulator.module import ORDERS


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(params=ORDERS)
def launch(request, exercise):
    """A function that launches the kernel of an exercise by its name."""

    def run(name, grid, block, *arguments):
        module = RawModule(code=getattr(exercise, name)(), order=request.param)
        module.get_function(name)(grid, block, arguments)

    return run


@pytest.mark.parametrize("n", [1, 128, 1000])
def test_a_leaky_relu(launch, rng, n):
    x = rng.standard_normal(n).astype(np.float32)
    y = np.zeros_like(x)
    launch("leaky_relu", (-(-n // 128),), (128,), x, y, np.float32(0.25), np.int32(n))
    np.testing.assert_array_equal(y, np.where(x > 0, x, np.float32(0.25) * x))


@pytest.mark.parametrize(("height", "width"), [(8, 16), (13, 5), (1, 40)])
def test_b_transpose(launch, rng, height, width):
    x = rng.standard_normal((height, width)).astype(np.float32)
    y = np.zeros((width, height), np.float32)
    grid = (-(-width // 16), -(-height // 8))
    launch("transpose", grid, (16, 8), x, y, np.int32(height), np.int32(width))
    np.testing.assert_array_equal(y, x.T)


@pytest.mark.parametrize("features", [1, 64, 150])
def test_c_row_sums(launch, rng, features):
    x = rng.integers(-9, 10, (3, features)).astype(np.float32)
    sums = np.zeros(3, np.float32)
    launch("row_sums", (3,), (64,), x, sums, np.int32(features))
    np.testing.assert_array_equal(sums, x.sum(axis=1))


def test_d_cluster_sizes(launch, rng):
    labels, counts = rng.integers(0, 5, 300).astype(np.int32), np.zeros(5, np.int32)
    launch("cluster_sizes", (5,), (64,), labels, counts, np.int32(300))
    np.testing.assert_array_equal(counts, np.bincount(labels, minlength=5))


@pytest.mark.parametrize("features", [10, 32, 40])
def test_e_l2_normalize_adjoint(launch, rng, features):
    z, du = rng.standard_normal((2, 3, features))
    n = np.linalg.norm(z, axis=1, keepdims=True)
    u, dz = z / n, np.zeros((3, features), np.float32)
    arguments = [a.astype(np.float32) for a in (du, u, n[:, 0])]
    launch("l2_normalize_adjoint", (3,), (32,), *arguments, dz, np.int32(features))
    expected = (du - u * (u * du).sum(axis=1, keepdims=True)) / n
    np.testing.assert_allclose(dz, expected, rtol=1e-5, atol=5e-6)
