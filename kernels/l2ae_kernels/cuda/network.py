"""Forward and backward of M networks of plain stages, as launches over arrays allocated once.

    x ─block 0→ v_1 ─block 1→ v_2 … ─block L−1→ reconstruction          v_i = act_i(f_i(v_{i−1}))
    d_{i−1} = act'_{i−1}(v_{i−1}) · (∂f_i/∂v_{i−1})ᵀ d_i

A block is one stage, or the three stages around a short code. Its input is the output of the
activation below it, so the launch that makes the gradient of its input multiplies by act' before it
writes: none is a rectifier alone.

Every array has a leading model axis: v_i (M, N, *shape), parameters and gradients (M, *shape). All
launches are queued; nothing is read back.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import conv, elementwise, normalize, products
from l2ae_kernels.cuda.bottleneck import LONGEST_CODE, Bottleneck, Sizes
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.loss import squared_error
from l2ae_kernels.stages import Params, Shape, Stage

Impl: TypeAlias = Literal["naive", "tensor", "tf32"]


@dataclass(frozen=True)
class Batch:
    """N samples of each of M models, and how their products are computed."""

    device: Device
    models: int
    samples: int
    dtype: np.dtype[Any]
    impl: Impl

    def empty(self, shape: Shape) -> Array:
        """Return (M, N, *shape), not set."""
        return self.device.empty((self.models, self.samples, *shape), self.dtype)

    def per_sample(self, a: Array, shape: Shape) -> Array:
        """Return a as (M, N, *shape)."""
        return a.reshape(self.models, self.samples, *shape)

    def rows(self, a: Array) -> Array:
        """Return a as rows (M, R, features) of its last axis."""
        return a.reshape(self.models, -1, a.shape[-1])


class Block(ABC):
    """Some stages, with the arrays that they write.

    slope: of the activation at its end. slope_below: of the activation whose output is x, through
    which the gradient dx has passed; 1 is none. first: x are images, and dx is not made.
    gates_dy: `backward` itself takes the gradient through the activation at the end.
    """

    gates_dy = False

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, *, first: bool
    ) -> None:
        self.batch, self.stage = batch, stages[0]
        self.slope, self.slope_below, self.first = stages[-1].slope, slope_below, first
        self.input_shape, self.output_shape = stages[0].input_shape, stages[-1].output_shape

    @abstractmethod
    def forward(self, x: Array, params: Params) -> Array:
        """Return y (M, N, *output_shape) for x (M, N, *input_shape)."""

    @abstractmethod
    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        """Write `grads` and return dx, after `forward` of the same x."""


class _Linear(Block):
    """y = leaky(A x + b): what a dense stage and both convolutions share."""

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, *, first: bool
    ) -> None:
        super().__init__(batch, stages, slope_below, first=first)
        self.W, self.b = (f"{self.stage.name}.{name}" for name in "Wb")
        self.y = batch.empty(self.output_shape)
        self.dx = None if first else batch.empty(self.input_shape)

    def end(self) -> dict[str, Any]:
        """How the product forward ends, and on which rung."""
        return {"slope": self.slope, "impl": self.batch.impl}

    def end_below(self, x: Array) -> dict[str, Any]:
        """How the product that makes dx ends: with the adjoint of the activation that made x."""
        gate = None if self.slope_below == 1 else x
        return {"y_below": gate, "slope": self.slope_below, "impl": self.batch.impl}


class Dense(_Linear):
    """y = leaky(x W + b)      dW = xᵀ dy      dx = dy Wᵀ."""

    def forward(self, x: Array, params: Params) -> Array:
        products.dense(x, params[self.W], params[self.b], self.y, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        products.dense_adjoint_W(x, dy, grads[self.W], impl=self.batch.impl)
        elementwise.bias_adjoint(dy, grads[self.b])
        if self.dx is not None:
            products.dense_adjoint_x(dy, params[self.W], self.dx, **self.end_below(x))
        return self.dx


class Convolution(_Linear):
    """y = leaky(correlate(x, W) + b)    dW = adjoint in W (x, dy)    dx = adjoint in x (dy, W)."""

    def forward(self, x: Array, params: Params) -> Array:
        s, W, b = self.stage, params[self.W], params[self.b]
        conv.correlate(x, W, b, self.y, s.stride, s.padding, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        s, W, dW, db = self.stage, params[self.W], grads[self.W], grads[self.b]
        conv.correlate_adjoint_W(x, dy, dW, s.stride, s.padding, db=db, impl=self.batch.impl)
        if self.dx is not None:
            end = self.end_below(x)
            conv.correlate_adjoint_x(dy, W, None, self.dx, s.stride, s.padding, **end)
        return self.dx


class TransposedConvolution(_Linear):
    """y = leaky(adjoint in x (x, W) + b)    dW = adjoint in W (dy, x)    dx = correlate(dy, W)."""

    def forward(self, x: Array, params: Params) -> Array:
        s, W, b = self.stage, params[self.W], params[self.b]
        conv.correlate_adjoint_x(x, W, b, self.y, s.stride, s.padding, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        s, W, dW = self.stage, params[self.W], grads[self.W]
        conv.correlate_adjoint_W(dy, x, dW, s.stride, s.padding, impl=self.batch.impl)
        elementwise.bias_adjoint(self.batch.rows(dy), grads[self.b])
        if self.dx is not None:
            end = self.end_below(x)
            conv.correlate(dy, W, None, self.dx, s.stride, s.padding, **end)
        return self.dx


class L2Normalize(Block):
    """u = z / n,  n = √(|z|² + ε²), of each row      dz = (du − u⟨u, du⟩) / n."""

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, *, first: bool
    ) -> None:
        super().__init__(batch, stages, slope_below, first=first)
        self.u, self.dz = batch.empty(self.output_shape), batch.empty(self.input_shape)
        self.n = batch.empty((*self.input_shape[:-1], 1))

    def forward(self, x: Array, params: Params) -> Array:
        rows = self.batch.rows
        normalize.l2_normalize(rows(x), self.stage.eps, rows(self.u), rows(self.n))
        return self.u

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        rows = self.batch.rows
        normalize.l2_normalize_adjoint(
            rows(dy), rows(self.u), rows(self.n), rows(self.dz), slope_below=self.slope_below
        )
        return self.dz


class LayerNorm(Block):
    """y = leaky(γ (x − μ)/σ + β),  σ = √(v + ε), with μ and v of each row."""

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, *, first: bool
    ) -> None:
        super().__init__(batch, stages, slope_below, first=first)
        self.y, self.dx = batch.empty(self.output_shape), batch.empty(self.input_shape)

    def forward(self, x: Array, params: Params) -> Array:
        rows, eps = self.batch.rows, self.stage.eps
        gamma, beta = (self._of_rows(params, name) for name in ("gamma", "beta"))
        normalize.layer_norm(rows(x), gamma, beta, eps, rows(self.y), slope=self.slope)
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        rows, eps = self.batch.rows, self.stage.eps
        gamma = self._of_rows(params, "gamma")
        dgamma, dbeta = (self._of_rows(grads, name) for name in ("gamma", "beta"))
        normalize.layer_norm_adjoint(
            rows(dy), rows(x), gamma, eps, rows(self.dx), dgamma, dbeta,
            slope_below=self.slope_below,
        )  # fmt: skip
        return self.dx

    def _of_rows(self, arrays: Params, name: str) -> Array | None:
        """γ or β (M, features), or their gradient; None where the stage has none."""
        return arrays.get(f"{self.stage.name}.{name}")


class Middle(Block):
    """dense, l2_normalize, dense around a short code: one launch forward, two backward."""

    gates_dy = True

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, *, first: bool
    ) -> None:
        super().__init__(batch, stages, slope_below, first=first)
        (inputs,), (latent,), (outputs,) = (
            stages[0].input_shape,
            *(s.output_shape for s in stages[1:]),
        )
        self.fused = Bottleneck(
            batch.device, Sizes(batch.models, batch.samples, inputs, latent, outputs), batch.dtype,
            eps=stages[1].eps, slope=self.slope, slope_below=slope_below,
        )  # fmt: skip
        pairs = ((1, stages[0]), (2, stages[2]))
        self.names = {f"{key}{i}": f"{s.name}.{key}" for i, s in pairs for key in "Wb"}

    def forward(self, x: Array, params: Params) -> Array:
        return self.fused.forward(x, self._own(params))

    def backward(self, dy: Array, x: Array, params: Params, grads: Params) -> Array | None:
        self.fused.grads = self._own(grads)
        dx, _ = self.fused.backward(dy, x, self._own(params))
        return dx

    def _own(self, arrays: Params) -> Params:
        return {own: arrays[name] for own, name in self.names.items()}


BLOCKS: dict[str, type[Block]] = {
    "dense": Dense,
    "conv": Convolution,
    "conv_transpose": TransposedConvolution,
    "l2_normalize": L2Normalize,
    "layer_norm": LayerNorm,
}


class Network:
    """The blocks for one size of batch; impl "naive" has a block for every stage."""

    def __init__(self, stages: Sequence[Stage], batch: Batch) -> None:
        self.batch = batch
        self.blocks: list[Block] = []
        rest = list(stages)
        while rest:
            middle = batch.impl != "naive" and _is_middle(rest[:3], batch.dtype)
            kind, count = (Middle, 3) if middle else (BLOCKS[rest[0].kind], 1)
            below = self.blocks[-1] if self.blocks else None
            slope_below = 1.0 if below is None or below.gates_dy else below.slope
            self.blocks.append(kind(batch, rest[:count], slope_below, first=below is None))
            rest = rest[count:]
        self.dy = batch.empty(self.blocks[-1].output_shape)

    def loss_and_grads(
        self, x: Array, params: Params, factor: float, grads: Params, errors: Array
    ) -> None:
        """Write the gradients of factor · Σ |x̂ − x|² to `grads`, and add Σ |x̂ − x|² to `errors`.

        x (M, N, *image), errors (M,) float64.
        """
        inputs, y = [], x
        for block in self.blocks:
            inputs.append(self.batch.per_sample(y, block.input_shape))
            y = block.forward(inputs[-1], params)
        last = self.blocks[-1]
        slope = 1.0 if last.gates_dy else last.slope
        x = self.batch.per_sample(x, last.output_shape)
        squared_error(y, x, factor, self.dy, errors, slope=slope)
        gradient: Array | None = self.dy
        for block, v in zip(reversed(self.blocks), reversed(inputs), strict=True):
            assert gradient is not None  # only that of the images is not made
            dy = self.batch.per_sample(gradient, block.output_shape)
            gradient = block.backward(dy, v, params, grads)


def _is_middle(stages: Sequence[Stage], dtype: np.dtype[Any]) -> bool:
    """Whether three stages are what bottleneck.cu computes."""
    if [s.kind for s in stages] != ["dense", "l2_normalize", "dense"]:
        return False
    first, norm, _ = stages
    code = norm.input_shape
    plain = first.slope == norm.slope == 1 and len(code) == 1
    return plain and code[0] * dtype.itemsize <= LONGEST_CODE
