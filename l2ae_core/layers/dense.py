"""The fully connected layer."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.layers.base import Cache, Layer, Params, Shape, require_gradient, sample_shape
from l2ae_core.layers.initialize import glorot_uniform
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import require_array


@dataclass(eq=False)
class Dense(Layer):
    """Affine map of vectors.

        y  = x W + b                     x (N, I), W (I, O), b (O,), y (N, O)
        dx = dy Wᵀ      dW = xᵀ dy      db = Σ_n dy_n

    Raises ValueError when W is not a matrix, when b does not fit it, or when x does not.
    """

    W: Array  # (I, O)
    b: Array  # (O,)

    def __post_init__(self) -> None:
        require_array("Dense", "W", self.W)
        require_array("Dense", "b", self.b)
        if self.W.ndim != 2:
            raise ValueError(f"Dense: W has shape {self.W.shape} but expected (inputs, outputs)")
        if self.b.shape != self.W.shape[1:]:
            raise ValueError(f"Dense: b has shape {self.b.shape} but expected {self.W.shape[1:]}")

    @classmethod
    def glorot(
        cls, inputs: int, outputs: int, rng: Generator, dtype: npt.DTypeLike = np.float32
    ) -> Self:
        """Return a layer with Glorot-uniform W and b = 0."""
        W = glorot_uniform((inputs, outputs), rng, dtype)
        return cls(W, np.zeros(outputs, dtype))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({self.W.shape[0]} -> {self.W.shape[1]})"

    @property
    def params(self) -> Params:
        return {"W": self.W, "b": self.b}

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != self.W.shape[:1]:
            raise ValueError(f"{self}: sample has shape {input_shape}, expected {self.W.shape[:1]}")
        return self.W.shape[1:]

    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        self.output_shape(sample_shape(self, x))
        return ops.dense(x, self.W, self.b), x

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        grads = self.weight_grads(dy, cache)
        return ops.dense_adjoint_x(dy, self.W), grads

    def weight_grads(self, dy: Array, cache: Cache) -> Params:
        x = cache
        require_gradient(self, dy, (len(x), *self.W.shape[1:]))
        return {"W": ops.dense_adjoint_W(x, dy), "b": ops.bias_adjoint(dy)}
