"""Sequential: names of parameters, shapes checked when built, no needless dx."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    Identity,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
)
from l2ae_kernels.arrays import Array


def _dense(inputs: int, outputs: int) -> Dense:
    return Dense.glorot(inputs, outputs, np.random.default_rng(0), np.float64)


@dataclass(eq=False)
class Counting(Layer):
    """y = w x; counts how often its dx was asked for."""

    w: Array
    backwards: list[str] = field(default_factory=list)

    @property
    def params(self) -> dict[str, Array]:
        return {"w": self.w}

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Array]:
        return self.w * x, x

    def backward(self, dy: Array, cache: Array) -> tuple[Array, dict[str, Array]]:
        self.backwards.append("dx")
        return self.w * dy, self.weight_grads(dy, cache)

    def weight_grads(self, dy: Array, cache: Array) -> dict[str, Array]:
        return {"w": (dy * cache).sum(axis=0)}


def test_params_and_state_are_flat_views() -> None:
    network = Sequential(
        [_dense(4, 3), BatchNorm.create(3), ReLU(), Sequential([_dense(3, 2)], (3,))], (4,)
    )
    names = ["0.W", "0.b", "1.gamma", "1.beta", "3.0.W", "3.0.b"]
    assert list(network.params) == names
    assert list(network.state) == ["1.running_mean", "1.running_var"]
    assert network.params["3.0.W"] is network.layers[3].params["0.W"]
    assert network.shapes() == [(4,), (3,), (3,), (3,), (2,)]
    assert network.output_shape((4,)) == (2,)
    assert str(network) == "Sequential(4 layers, (4,) -> (2,))"


def test_an_error_names_both_layers() -> None:
    with pytest.raises(ValueError, match="Sequential") as error:
        Sequential([ReLU(), Reshape((1152,)), _dense(1151, 10)], (3, 3, 128))
    expected = (
        "Sequential: layer 2 Dense(1151 -> 10) does not fit the output (1152,) of layer 1 "
        "Reshape(1152,)"
    )
    assert str(error.value).startswith(expected)


def test_an_error_at_layer_0_names_the_input() -> None:
    with pytest.raises(ValueError, match=r"layer 0 Dense\(5 -> 2\) does not fit the input \(4,\)"):
        Sequential([_dense(5, 2)], (4,))


def test_a_kernel_that_does_not_fit_is_found_when_the_network_is_built() -> None:
    conv = Conv2d.glorot(2, 3, 5, np.random.default_rng(0), padding="valid")
    with pytest.raises(
        ValueError, match=r"layer 1 Conv2d.* of layer 0 Reshape\(3, 6, 2\).*too small"
    ):
        Sequential([Reshape((3, 6, 2)), conv], (36,))


def test_the_error_of_an_inner_network_names_the_layers_inside_out() -> None:
    inner = Sequential([_dense(3, 2)], (3,))
    with pytest.raises(ValueError, match=r"layer 1 Sequential\(1 layer,.* of layer 0 Dense"):
        Sequential([_dense(5, 4), inner], (5,))


def test_forward_refuses_another_sample_shape() -> None:
    network = Sequential([LeakyReLU(), Identity()], (4,))
    with pytest.raises(ValueError, match=r"Sequential.*\(5,\), expected \(4,\)"):
        network.forward(np.zeros((2, 5)))


def test_gradients_leaves_out_the_dx_that_nobody_needs() -> None:
    first, second = Counting(np.array([1.0, 2.0])), Counting(np.array([3.0, 4.0]))
    network = Sequential([Reshape((2,)), ReLU(), first, second], (2, 1))
    x = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    y, cache = network.forward(x)
    grads = network.weight_grads(np.ones_like(y), cache)
    assert (first.backwards, second.backwards) == ([], ["dx"])
    np.testing.assert_array_equal(grads["2.w"], [3 * 4, 4 * 6])
    np.testing.assert_array_equal(grads["3.w"], [1 * 4, 2 * 6])
    assert list(grads) == list(network.params)
    assert Sequential([ReLU()], (2,)).weight_grads(y, [y]) == {}


def test_gates_of_all_layers_in_order() -> None:
    network = Sequential([ReLU(), _dense(2, 3), LeakyReLU()], (2,))
    _, cache = network.forward(np.array([[-1.0, 1.0]]))
    gates = network.gates(cache)
    assert [gate.shape for gate in gates] == [(1, 2), (1, 3)]
    np.testing.assert_array_equal(gates[0], [[False, True]])


def test_astype_leaves_the_original_alone() -> None:
    network = Sequential([_dense(4, 3), BatchNorm.create(3)], (4,))
    copy = network.astype(np.float32)
    copy.params["0.W"][...] = 0
    assert network.params["0.W"].any()
    assert network.params["0.W"].dtype == np.float64
    assert {a.dtype.name for a in (copy.params | copy.state).values()} == {"float32"}


def test_train_reaches_every_layer() -> None:
    """Only the running statistics tell: gradients agree with whichever mode was really run."""
    norms = [BatchNorm.create(2, dtype=np.float64) for _ in range(2)]
    network = Sequential([norms[0], Sequential([norms[1]], (2,))], (2,))
    x = np.array([[1.0, 2.0], [5.0, 8.0]])
    network.forward(x)
    assert not any(norm.running_mean.any() for norm in norms)
    y, _ = network.forward(x, train=True)
    np.testing.assert_allclose(norms[0].running_mean, [0.03, 0.05])
    assert all((norm.running_var != 1).all() for norm in norms)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-15)
