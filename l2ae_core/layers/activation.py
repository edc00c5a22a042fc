"""Elementwise activations. Their cache is the output y, which the next layer keeps alive anyway."""

from dataclasses import dataclass

import numpy as np

from l2ae_core.layers.base import Cache, Layer, Params, require_gradient, sample_shape
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import number


@dataclass(eq=False)
class Identity(Layer):
    """y = x and dx = dy: the `normalize` of an auto-encoder that has no constraint."""

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        return x, None

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        return dy, {}


@dataclass(eq=False)
class LeakyReLU(Layer):
    """Leaky rectifier; the default slope is that of its paper (Maas, Hannun, Ng, 2013).

        y  = x  where x > 0, slope · x  elsewhere
        dx = dy where y > 0, slope · dy elsewhere

    With slope ≥ 0, y > 0 exactly where x > 0, so y alone is cached. At the kink x = 0 the
    derivative is `slope`. Complex x branches on its real part. ValueError for a slope below 0.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        number("LeakyReLU", "slope", self.slope)

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self.slope})"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        y = ops.leaky_relu(x, self.slope)
        return y, y

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        y = cache
        return ops.leaky_relu_adjoint(dy, y, self.slope), {}

    def gates(self, cache: Cache) -> list[Array]:
        return [cache.real > 0]


@dataclass(eq=False)
class ReLU(Layer):
    """Rectifier: y = max(x, 0), dx = dy where y > 0 and 0 elsewhere (also at x = 0)."""

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        y = ops.leaky_relu(x, 0.0)
        return y, y

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        y = cache
        return ops.leaky_relu_adjoint(dy, y, 0.0), {}

    def gates(self, cache: Cache) -> list[Array]:
        return [cache.real > 0]


@dataclass(eq=False)
class Tanh(Layer):
    """Hyperbolic tangent: y = tanh x, dx = (1 − y²) dy."""

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        sample_shape(self, x)
        y = np.tanh(x)
        return y, y

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        y = cache
        require_gradient(self, dy, y.shape)
        return (1 - y * y) * dy, {}
