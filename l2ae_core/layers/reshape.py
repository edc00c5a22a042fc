"""Reshape: between images (H, W, C) and vectors (H·W·C,)."""

import math
from dataclasses import dataclass

from l2ae_core.layers.base import Cache, Layer, Params, Shape, require_gradient, sample_shape
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Reshape(Layer):
    """Give every sample the shape `shape`: y = x.reshape(N, *shape), dx = dy.reshape(x.shape).

    Flattening is Reshape((H * W * C,)). ValueError when a sample has another number of elements.
    """

    shape: Shape

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}{self.shape}"

    def output_shape(self, input_shape: Shape) -> Shape:
        if math.prod(input_shape) != math.prod(self.shape):
            raise ValueError(
                f"{self}: sample has shape {input_shape}, {math.prod(input_shape)} elements, "
                f"but expected {math.prod(self.shape)}"
            )
        return self.shape

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        shape = self.output_shape(sample_shape(self, x, numbers=False))
        return x.reshape(len(x), *shape), x.shape

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        require_gradient(self, dy, (cache[0], *self.shape))
        return dy.reshape(cache), {}
