"""What is checked: a map of named blocks of numbers, y = f(blocks), and its claimed adjoint.

A `Problem` evaluates f with one block replaced, at real or at complex points, and asks the code
under test for its gradient. The layer or function under test never sees the caller's arrays.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from l2ae_core.layers.base import Cache, Layer
from l2ae_kernels.arrays import Array

Blocks = dict[str, Array]
Gates = list[Array]


class Problem(Protocol):
    """A map of named blocks whose gradient is to be checked."""

    blocks: Blocks  # float64, the point at which the gradient is checked
    y: Array  # f at that point
    gates: Gates | None  # on which linear pieces the units are; None where nobody can tell

    def evaluate(self, block: str, value: Array) -> tuple[Array, Gates | None]:
        """Return y and gates with `block` set to `value`, float64 or complex128."""
        ...

    def pullback(self, dy: Array) -> Blocks:
        """Return the claimed gradient of Σ dy·y with respect to each block."""
        ...


class LayerProblem:
    """y = layer.forward(x, train) as a function of x and of every parameter, by name."""

    def __init__(self, layer: Layer, x: Array, train: bool) -> None:
        check_form(layer)
        self.train = train
        self.layer = layer.astype(np.float64)
        self._complex: Layer | None = None
        self._state = _copies(self.layer.state)
        self.blocks = {"x": real_array("check_layer", "x", x), **_copies(self.layer.params)}
        self.y, self.cache = self.forward(self.blocks["x"].copy())
        self.gates: Gates | None = self.layer.gates(self.cache)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """Run forward and put the running statistics back, so that every call starts alike."""
        return self._run(self.layer, x)

    def pullback(self, dy: Array) -> Blocks:
        """Return {"x": dx, **grads} of the claimed backward pass."""
        dx, grads = self.backward(dy.copy())
        return {name: _kept(g) for name, g in {**grads, "x": dx}.items()}

    def backward(self, dy: Array) -> tuple[Array, Mapping[str, Array]]:
        """Run backward; ValueError when it does not return (dx, grads)."""
        result = self.layer.backward(dy, self.cache)
        if not (_is_pair(result) and isinstance(result[1], Mapping)):
            swapped = _is_pair(result) and isinstance(result[0], Mapping)
            raise ValueError(
                f"check_layer: backward must return (dx, grads), got {_form(result)}"
                + (": the other way round?" if swapped else "")
            )
        dx, grads = result
        return dx, grads

    def evaluate(self, block: str, value: Array) -> tuple[Array, Gates | None]:
        """Return y and gates with `block` replaced by `value`."""
        layer = self.complex_layer() if np.iscomplexobj(value) else self.layer
        if block == "x":
            y, cache = self._run(layer, value)
            return y, layer.gates(cache)
        parameter = layer.params[block]
        parameter[...] = value
        y, cache = self._run(layer, self.blocks["x"].astype(value.dtype))
        parameter[...] = self.blocks[block]
        return y, layer.gates(cache)

    def complex_layer(self) -> Layer:
        """Return the copy of the layer whose arrays are complex128."""
        if self._complex is None:
            self._complex = self.layer.astype(np.complex128)
        return self._complex

    def _run(self, layer: Layer, x: Array) -> tuple[Array, Cache]:
        result = layer.forward(x, self.train)
        for name, array in layer.state.items():
            array[...] = self._state[name]
        if not (_is_pair(result) and isinstance(result[0], np.ndarray)):
            raise ValueError(f"check_layer: forward must return (y, cache), got {_form(result)}")
        y, cache = result
        return y, cache


class FunctionProblem:
    """A scalar function of one array (block "x") or of a dict of arrays."""

    def __init__(
        self,
        f: Callable[[Any], Any],
        gradient: Callable[[Any], Any],
        x: Array | Mapping[str, Array],
    ) -> None:
        self._f, self._gradient, self._single = f, gradient, not isinstance(x, Mapping)
        named = x if isinstance(x, Mapping) else {"x": x}
        self.blocks = {k: real_array("check_function", k, v) for k, v in named.items()}
        if not self.blocks:
            raise ValueError("check_function: x is an empty dict but expected at least one array")
        self.y = self._value(self.blocks)
        self.gates: Gates | None = None

    def evaluate(self, block: str, value: Array) -> tuple[Array, Gates | None]:
        """Return f, as an array of shape (), with `block` replaced by `value`."""
        return self._value({**self.blocks, block: np.asarray(value)}), None

    def pullback(self, dy: Array) -> Blocks:
        """Return dy times the claimed gradient."""
        gradient = self._gradient(self._argument(self.blocks))
        named = {"x": gradient} if self._single else gradient
        if not isinstance(named, Mapping):
            kind = type(named).__name__
            raise ValueError(
                f"check_function: gradient returned a {kind} but expected a dict with the keys of x"
            )
        return {k: np.asarray(_numbers("gradient", v) * float(dy)) for k, v in named.items()}

    def _argument(self, blocks: Blocks) -> Any:
        return blocks["x"].copy() if self._single else _copies(blocks)

    def _value(self, blocks: Blocks) -> Array:
        y = _numbers("f", self._f(self._argument(blocks)))
        if y.shape != ():
            raise ValueError(
                f"check_function: f returned shape {y.shape} but expected a scalar; "
                "sum it against a random array, or make it a Layer"
            )
        return y


def real_array(function: str, name: str, x: Array) -> Array:
    """Return a float64 copy: the cast from float32 or integers loses nothing.

    Raises ValueError for complex, empty or non-finite arrays and for what is not a number.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{function}: {name} is {array.dtype} but expected real numbers")
    if array.size == 0:
        raise ValueError(f"{function}: {name} is {array.shape} but expected at least one entry")
    if not np.isfinite(array).all():
        raise ValueError(f"{function}: {name} holds NaN or Inf but expected finite numbers")
    return np.array(array, dtype=np.float64, order="C")


