"""Activations, the gradients of biases, and Adam on a device against the references."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import elementwise
from l2ae_kernels.stages import AdamSettings

ROUNDING = {"float32": 1e-6, "float64": 1e-15}  # a few roundings of numbers near 1

pytestmark = pytest.mark.parametrize("dtype", ["float32", "float64"])


def draw(dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.everyday("(7, 5)-0.3-float32")
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1,), (7, 5), (2, 3, 4, 5), (40, 999), (0, 3)], ids=str)
def test_leaky_relu_and_its_adjoint_are_exact(shape, slope, dtype, device):
    x, dy = draw(dtype, shape, shape)
    x.reshape(-1)[::3] = 0  # the kink belongs to the negative side
    on_x, on_dy = device.to_device(x), device.to_device(dy)
    y = ops.leaky_relu(x, slope, impl="reference")
    np.testing.assert_array_equal(device.to_host(ops.leaky_relu(on_x, slope)), y)
    dx = device.to_host(ops.leaky_relu_adjoint(on_dy, device.to_device(y), slope))
    np.testing.assert_array_equal(dx, ops.leaky_relu_adjoint(dy, y, slope, impl="reference"))


@pytest.mark.everyday("(5, 300)-float32")
@pytest.mark.parametrize(
    "shape", [(1, 1), (257, 3), (5, 300), (70_001, 1), (3000, 32), (0, 4)], ids=str
)
def test_gradient_of_a_bias(shape, dtype, device):
    (dy,) = draw(dtype, shape)
    db = device.to_host(ops.bias_adjoint(device.to_device(dy)))
    assert db.dtype == dtype
    exact = dy.sum(axis=0, dtype="float64")
    # pairwise: log2 of the rows, or 64 parts of 256 lanes, whichever is more; never all in a row
    bound = 400 * np.finfo(dtype).eps * np.abs(dy).sum(axis=0)
    assert np.all(np.abs(db - exact) <= bound)


def test_bits_of_a_bias_gradient_depend_on_nothing_but_one_model(dtype, device, other_order):
    (dy,) = draw(dtype, (2, 9000, 5))
    results = []
    for target in (device, other_order):
        on = target.to_device(dy)
        together = target.empty((2, 5), dtype)
        elementwise.bias_adjoint(on, together)
        results += [target.to_host(together)[1], target.to_host(ops.bias_adjoint(on[1]))]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.everyday("keras-float32")
@pytest.mark.parametrize("variant", ["keras", "torch"])
def test_adam(variant, dtype, device):
    """ε = 0.1 makes its place visible."""
    p, *grads = draw(dtype, *[(70, 301)] * 4)
    on_p = device.to_device(p)
    m, v = (device.zeros(p.shape, dtype) for _ in range(2))
    moments = np.zeros_like(p), np.zeros_like(p)
    settings = AdamSettings(1e-2, 0.9, 0.99, 0.1, variant)
    for step, g in enumerate(grads, 1):
        ops.adam_step(on_p, m, v, device.to_device(g), settings, step=step)
        ops.adam_step(p, *moments, g, settings, step=step, impl="reference")
    sizes = 1, *(np.abs(moment).max() for moment in moments)
    for found, expected, size in zip((on_p, m, v), (p, *moments), sizes, strict=True):
        assert np.abs(device.to_host(found) - expected).max() <= 4 * ROUNDING[dtype] * size
