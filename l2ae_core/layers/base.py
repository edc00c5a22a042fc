"""The `Layer`: a map with parameters, its forward pass and its adjoint.

    y, cache  = layer.forward(x)          y = f(x; θ)
    dx, grads = layer.backward(dy, cache) dx = (∂f/∂x)ᵀ dy,   grads[name] = (∂f/∂θ)ᵀ dy

`dx` always stands for ∂loss/∂x. The cache is returned, never stored, so that calling `backward`
twice gives the same answer and one layer can serve several threads.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape

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

    def weight_grads(self, dy: Array, cache: Cache) -> Params:
        """Return grads alone: the first layer of a network needs no dx, and some save time so.

        `weight_grads` calls it, and `backward` where a derived class overrides that one alone.
        """
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
        """Return a copy with `change(a)` for each of its arrays: of another dtype or device.

        ValueError when a method was replaced on the object: it would still use the old arrays.
        """
        if replaced := replaced_methods(self):
            raise ValueError(
                f"{self}: {replaced[0]} is replaced on the object and cannot be copied: expected a "
                "subclass that overrides it"
            )
        other = copy(self)
        for name, value in attributes(self).items():
            object.__setattr__(other, name, _changed(value, change))  # it may be frozen
        return other


def attributes(thing: Any) -> dict[str, Any]:
    """Return what an object holds, by name: fields of a dataclass, with slots or without, and more.

    Arrays, layers, settings: what a copy needs, and what tells two objects of a class apart.
    """
    names = [f.name for f in fields(thing)] if is_dataclass(thing) else []
    held = {name: getattr(thing, name) for name in names if hasattr(thing, name)}
    return held | getattr(thing, "__dict__", {})


def is_exactly(thing: object, *types: type) -> bool:
    """Whether `thing` does just what one of `types` does: no subclass, no method replaced on it.

    Compiled steps know a class by its formula; what overrides something has another formula.
    """
    return type(thing) in types and not replaced_methods(thing)


def replaced_methods(thing: object) -> list[str]:
    """Return the names of methods that an attribute of the object itself hides."""
    kind = type(thing)
    own = getattr(kind, "__dataclass_fields__", {})
    methods = (FunctionType, staticmethod, classmethod)
    return [
        name
        for name in vars(thing)
        if name not in own and isinstance(inspect.getattr_static(kind, name, None), methods)
    ]


def weight_grads(layer: Layer, dy: Array, cache: Cache) -> Params:
    """Return the grads of a layer, by the one of its two methods that its own class defines."""
    if overrides_backward_alone(layer):
        return layer.backward(dy, cache)[1]
    return layer.weight_grads(dy, cache)


def overrides_backward_alone(layer: Layer) -> bool:
    """Whether `weight_grads` belongs to the backward pass of a parent."""
    here = vars(layer)
    if "backward" in here or "weight_grads" in here:
        return "weight_grads" not in here
    return _definer(type(layer), "backward") < _definer(type(layer), "weight_grads")


def _definer(cls: type, name: str) -> int:
    """Position, in the order of look-up, of the class that defines `name`."""
    return next(i for i, c in enumerate(cls.__mro__) if name in vars(c))


def sample_shape(layer: Layer, x: Array, *, numbers: bool = True) -> Shape:
    """Return the shape of one sample of x (N, ...); ValueError unless x is an array, of numbers."""
    _require_array(layer, "x", x, numbers)
    if not x.ndim:
        raise ValueError(f"{layer}: x is {x.dtype} without axes but expected (N, ...)")
    return x.shape[1:]


def require_gradient(layer: Layer, dy: Array, shape: Shape) -> None:
    """Raise ValueError unless dy is an array of numbers of this shape."""
    _require_array(layer, "dy", dy, True)
    require_shape(type(layer).__name__, "dy", dy.shape, shape)


def _require_array(layer: Layer, name: str, a: Array, numbers: bool) -> None:
    """Raise ValueError unless a is an array without a mask, of real or complex `numbers`."""
    array = isinstance(a, np.ndarray) or hasattr(a, "__cuda_array_interface__")
    if not array or isinstance(a, np.matrix | np.ma.MaskedArray):
        raise ValueError(f"{layer}: {name} is {type(a).__name__} but expected an array")
    if numbers and a.dtype.kind not in "fc":
        raise ValueError(f"{layer}: {name} is {a.dtype} but expected floating point")


def _changed(value: Any, change: Callable[[Array], Array]) -> Any:
    if isinstance(value, Layer):
        return value.with_arrays(change)
    if type(value) in (list, tuple):
        return type(value)(_changed(item, change) for item in value)
    if type(value) is dict:
        return {key: _changed(item, change) for key, item in value.items()}
    return change(value) if hasattr(value, "dtype") else value
