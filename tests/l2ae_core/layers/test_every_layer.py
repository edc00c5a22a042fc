"""One table of all layers; every row goes through the same checks, gradients first."""

from collections.abc import Callable

import numpy as np
import pytest

from l2ae_core.baselines.dec import StudentAssignment
from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Identity,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)
from l2ae_kernels.arrays import Array

# Truncation h² and rounding 1e-16/h are both below 1e-8 for values and curvatures of order one.
CENTRAL_STEP, CENTRAL_TOLERANCE = 1e-5, 1e-6
# A complex step subtracts nothing: only the rounding of the sums is left.
COMPLEX_STEP, COMPLEX_TOLERANCE = 1e-30, 1e-10
FLOAT32_TOLERANCE = 2e-4  # sums of up to 100 terms of order one, divided by norms down to 0.1

Make = Callable[[np.random.Generator], Layer]


def _biased(layer: Layer, rng: np.random.Generator) -> Layer:
    """Random numbers for every parameter: zero biases and unit gammas would hide errors."""
    for p in layer.params.values():
        p[...] = rng.normal(size=p.shape)
    return layer


def _batch_norm(rng: np.random.Generator, affine: bool, features: int = 3) -> Layer:
    layer = BatchNorm.create(features, affine, np.float64)
    layer.running_mean[...] = rng.normal(size=features)
    layer.running_var[...] = rng.uniform(0.5, 2, features)
    return _biased(layer, rng)


def _layer_norm(rng: np.random.Generator, affine: bool) -> Layer:
    return _biased(LayerNorm.create(3, affine, np.float64), rng)


def _conv(rng: np.random.Generator, kernel: tuple[int, int], stride, padding) -> Layer:  # type: ignore[no-untyped-def]
    make = Conv2d.glorot
    return _biased(make(2, 3, kernel, rng, stride=stride, padding=padding, dtype=np.float64), rng)


def _deconv(rng: np.random.Generator, kernel: tuple[int, int], stride, padding) -> Layer:  # type: ignore[no-untyped-def]
    make = ConvTranspose2d.glorot
    return _biased(make(3, 2, kernel, rng, stride=stride, padding=padding, dtype=np.float64), rng)


def _network(rng: np.random.Generator) -> Layer:
    layers = [
        Conv2d.glorot(1, 2, 3, rng, stride=2, dtype=np.float64),
        BatchNorm.create(2, dtype=np.float64),
        ReLU(),
        Reshape((8,)),
        Dense.glorot(8, 3, rng, np.float64),
        L2Normalize(eps=0.1),
        Dense.glorot(3, 8, rng, np.float64),
        LeakyReLU(0.2),
        Reshape((2, 2, 2)),
        ConvTranspose2d.glorot(2, 1, 3, rng, stride=2, dtype=np.float64),
    ]
    return _biased(Sequential(layers, (4, 4, 1)), rng)


