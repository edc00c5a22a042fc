"""What a layer refuses, by its own name: x, dy and parameters of the wrong kind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
)

RNG = np.random.default_rng(0)
LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "Conv2d": (Conv2d.glorot(3, 4, 3, RNG, stride=2), (8, 6, 3)),
    "ConvTranspose2d": (ConvTranspose2d.glorot(3, 4, 3, RNG, stride=2), (4, 3, 3)),
    "Dense": (Dense.glorot(6, 4, RNG), (6,)),
    "BatchNorm": (BatchNorm.create(5), (5,)),
    "LayerNorm": (LayerNorm.create(5), (5,)),
    "L2Normalize": (L2Normalize(), (5,)),
    "Tanh": (Tanh(), (5,)),
    "Reshape": (Reshape((2, 3)), (6,)),
    "Sequential": (Sequential([Dense.glorot(6, 4, RNG), ReLU()], (6,)), (6,)),
}
KINDS: dict[str, Callable[[Any], Any]] = {
    "a list": lambda x: x.tolist(),
    "nothing": lambda x: None,
    "a number": lambda x: 1.0,
    "no axis": lambda x: x.reshape(-1)[0],
    "integers": lambda x: np.round(x).astype("int64"),
    "small integers": lambda x: np.full(x.shape, 100, "uint8"),
    "objects": lambda x: x.astype(object),
    "text": lambda x: x.astype("U8"),
    "masked": np.ma.array,
}


ANY_DTYPE = ("Reshape", "Sequential")  # these leave the dtype to the layers inside, or behind
DTYPES = ("integers", "small integers", "objects", "text")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in LAYERS for k in KINDS if not (n in ANY_DTYPE and k in DTYPES)],
)
def test_x_of_another_kind(name: str, kind: str) -> None:
    layer, shape = LAYERS[name]
    x = RNG.standard_normal((3, *shape)).astype("float32")
    with pytest.raises(ValueError, match=rf"^{name}.*: x is "):
        layer.forward(KINDS[kind](x))


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"Tanh", "L2Normalize"}))
def test_x_of_another_shape(name: str) -> None:
    layer, shape = LAYERS[name]
    for wrong in ((3, *shape[:-1], shape[-1] + 1), shape[1:], (3, *shape, 1), (3, *shape[:-1], 0)):
        if name != "Reshape" or np.prod(wrong[1:]) != 6:
            with pytest.raises(ValueError, match=f"^{name}") as error:
                layer.forward(np.ones(wrong, "float32"))
            named = str(wrong[1:]) if wrong else "without axes"
            assert named in str(error.value)


def test_a_batch_that_is_refused_leaves_the_statistics_alone() -> None:
    layer = BatchNorm.create(5)
    for dtype in ("float64", "complex128"):
        with pytest.raises(ValueError, match=r"BatchNorm.*: x is .* but expected float32"):
            layer.forward(np.ones((3, 5), dtype), train=True)
    np.testing.assert_array_equal(layer.running_mean, 0)
    np.testing.assert_array_equal(layer.running_var, 1)


@pytest.mark.parametrize("name", [*LAYERS, "LeakyReLU"])
def test_dy_of_another_shape(name: str) -> None:
    layer, shape = LAYERS.get(name, (LeakyReLU(), (5,)))
    y, cache = layer.forward(RNG.standard_normal((3, *shape)).astype("float32"))
    for dy in (y[:1], y[0], y[..., :1], np.concatenate([y, y])):
        with pytest.raises(ValueError, match="dy has shape"):
            layer.backward(dy, cache)
    for dy in (y.tolist(), None, 1.0):
        with pytest.raises(ValueError, match="dy is "):
            layer.backward(dy, cache)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Dense([[1.0]], np.zeros(1)), "Dense: W is list"),
        (lambda: Dense(np.zeros((1, 1)), [0.0]), "Dense: b is list"),
        (lambda: Conv2d(None, np.zeros(1)), "Conv2d: W is NoneType"),
        (lambda: Conv2d.glorot(0, 4, 3, RNG), "glorot_uniform: shape is"),
        (lambda: Conv2d.glorot(1, 4, 0, RNG), "glorot_uniform: shape is"),
        (lambda: Dense.glorot(3, -1, RNG), "glorot_uniform: shape is"),
        (lambda: Dense.glorot(3, 1.5, RNG), "glorot_uniform: shape is"),
        (lambda: LayerNorm([1.0], [0.0]), "LayerNorm: gamma is list"),
        (lambda: LayerNorm(None, None, eps=-1), "LayerNorm: eps is -1"),
        (lambda: LayerNorm(None, None, eps=np.nan), "LayerNorm: eps is nan"),
        (lambda: BatchNorm(None, None, np.zeros(2), np.ones(2), eps=-1), "BatchNorm: eps is -1"),
        (lambda: BatchNorm(None, None, np.zeros(2), np.ones(2), 1.5), "BatchNorm: momentum is 1.5"),
        (lambda: BatchNorm(None, None, 0.0, 1.0), "BatchNorm: running_mean is float"),
        (lambda: L2Normalize("1"), "L2Normalize: eps is '1'"),
        (lambda: L2Normalize(np.inf), "L2Normalize: eps is inf"),
        (lambda: LeakyReLU("1"), "LeakyReLU: slope is '1'"),
    ],
)
def test_parameters_of_another_kind(make: Callable[[], Layer], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()
