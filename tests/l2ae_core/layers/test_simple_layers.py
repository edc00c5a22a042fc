"""Dense, activations and Reshape by hand."""

import math

import numpy as np
import pytest

from l2ae_core.layers import Dense, Identity, LeakyReLU, ReLU, Reshape


def test_dense_by_hand() -> None:
    layer = Dense(np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([10.0, 20, 30]))
    y, cache = layer.forward(np.array([[1.0, 0], [1, -1]]))
    np.testing.assert_array_equal(y, [[11, 22, 33], [7, 17, 27]])
    dx, grads = layer.backward(np.array([[1.0, 0, 0], [0, 0, 2]]), cache)
    np.testing.assert_array_equal(dx, [[1, 4], [6, 12]])
    np.testing.assert_array_equal(grads["W"], [[1, 0, 2], [0, 0, -2]])
    np.testing.assert_array_equal(grads["b"], [1, 0, 2])


def test_dense_glorot() -> None:
    layer = Dense.glorot(300, 200, np.random.default_rng(0))
    limit = math.sqrt(6 / 500)
    assert 0.999 * limit < np.abs(layer.W).max() <= limit * (1 + 1e-6)  # float32 rounding
    assert layer.W.std() == pytest.approx(limit / math.sqrt(3), rel=0.01)
    assert layer.W.dtype == layer.b.dtype == np.float32
    assert not layer.b.any()
    again = Dense.glorot(300, 200, np.random.default_rng(0), np.float64)
    np.testing.assert_allclose(layer.W, again.W, rtol=1e-6)  # one draw for every dtype
    assert str(layer) == "Dense(300 -> 200)"


def test_dense_refuses_parameters_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"Dense: W has shape \(3,\)"):
        Dense(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"Dense: b has shape \(3,\)"):
        Dense(np.zeros((3, 4)), np.zeros(3))


def test_rectifiers_by_hand_also_at_the_kink() -> None:
    x = np.array([[-2.0, 0.0, 3.0]])
    dy = np.array([[10.0, 10, 10]])
    for layer, y, dx in [
        (ReLU(), [[0, 0, 3]], [[0, 0, 10]]),
        (LeakyReLU(0.3), [[-0.6, 0, 3]], [[3, 3, 10]]),
        (LeakyReLU(0.0), [[0, 0, 3]], [[0, 0, 10]]),
        (LeakyReLU(2.0), [[-4, 0, 3]], [[20, 20, 10]]),
    ]:
        out, cache = layer.forward(x)
        np.testing.assert_allclose(out, y)
        np.testing.assert_allclose(layer.backward(dy, cache)[0], dx)
        (gate,) = layer.gates(cache)
        np.testing.assert_array_equal(gate, [[False, False, True]])


@pytest.mark.parametrize("slope", [-0.1, math.nan, math.inf])
def test_a_slope_that_loses_the_sign_is_refused(slope: float) -> None:
    with pytest.raises(ValueError, match="LeakyReLU: slope is"):
        LeakyReLU(slope)


def test_identity_gives_the_very_arrays_back() -> None:
    x = np.ones((2, 3))
    y, cache = Identity().forward(x)
    assert y is x
    assert Identity().backward(x, cache) == (x, {})
    assert Identity().gates(cache) == []


def test_reshape_keeps_the_order_of_the_elements() -> None:
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    y, cache = Reshape((12,)).forward(x)
    np.testing.assert_array_equal(y, np.arange(24).reshape(2, 12))
    np.testing.assert_array_equal(Reshape((12,)).backward(y, cache)[0], x)
    with pytest.raises(ValueError, match=r"Reshape\(12,\): sample has shape \(3, 5\), 15 elements"):
        Reshape((12,)).output_shape((3, 5))