# name: (layer, shape of x, train); ε = 0.1 so that the guard takes part in the gradient
TABLE: dict[str, tuple[Make, tuple[int, ...], bool]] = {
    "dense": (lambda rng: _biased(Dense.glorot(4, 3, rng, np.float64), rng), (5, 4), False),
    "conv same": (lambda rng: _conv(rng, (3, 3), 1, "same"), (2, 4, 5, 2), False),
    "conv same, stride 2": (lambda rng: _conv(rng, (5, 5), 2, "same"), (2, 6, 7, 2), False),
    "conv valid": (lambda rng: _conv(rng, (3, 2), (2, 1), "valid"), (2, 7, 4, 2), False),
    "conv asymmetric": (lambda rng: _conv(rng, (2, 3), 2, ((0, 2), (3, 1))), (2, 4, 4, 2), False),
    "conv per axis": (lambda rng: _conv(rng, (3, 3), 2, ("valid", "same")), (1, 7, 4, 2), False),
    "conv gaps": (lambda rng: _conv(rng, (1, 2), (2, 3), "same"), (2, 4, 6, 2), False),
    "deconv same": (lambda rng: _deconv(rng, (5, 5), 2, "same"), (2, 3, 2, 3), False),
    "deconv valid": (lambda rng: _deconv(rng, (3, 3), 2, "valid"), (2, 3, 2, 3), False),
    "deconv asymmetric": (lambda rng: _deconv(rng, (3, 4), 2, ((0, 2), (1, 0))), (2, 3, 3, 3), False),  # noqa: E501
    "deconv gaps": (lambda rng: _deconv(rng, (1, 2), 3, ("valid", "same")), (2, 2, 2, 3), False),
    "identity": (lambda rng: Identity(), (3, 4), False),
    "relu": (lambda rng: ReLU(), (3, 4), False),
    "tanh": (lambda rng: Tanh(), (3, 4), False),
    "leaky relu": (lambda rng: LeakyReLU(0.3), (3, 2, 2, 2), False),
    "l2": (lambda rng: L2Normalize(eps=0.1), (4, 3), False),
    "l2 on maps": (lambda rng: L2Normalize(eps=0.1), (2, 2, 3, 3), False),
    "l2 of one row": (lambda rng: L2Normalize(eps=0.1), (1, 3), False),
    "batch norm, train": (lambda rng: _batch_norm(rng, True), (5, 3), True),
    "batch norm, train, no affine": (lambda rng: _batch_norm(rng, False), (5, 3), True),
    "batch norm, train, maps": (lambda rng: _batch_norm(rng, True), (2, 3, 2, 3), True),
    "batch norm, eval": (lambda rng: _batch_norm(rng, True), (5, 3), False),
    "batch norm, eval, no affine": (lambda rng: _batch_norm(rng, False), (2, 2, 2, 3), False),
    "layer norm": (lambda rng: _layer_norm(rng, True), (5, 3), False),
    "layer norm, no affine": (lambda rng: _layer_norm(rng, False), (2, 2, 2, 3), False),
    "student": (lambda rng: StudentAssignment(rng.normal(size=(3, 4))), (5, 4), False),
    "student, alpha": (lambda rng: StudentAssignment(rng.normal(size=(2, 3)), 2.5), (4, 3), False),
    "reshape": (lambda rng: Reshape((3, 4)), (2, 2, 3, 2), False),
    "sequential, train": (_network, (3, 4, 4, 1), True),
    "sequential, eval": (_network, (3, 4, 4, 1), False),
}  # fmt: skip


@pytest.fixture(params=TABLE.values(), ids=TABLE.keys())
def case(request: pytest.FixtureRequest) -> tuple[Layer, Array, Array, bool]:
    """A layer, x, a random cotangent dy, and the mode."""
    make, shape, train = request.param
    rng = np.random.default_rng(7)
    layer = make(rng)
    x = rng.normal(size=shape)
    return layer, x, rng.normal(size=layer.forward(x, train)[0].shape), train


def _close(name: str, analytic: Array, numeric: Array, tolerance: float) -> None:
    assert analytic.shape == numeric.shape
    error = np.abs(analytic - numeric).max(initial=0) / max(1, np.abs(numeric).max(initial=0))
    assert error < tolerance, f"{name}: relative error {error:.1e}"


