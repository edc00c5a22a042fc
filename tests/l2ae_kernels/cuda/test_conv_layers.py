"""Convolutional layers whose arrays lie on a device, by the gradient checker."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Cache, Conv2d, ConvTranspose2d, Layer, Params
from l2ae_kernels.cuda.emulated import emulate

DEVICE = emulate()


@dataclass(eq=False)
class OnDevice(Layer):
    """A convolution whose arrays are moved to a device for each call, for the gradient checker."""

    layer: Conv2d | ConvTranspose2d

    @property
    def params(self) -> Params:
        return self.layer.params

    def astype(self, dtype):
        return OnDevice(self.layer.astype(dtype))

    def output_shape(self, input_shape):
        return self.layer.output_shape(input_shape)

    def forward(self, x: np.ndarray, train: bool = False) -> tuple[np.ndarray, Cache]:
        y, cache = self._moved().forward(DEVICE.to_device(x))
        return DEVICE.to_host(y), cache

    def backward(self, dy: np.ndarray, cache: Cache) -> tuple[np.ndarray, Params]:
        dx, grads = self._moved().backward(DEVICE.to_device(dy), cache)
        return DEVICE.to_host(dx), {name: DEVICE.to_host(g) for name, g in grads.items()}

    def _moved(self) -> Conv2d | ConvTranspose2d:
        W, b = DEVICE.to_device(self.layer.W), DEVICE.to_device(self.layer.b)
        return type(self.layer)(W, b, self.layer.stride, self.layer.padding)


@pytest.mark.usefixtures("cxx")
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
@pytest.mark.parametrize(("kernel", "stride"), [((5, 5), 2), ((2, 3), (3, 1))])
def test_gradients_against_differences(kind, kernel, stride):
    """The project's own checker on the layers, float64 on the emulated device."""
    layer = kind.glorot(2, 3, kernel, np.random.default_rng(4), stride=stride, dtype="float64")
    x = np.random.default_rng(5).standard_normal((2, 4, 3, 2))
    check_layer(OnDevice(layer), x, methods=("central",), rng=0).raise_if_bad()
