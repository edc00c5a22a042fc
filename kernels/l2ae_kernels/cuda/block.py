"""A block of a network on a device: what the network asks of it, and what it is given.

    y = act(f(x))        dx = act'_below(x) · (∂f/∂x)ᵀ dy

The input of a block is the output of the activation below it, so the launch that makes dx
multiplies by act' before it writes: none is a rectifier alone. Every array has a leading model
axis: x, y and their gradients (M, N, *shape), parameters (M, *shape), the parts of their gradients
(count, M, *shape). Running statistics are found among the parameters by name; `forward` moves them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.graphs import Branch
from l2ae_kernels.stages import Params, Shape, Stage

Impl: TypeAlias = Literal["naive", "tensor", "tf32"]


class Present(NamedTuple):
    """What is there of a batch of M models, and the factors of their losses (network.cuh)."""

    counts: Array  # (M,) int32
    twice_factors: Array  # (M,)

    @classmethod
    def of(cls, device: Device, models: int, dtype: npt.DTypeLike) -> Self:
        """Return the arrays, not set."""
        return cls(device.empty(models, np.int32), device.empty(models, dtype))


@dataclass(frozen=True)
class Batch:
    """N samples of each of M models, and how their products are computed.

    present: how many of the N each model has; None is all, with one factor of the loss.
    """

    device: Device
    models: int
    samples: int
    dtype: np.dtype[Any]
    impl: Impl
    present: Present | None = None

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
    """Some stages, with the arrays that they write; dx (M, N, *input_shape) is one of them.

    slope: of the activation at its end. slope_below: of the activation whose output is x, through
    which the gradient in dx has passed; 1 is none. first: x are images; a linear block leaves dx.
    gates_dy: `backward` itself takes the gradient through the activation at the end. bias: the name
    of b where its gradient, the sum of dy over all but the last axis, is left to `Biases`.
    Gradients are given as arrays of parts (count, M, *shape), of one part but for `counts`.
    """

    gates_dy = False
    bias: str | None = None

    def __init__(
        self, batch: Batch, stages: Sequence[Stage], slope_below: float, dx: Array, *, first: bool
    ) -> None:
        self.batch, self.stages, self.stage = batch, stages, stages[0]
        self.input_shape, self.output_shape = stages[0].input_shape, stages[-1].output_shape
        self.slope, self.slope_below = stages[-1].slope, slope_below
        self.dx, self.first = dx, first
        self.allocate()

    def allocate(self) -> None:
        """Make y (M, N, *output_shape), and what else `forward` writes."""
        self.y = self.batch.empty(self.output_shape)

    def counts(self) -> dict[str, int]:
        """Return of how many parts the named gradients are that `backward` leaves in several."""
        return {}

    def loss_parts(self) -> int:
        """Return how many parts Σ |x̂ − x|² comes in that `reconstruct` makes; 0 where it cannot."""
        return 0

    def reconstruct(
        self, x: Array, params: Params, images: Array, factor: float, d: Array, errors: Array
    ) -> None:
        """Write the parts of the error of x̂, and the gradient of factor times it to d.

        With `batch.present`, its factors are those.
        """
        raise NotImplementedError

    @abstractmethod
    def forward(self, x: Array, params: Params) -> Array:
        """Return y (M, N, *output_shape) for x (M, N, *input_shape)."""

    @abstractmethod
    def backward(self, dy: Array, x: Array, params: Params, grads: Params, beside: Branch) -> None:
        """Write `grads` and dx, after `forward` of the same x; dy (M, N, *output_shape).

        dx does not wait for the sums over samples, which are queued beside.
        """


def whole(grads: Params) -> Params:
    """Return the first parts (M, *shape), which are all where there is one."""
    return {name: g[0] for name, g in grads.items()}
