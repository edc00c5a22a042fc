"""The blocks of a network on a device: one stage each, or the three around a short code."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import conv, normalize, products
from l2ae_kernels.cuda.block import Batch, Block, whole
from l2ae_kernels.cuda.bottleneck import LONGEST_CODE, Bottleneck, Sizes
from l2ae_kernels.cuda.conv_thin import Target
from l2ae_kernels.cuda.graphs import Branch
from l2ae_kernels.geometry import Geometry
from l2ae_kernels.stages import Params, Stage


class _Linear(Block):
    """y = leaky(A x + b): what a dense stage and both convolutions share."""

    def allocate(self) -> None:
        super().allocate()
        self.W, self.b = (f"{self.stage.name}.{name}" for name in "Wb")
        self.bias = self.b

    def end(self) -> dict[str, Any]:
        """How the product forward ends, and on which rung."""
        return {"slope": self.slope, "impl": self.batch.impl}

    def end_below(self, x: Array) -> dict[str, Any]:
        """How the product that makes dx ends: with the adjoint of the activation that made x."""
        gate = None if self.slope_below == 1 else x
        return {"y_below": gate, "slope": self.slope_below, "impl": self.batch.impl}


class Dense(_Linear):
    """y = leaky(x W + b)      dW = xᵀ dy      dx = dy Wᵀ."""

    def counts(self) -> dict[str, int]:
        inputs, outputs = self.stage.parameters["W"]
        parts = products.weight_parts(inputs, outputs, self.batch.samples, self.batch.impl)
        return {self.W: parts}

    def forward(self, x: Array, params: Params) -> Array:
        products.dense(x, params[self.W], params[self.b], self.y, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        with beside:
            products.dense_adjoint_W_parts(x, dy, grads[self.W], impl=self.batch.impl)
        if not self.first:
            products.dense_adjoint_x(dy, params[self.W], self.dx, **self.end_below(x))


class _Correlation(_Linear):
    """What both convolutions share: a correlation, and how many parts its dW comes in."""

    def allocate(self) -> None:
        super().allocate()
        s = self.stage
        images, maps = (s.input_shape, s.output_shape)[:: 1 if s.kind == "conv" else -1]
        self.geometry = Geometry.of(images, maps, s.kernel, s.stride, s.padding)
        made = self.y if s.kind == "conv" else self.dx
        self.workspace = conv.workspace_of(made, self.geometry, self.batch.impl)

    def counts(self) -> dict[str, int]:
        return {self.W: conv.weight_parts(self.geometry, self.batch.samples, self.batch.impl)}

    def correlate(self, x: Array, W: Array, b: Array | None, out: Array, **end: Any) -> None:
        """Launch the correlation: forward of one, backward of the other."""
        s = self.stage
        conv.correlate(x, W, b, out, s.stride, s.padding, workspace=self.workspace, **end)


class Convolution(_Correlation):
    """y = leaky(correlate(x, W) + b)    dW = adjoint in W (x, dy)    dx = adjoint in x (dy, W).

    db comes with dW, from tensor cores and thin kernels.
    """

    def allocate(self) -> None:
        super().allocate()
        if self.batch.impl != "naive":
            self.bias = None

    def counts(self) -> dict[str, int]:
        of_W = super().counts()
        return of_W if self.bias is not None else of_W | {self.b: of_W[self.W]}

    def forward(self, x: Array, params: Params) -> Array:
        self.correlate(x, params[self.W], params[self.b], self.y, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        s, W, how = self.stage, params[self.W], {"impl": self.batch.impl}
        db = grads[self.b] if self.bias is None else None
        with beside:
            conv.correlate_adjoint_W_parts(x, dy, grads[self.W], s.stride, s.padding, db=db, **how)
        if not self.first:
            end = self.end_below(x)
            conv.correlate_adjoint_x(dy, W, None, self.dx, s.stride, s.padding, **end)


class TransposedConvolution(_Correlation):
    """y = leaky(adjoint in x (x, W) + b)    dW = adjoint in W (dy, x)    dx = correlate(dy, W)."""

    def forward(self, x: Array, params: Params) -> Array:
        s, W, b = self.stage, params[self.W], params[self.b]
        conv.correlate_adjoint_x(x, W, b, self.y, s.stride, s.padding, **self.end())
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        s, W, dW = self.stage, params[self.W], grads[self.W]
        with beside:
            conv.correlate_adjoint_W_parts(dy, x, dW, s.stride, s.padding, impl=self.batch.impl)
        if not self.first:
            self.correlate(dy, W, None, self.dx, **self.end_below(x))

    def loss_parts(self) -> int:
        return conv.loss_parts(self.geometry, self.batch.samples, self.batch.impl)

    def reconstruct(
        self, x: Array, params: Params, images: Array, factor: float, d: Array, errors: Array
    ) -> None:
        s, W, b = self.stage, params[self.W], params[self.b]
        target = Target(images, factor, errors, self.batch.present)
        conv.correlate_adjoint_x(x, W, b, d, s.stride, s.padding, target=target, **self.end())


class L2Normalize(Block):
    """u = z / n,  n = √(|z|² + ε²), of each row      dz = (du − u⟨u, du⟩) / n."""

    def allocate(self) -> None:
        super().allocate()
        self.n = self.batch.empty((*self.input_shape[:-1], 1))

    def forward(self, x: Array, params: Params) -> Array:
        rows = self.batch.rows
        normalize.l2_normalize(rows(x), self.stage.eps, rows(self.y), rows(self.n))
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        rows = self.batch.rows
        normalize.l2_normalize_adjoint(
            rows(dy), rows(self.y), rows(self.n), rows(self.dx), slope_below=self.slope_below
        )


class _Standardize(Block):
    """y = leaky(γ (x − μ)/σ + β),  σ = √(v + ε): what layer and batch norm share."""

    def affine(self, arrays: Params) -> tuple[Array | None, Array | None]:
        """Return γ and β (M, features), or their gradients; None where the stage has none."""
        return arrays.get(f"{self.stage.name}.gamma"), arrays.get(f"{self.stage.name}.beta")


class LayerNorm(_Standardize):
    """μ and v are those of each row."""

    def forward(self, x: Array, params: Params) -> Array:
        rows, eps = self.batch.rows, self.stage.eps
        gamma, beta = self.affine(params)
        normalize.layer_norm(rows(x), gamma, beta, eps, rows(self.y), slope=self.slope)
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        rows, eps = self.batch.rows, self.stage.eps
        (gamma, _), (dgamma, dbeta) = self.affine(params), self.affine(whole(grads))
        normalize.layer_norm_adjoint(
            rows(dy), rows(x), gamma, eps, rows(self.dx), dgamma, dbeta,
            slope_below=self.slope_below,
        )  # fmt: skip


class BatchNorm(_Standardize):
    """μ and v are those of each channel, over all rows of the batch of a model."""

    def allocate(self) -> None:
        super().allocate()
        columns = (self.batch.models, self.input_shape[-1])
        self.mean, self.variance, self.sigma, *self.sums = (
            self.batch.device.empty(columns, self.batch.dtype) for _ in range(5)
        )
        present, pixels = self.batch.present, prod(self.input_shape[:-1])
        self.there = None if present is None else normalize.There(present.counts, pixels)

    def forward(self, x: Array, params: Params) -> Array:
        s, rows = self.stage, self.batch.rows
        gamma, beta = self.affine(params)
        mean, variance = (params[f"{s.name}.{name}"] for name in s.state)
        normalize.batch_norm_train(
            rows(x), gamma, beta, s.eps, rows(self.y), self.mean, self.variance, self.sigma,
            slope=self.slope, running=(mean, variance), momentum=s.momentum, there=self.there,
        )  # fmt: skip
        return self.y

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        rows, (gamma, _) = self.batch.rows, self.affine(params)
        # dx is made of dγ and dβ, which have a place also where they are no gradients
        dgamma, dbeta = (
            whole(grads).get(f"{self.stage.name}.{name}", own)
            for name, own in zip(("gamma", "beta"), self.sums, strict=True)
        )
        normalize.batch_norm_adjoint(
            rows(dy), rows(x), self.mean, self.sigma, gamma, True, rows(self.dx), dgamma, dbeta,
            slope_below=self.slope_below, there=self.there,
        )  # fmt: skip


class Middle(Block):
    """dense, l2_normalize, dense around a short code: one launch forward, two backward."""

    gates_dy = True

    def allocate(self) -> None:
        first, norm, second = self.stages
        widths = (*first.input_shape, *norm.input_shape, *second.output_shape)
        self.fused = Bottleneck(
            self.batch.device, Sizes(self.batch.models, self.batch.samples, *widths),
            self.batch.dtype, eps=norm.eps, slope=self.slope, slope_below=self.slope_below,
        )  # fmt: skip
        self.fused.dx = self.dx
        pairs = ((1, first), (2, second))
        self.names = {f"{key}{i}": f"{s.name}.{key}" for i, s in pairs for key in "Wb"}

    def forward(self, x: Array, params: Params) -> Array:
        return self.fused.forward(x, self._own(params))

    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        self.fused.grads = whole(self._own(grads))
        self.fused.adjoint(dy, x, self._own(params))
        with beside:
            self.fused.gradients(dy, x)

    def _own(self, arrays: Params) -> Params:
        return {own: arrays[name] for own, name in self.names.items()}


KINDS: dict[str, type[Block]] = {
    "dense": Dense,
    "conv": Convolution,
    "conv_transpose": TransposedConvolution,
    "l2_normalize": L2Normalize,
    "layer_norm": LayerNorm,
    "batch_norm": BatchNorm,
}


def make_block(batch: Batch, stages: Sequence[Stage], below: Sequence[Block], dx: Array) -> Block:
    """Return the block of one of `groups`; below: the block that makes its input, if any."""
    kind = Middle if len(stages) > 1 else KINDS[stages[0].kind]
    slope = 1.0 if not below or below[0].gates_dy else below[0].slope
    return kind(batch, stages, slope, dx, first=not below)


def groups(stages: Sequence[Stage], batch: Batch) -> list[list[Stage]]:
    """Return the stages of each block: impl "naive" has one for every stage."""
    found, rest = [], list(stages)
    while rest:
        count = 3 if batch.impl != "naive" and _is_middle(rest[:3], batch.dtype) else 1
        found.append(rest[:count])
        rest = rest[count:]
    return found


def _is_middle(stages: Sequence[Stage], dtype: np.dtype[Any]) -> bool:
    """Whether three stages are what bottleneck.cu computes."""
    if [s.kind for s in stages] != ["dense", "l2_normalize", "dense"]:
        return False
    first, norm, _ = stages
    code = norm.input_shape
    plain = first.slope == norm.slope == 1 and len(code) == 1
    return plain and code[0] * dtype.itemsize <= LONGEST_CODE