def test_gradients_equal_central_differences(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, train = case
    _, cache = layer.forward(x, train)
    dx, grads = layer.backward(dy, cache)
    gates = layer.gates(cache)

    def loss() -> float:
        y, moved = layer.forward(x, train)
        assert all(map(np.array_equal, gates, layer.gates(moved))), "a step crossed a kink"
        return float((dy * y).sum())

    for name, array, analytic in [
        ("x", x, dx),
        *((k, p, grads[k]) for k, p in layer.params.items()),
    ]:
        numeric = np.empty_like(array)
        for i in np.ndindex(array.shape):
            value = array[i]
            array[i] = value + CENTRAL_STEP
            above = loss()
            array[i] = value - CENTRAL_STEP
            numeric[i] = (above - loss()) / (2 * CENTRAL_STEP)
            array[i] = value
        _close(name, analytic, numeric, CENTRAL_TOLERANCE)


def test_gradients_equal_complex_steps(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, train = case
    dx, grads = layer.backward(dy, layer.forward(x, train)[1])
    layer, x = layer.astype(np.complex128), x.astype(np.complex128)

    for name, array, analytic in [
        ("x", x, dx),
        *((k, p, grads[k]) for k, p in layer.params.items()),
    ]:
        numeric = np.empty(array.shape)
        for i in np.ndindex(array.shape):
            value = array[i]
            array[i] = value + 1j * COMPLEX_STEP
            numeric[i] = (dy * layer.forward(x, train)[0]).sum().imag / COMPLEX_STEP
            array[i] = value
        _close(name, analytic, numeric, COMPLEX_TOLERANCE)


def test_backward_twice_gives_the_same_bits(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, train = case
    y, cache = layer.forward(x, train)
    kept = y.copy(), x.copy(), dy.copy()
    dx, grads = layer.backward(dy, cache)
    first = {"dx": dx.copy(), **{k: g.copy() for k, g in grads.items()}}
    dx, grads = layer.backward(dy, cache)
    for name, array in {"dx": dx, **grads}.items():
        np.testing.assert_array_equal(array, first[name])
    for array, before in zip((y, x, dy), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_grads_mirror_params_and_gradients_equals_backward(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, train = case
    _, cache = layer.forward(x, train)
    dx, grads = layer.backward(dy, cache)
    alone = layer.gradients(dy, cache)
    assert dx.shape == x.shape
    assert list(grads) == list(layer.params) == list(alone)
    for name, p in layer.params.items():
        assert grads[name].shape == p.shape
        np.testing.assert_array_equal(alone[name], grads[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_dtype_is_kept_and_float32_agrees_with_float64(case, dtype: type) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, train = case
    y, cache = layer.forward(x, train)
    dx, grads = layer.backward(dy, cache)
    wanted = {"y": y, "dx": dx, **grads}

    cast = layer.astype(dtype)
    y, cache = cast.forward(x.astype(dtype), train)
    dx, grads = cast.backward(dy.astype(dtype), cache)
    for name, array in {"y": y, "dx": dx, **grads}.items():
        assert array.dtype == dtype, name
        _close(name, array, wanted[name], FLOAT32_TOLERANCE)
    assert all(array.dtype == dtype for array in (cast.params | cast.state).values())


def test_output_shape_is_the_shape_of_the_output(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, _ = case
    assert layer.output_shape(x.shape[1:]) == dy.shape[1:]


def test_empty_batch(case) -> None:  # type: ignore[no-untyped-def]
    layer, x, dy, _ = case
    y, cache = layer.forward(x[:0])
    dx, grads = layer.backward(dy[:0], cache)
    assert y.shape == dy[:0].shape
    assert dx.shape == x[:0].shape
    assert not any(g.any() for g in grads.values())


FITS_EVERY_SHAPE = {"identity", "relu", "leaky relu", "tanh"}
FITS_EVERY_SHAPE |= {"l2", "l2 on maps", "l2 of one row", "layer norm, no affine"}


@pytest.mark.parametrize("name", sorted(TABLE.keys() - FITS_EVERY_SHAPE))
def test_a_sample_of_a_wrong_shape_is_refused_by_name(name: str) -> None:
    make, shape, train = TABLE[name]
    layer = make(np.random.default_rng(0))
    x = np.zeros((*shape[:-1], shape[-1] + 1))
    with pytest.raises(ValueError, match=type(layer).__name__) as error:
        layer.forward(x, train)
    assert str(x.shape[1:]) in str(error.value)
