"""Activations, the gradients of biases, and Adam on a device against the references."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda import elementwise, optim
from l2ae_kernels.cuda.device import emulate
from l2ae_kernels.reference.optim import AdamSettings

ROUNDING = {"float32": 1e-6, "float64": 1e-15}  # a few roundings of numbers near 1

pytestmark = pytest.mark.parametrize("dtype", ["float32", "float64"])


def draw(dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


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


def test_bias_and_activation_alone(dtype, device):
    """Feature maps of one model, and codes of three."""
    for x_shape, b_shape in [((5, 3, 2, 7), (7,)), ((3, 5, 7), (3, 7))]:
        x, b = draw(dtype, x_shape, b_shape)
        out = device.empty(x_shape, dtype)
        elementwise.bias_leaky_relu(device.to_device(x), device.to_device(b), 0.3, out)
        sums = x + (b if b.ndim == 1 else b[:, None])
        np.testing.assert_array_equal(
            device.to_host(out), np.where(sums > 0, sums, sums * out.dtype.type(0.3))
        )


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


def test_bits_of_a_bias_gradient_depend_on_nothing_but_one_model(dtype, device):
    (dy,) = draw(dtype, (2, 9000, 5))
    results = []
    for place in (device, emulate() if device.emulated else device):
        on = place.to_device(dy)
        together = place.empty((2, 5), dtype)
        elementwise.bias_adjoint(on, together)
        results += [place.to_host(together)[1], place.to_host(ops.bias_adjoint(on[1]))]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("variant", ["keras", "torch"])
def test_adam(variant, dtype, device):
    """ε = 0.1 makes its place visible; all parameters go in one launch, through views of it."""
    params = dict(zip("Wb", draw(dtype, (70, 301), (301,)), strict=True))
    flat, views = optim.flatten(device, params)
    m, v = (device.zeros(flat.shape, dtype) for _ in range(2))
    moments = {k: (np.zeros_like(p), np.zeros_like(p)) for k, p in params.items()}
    settings = AdamSettings(1e-2, 0.9, 0.99, 0.1, variant)
    for step in (1, 2, 3):
        grads = dict(zip("Wb", draw(dtype, (70, 301), (301,)), strict=True))
        g, _ = optim.flatten(device, {k: a * dtype_of(dtype, step) for k, a in grads.items()})
        ops.adam_step(flat, m, v, g, settings, step=step)
        for k, p in params.items():
            gradient = grads[k] * dtype_of(dtype, step)
            ops.adam_step(p, *moments[k], gradient, settings, step=step, impl="reference")
    for k, p in params.items():
        difference = np.abs(device.to_host(views[k]) - p).max()
        assert difference <= 4 * ROUNDING[dtype]
    for one, which in ((m, 0), (v, 1)):
        expected = np.concatenate([moments[k][which].ravel() for k in "Wb"])
        difference = np.abs(device.to_host(one) - expected)
        assert np.all(difference <= 4 * ROUNDING[dtype] * np.abs(expected).max())


def dtype_of(dtype: str, value: float) -> np.generic:
    return np.dtype(dtype).type(value)
