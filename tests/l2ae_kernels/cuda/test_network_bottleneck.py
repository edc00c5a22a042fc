"""dense → l2 → dense in one kernel against the layers, and its gradients against differences."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Cache, Dense, L2Normalize, Layer, LeakyReLU, Params, Sequential
from l2ae_kernels.cuda.bottleneck import Bottleneck, Sizes
from l2ae_kernels.cuda.emulated import emulate

DEVICE = emulate()  # of the gradient checker
EPS = 0.1  # large enough for a forgotten ε to show
# Sums of up to 600 products and their divisions, as in test_operations.py: a few hundred
# units in the last place of the largest result.
TOLERANCE = {"float32": 2e-5, "float64": 2e-14}
CASES = [  # samples, inputs, latent, outputs, dtype
    pytest.param((1, 1, 1, 1, "float32"), marks=pytest.mark.slow),
    (1, 1, 10, 1, "float32"),
    (5, 300, 10, 600, "float32"),
    (9, 33, 10, 7, "float64"),
    (3, 7, 32, 40, "float32"),  # two samples a block
]


def draw(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def layers(params: dict[str, np.ndarray], slope: float) -> Sequential:
    """The four layers that the kernel joins, of one model."""
    first, second = (Dense(params[f"W{i}"], params[f"b{i}"]) for i in (1, 2))
    inputs = params["W1"].shape[:1]
    return Sequential([first, L2Normalize(EPS), second, LeakyReLU(slope)], inputs)


def assert_near(found, expected) -> None:
    assert found.shape == expected.shape
    scale = np.abs(expected).max(initial=1.0)
    tolerance = TOLERANCE[found.dtype.name] * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.everyday("1.0-(3, 7, 32, 40, 'float32')")
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("slope", [1.0, 0.3])
def test_against_the_layers(case, slope, device):
    """Two models that share their samples; one sample is zero, and so is its z."""
    N, I, D, O, dtype = case
    sizes, M = Sizes(2, N, I, D, O), 2
    below, dy = draw(0, dtype, (N, I), (M, N, O))
    shapes = sizes.weights()
    params = dict(zip(shapes, draw(1, dtype, *((M, *s) for s in shapes.values())), strict=True))
    x = np.where(below > 0, below, slope * below).astype(dtype)
    x[-1] = 0
    params["b1"][0] = 0
    fused = Bottleneck(device, sizes, dtype, eps=EPS, slope=slope, slope_below=slope)
    on = {name: device.to_device(a) for name, a in params.items()}
    on_x = device.to_device(x)
    y = device.to_host(fused.forward(on_x, on))
    dx, grads = fused.backward(device.to_device(dy), on_x, on)
    activation = LeakyReLU(slope)
    for m in range(M):
        model = layers({name: a[m] for name, a in params.items()}, slope)
        expected, cache = model.forward(x)
        assert_near(y[m], expected)
        d_below, expected_grads = model.backward(dy[m], cache)
        d_below, _ = activation.backward(d_below, x)
        assert_near(device.to_host(dx)[m], d_below)
        for name, key in {"W1": "0.W", "b1": "0.b", "W2": "2.W", "b2": "2.b"}.items():
            assert_near(device.to_host(grads[name])[m], expected_grads[key])
        u, n = cache[1]
        assert_near(device.to_host(fused.u)[m], u)
        assert_near(device.to_host(fused.lengths)[m], n[:, 0])


@dataclass(eq=False)
class Fused(Layer):
    """One model of the kernel as a layer, for the gradient checker."""

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray

    @property
    def params(self) -> Params:
        return {"W1": self.W1, "b1": self.b1, "W2": self.W2, "b2": self.b2}

    def output_shape(self, input_shape):
        return self.b2.shape

    def forward(self, x: np.ndarray, train: bool = False) -> tuple[np.ndarray, Cache]:
        y = DEVICE.to_host(self._forward(x)[0].y)[0]
        return y, (x, y)

    def backward(self, dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Params]:
        fused, x, params = self._forward(cache[0])
        dx, grads = fused.backward(DEVICE.to_device(dy[None]), x, params)
        return DEVICE.to_host(dx)[0], {name: DEVICE.to_host(g)[0] for name, g in grads.items()}

    def _forward(self, x: np.ndarray):
        sizes = Sizes(1, len(x), *self.W1.shape, len(self.b2))
        fused = Bottleneck(DEVICE, sizes, x.dtype, eps=EPS, slope=0.3)
        params = {name: DEVICE.to_device(a[None]) for name, a in self.params.items()}
        on_x = DEVICE.to_device(x)
        fused.forward(on_x, params)
        return fused, on_x, params

    def gates(self, cache: Cache) -> list[np.ndarray]:
        return [cache[-1] > 0]


@pytest.mark.usefixtures("cxx")
def test_gradients_against_differences():
    """The project's own checker on the emulated kernels, float64."""
    shapes = Sizes(1, 5, 6, 3, 4).weights().values()
    layer = Fused(*draw(2, "float64", *shapes))
    (x,) = draw(3, "float64", (5, 6))
    check_layer(layer, x, methods=("central",), rng=0).raise_if_bad()


def test_bits_depend_on_nothing_but_one_model(device, other_order):
    """Not on the order of blocks, not on the run, not on how many models run side by side."""
    shapes = Sizes(2, 9, 300, 10, 70).weights()
    arrays = draw(4, "float32", *((2, *shape) for shape in shapes.values()))
    params = dict(zip(shapes, arrays, strict=True))
    x, dy = draw(5, "float32", (2, 9, 300), (2, 9, 70))
    results = []
    for target, models in ((device, [0, 1]), (device, [1]), (other_order, [0, 1])):
        fused = Bottleneck(target, Sizes(len(models), 9, 300, 10, 70))
        on = {name: target.to_device(a[models]) for name, a in params.items()}
        on_x = target.to_device(x[models])
        y = fused.forward(on_x, on)
        dx, grads = fused.backward(target.to_device(dy[models]), on_x, on)
        results.append([target.to_host(a)[-1] for a in (y, dx, *grads.values())])
    for found in results[1:]:
        for a, b in zip(results[0], found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("latent", "dtype"), [(33, "float32"), (17, "float64"), (0, "float32")])
def test_a_code_that_is_too_long(latent, dtype):
    with pytest.raises(ValueError, match=f"Bottleneck: latent is {latent} but expected 1 to"):
        Bottleneck(emulate(), Sizes(1, 2, 3, latent, 4), dtype)
