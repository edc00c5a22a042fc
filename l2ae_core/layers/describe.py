"""Parts of a model as text: what must be equal for a training to be resumed."""

from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from l2ae_core.layers.base import attributes, replaced_methods
from l2ae_core.layers.sequential import Sequential

PACKAGE = __name__.partition(".")[0]
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def describe(part: Any) -> list[str]:
    """Return a layer as text, and a Sequential as that of its layers.

    The classes of this package have their `str`. Every other class has the name of its module
    before its own, and all that its object holds: plain values, the shapes of arrays, layers.
    """
    if type(part) is Sequential and not replaced_methods(part):
        return [line for layer in part.layers for line in describe(layer)]
    return [_text(part, ())]


def describe_class(thing: Any) -> list[str]:
    """Return [] for an object of this package, else its text, see `describe`."""
    return [] if is_ours(thing) else [_text(thing, ())]


def class_name(kind: Any) -> str:
    """Return the name of a class or function with that of its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_ours(thing: Any) -> bool:
    """Whether the class of an object is one of this package, and no method is replaced on it."""
    return type(thing).__module__.partition(".")[0] == PACKAGE and not replaced_methods(thing)


def _text(value: Any, inside: tuple[int, ...]) -> str:
    """`inside` are the identities of the objects around `value`."""
    if isinstance(value, PLAIN):
        return repr(value)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"array{tuple(value.shape)}"
    if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
        return class_name(value)
    name, inside = class_name(type(value)), (*inside, id(value))
    if id(value) in inside[:-1]:
        return name
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_text(item, inside) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {_text(item, inside)}' for k, item in value.items())}}}"
    if hasattr(value, "__dict__") or hasattr(value, "__dataclass_fields__"):
        if is_ours(value):
            return str(value)
        held = (f"{k}={_text(item, inside)}" for k, item in attributes(value).items())
        return f"{name}({', '.join(held)})"
    return name