def check_form(layer: Any) -> None:
    """Raise ValueError for what is no layer: the first mistakes of whoever writes one."""
    if not isinstance(layer, Layer):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else _form(layer)
        raise ValueError(
            f"check_layer: layer is {got} but expected an object of a class that derives from "
            "l2ae_core.layers.Layer"
        )
    for method, arguments in {"forward": ("x", "train"), "backward": ("dy", "cache")}.items():
        signature = inspect.signature(getattr(layer, method))
        try:
            signature.bind(*arguments)
        except TypeError as error:
            expected = f"({', '.join(arguments)})"
            raise ValueError(
                f"check_layer: {method} must take {expected}, it takes {signature}: {error}"
            ) from error
    if not isinstance(layer.params, Mapping):
        raise ValueError(
            f"check_layer: params must be a dict of arrays, they are {_form(layer.params)}"
        )
    if "x" in layer.params:
        raise ValueError("check_layer: a parameter is named 'x' but that is the input's name")
    for name, p in layer.params.items():
        if not isinstance(p, np.ndarray):
            raise ValueError(f"check_layer: params[{name!r}] must be an array, it is {_form(p)}")


def _is_pair(result: object) -> bool:
    return isinstance(result, tuple | list) and len(result) == 2


def _form(value: Any) -> str:
    """Say what a value is: "ndarray (5, 4)", "(dict, None)"."""
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"({', '.join(_form(item) for item in value)})"
    shape = f" {value.shape}" if isinstance(value, np.ndarray) else ""
    return f"{type(value).__name__}{shape}"


def _kept(gradient: Any) -> Any:
    """A copy, that of a scalar of NumPy as an array: sums over all axes are such scalars."""
    return np.array(gradient) if isinstance(gradient, np.generic) else copy.copy(gradient)


def _numbers(what: str, value: Any) -> Array:
    """Return what a function returned as an array; ValueError where it holds no numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiubc":
        raise ValueError(f"check_function: {what} returned {_form(value)} but expected numbers")
    return array


def _copies(arrays: Mapping[str, Array]) -> Blocks:
    return {name: array.copy() for name, array in arrays.items()}
