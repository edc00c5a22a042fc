"""The `Layer`: a map with parameters, its forward pass and its adjoint.

    y, cache  = layer.forward(x)          y = f(x; θ)
    dx, grads = layer.backward(dy, cache) dx = (∂f/∂x)ᵀ dy,   grads[name] = (∂f/∂θ)ᵀ dy

`dx` always stands for ∂loss/∂x. The cache is returned, never stored, so that calling `backward`
twice gives the same answer and one layer can serve several threads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array

Shape: TypeAlias = tuple[int, ...]  # of one sample, without the batch axis N
Cache: TypeAlias = Any  # what backward needs of forward; each layer chooses its own
Params: TypeAlias = dict[str, Array]


class HasArrays(Protocol):
    """Whatever owns arrays, by name: what optimizers, histories and checkpoints work on."""

    @property
    def params(self) -> Params:
        """The trainable arrays: live arrays, changed in place by the optimizer."""
        ...

    @property
    def state(self) -> Params:
        """Arrays that are saved but not trained."""
        ...


class Layer(ABC):
    """Base of every layer. Subclasses are dataclasses whose array fields are their parameters."""

    @property
    def params(self) -> Params:
        """The trainable arrays by name: live arrays, changed in place by the optimizer."""
        return {}

    @property
    def state(self) -> Params:
        """Arrays that are saved but not trained: BatchNorm's running statistics."""
        return {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample; ValueError when a sample of `input_shape` does not fit."""
        return input_shape

    @abstractmethod
    def forward(self, x: Array, train: bool = False) -> tuple[Array, Cache]:
        """Return y = f(x) (N, *output_shape) and the cache; `train` matters to BatchNorm only."""

    @abstractmethod
    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Params]:
        """Return dx with the shape of x, and grads with the keys and shapes of `params`."""

    def gradients(self, dy: Array, cache: Cache) -> Params:
        """Return grads alone: the first layer of a network needs no dx, and some save time so."""
        return self.backward(dy, cache)[1]

    def gates(self, cache: Cache) -> list[Array]:
        """Boolean masks that say on which linear piece each unit was (ReLU); [] where smooth.

        Two points with equal gates lie on one smooth piece, so a finite difference between them
        is meaningful; the gradient checker compares these masks.
        """
        return []

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy whose floating-point arrays are all of `dtype`."""

        def cast(a: Array) -> Array:
            return a.astype(dtype) if np.issubdtype(a.dtype, np.inexact) else a

        return self.with_arrays(cast)

    def with_arrays(self, change: Callable[[Array], Array]) -> Self:
        """Return a copy with `change(a)` for each of its arrays: of another dtype or device."""
        return replace(  # type: ignore[type-var]  # every concrete layer is a dataclass
            self,
            **{f.name: _changed(getattr(self, f.name), change) for f in fields(self)},  # type: ignore[arg-type]
        )


def _changed(value: Any, change: Callable[[Array], Array]) -> Any:
    if isinstance(value, Layer):
        return value.with_arrays(change)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    return change(value) if hasattr(value, "dtype") else value
