"""JSON values as frozen dataclasses: one reader, which names what is missing or of another type.

    @dataclass(frozen=True)
    class Machine:
        processor: str
        cores: int
        blas: list[str] | None = None

    from_json(Machine, {"processor": "EPYC"})  # ValueError: entry 'cores' is missing

Fields are dataclasses, str, bool, int, float (a finite number of at most MAX_NUMBER; integers
count), Literal, list[…], dict[str, …], Any, and each of them `| None`. `__post_init__` of a class
may raise ValueError for values that do not fit together.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from l2ae_core.readers import MAX_NUMBER

T = TypeVar("T")
_KINDS = {str: "text", bool: "true or false", int: "an integer", float: "a number",
          list: "a list", dict: "an object"}  # fmt: skip


def from_json(kind: type[T], value: Any, name: str = "") -> T:
    """Return a JSON value as a dataclass or another of the kinds above; `name` is told in errors.

    ValueError when an entry is missing, unknown, or of another type.
    """
    found: T = _read(kind, value, name)
    return found


def to_json(value: Any) -> Any:
    """Return the JSON value of a dataclass; fields that are None are left out."""
    if is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: to_json(part) for name, part in pairs if part is not None}
    if isinstance(value, Mapping):
        return {key: to_json(part) for key, part in value.items()}
    return [to_json(part) for part in value] if isinstance(value, list) else value


def _read(kind: Any, value: Any, name: str) -> Any:
    """Return a value as one of a kind; `name` is its dotted name."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is UnionType:  # X | None
        (other,) = (k for k in arguments if k is not NoneType)
        return None if value is None else _read(other, value, name)
    if origin is Literal:
        if value not in arguments:
            raise _another(value, name, f"one of {arguments}")
        return value
    json_kind = dict if is_dataclass(kind) else origin or kind
    if json_kind is float:
        if type(value) not in (int, float) or not abs(value) <= MAX_NUMBER:
            raise _another(value, name, _KINDS[float])
        return value
    if type(value) is not json_kind:
        raise _another(value, name, _KINDS[json_kind])
    if is_dataclass(kind):
        return _read_object(kind, value, name)
    if json_kind is list:
        return [_read(arguments[0], part, f"{name}[{i}]") for i, part in enumerate(value)]
    if json_kind is dict:
        return {key: _read(arguments[1], part, _join(name, key)) for key, part in value.items()}
    return value


def _read_object(kind: Any, value: Mapping[str, Any], name: str) -> Any:
    known, needed = _fields(kind)
    for field in needed:
        if field not in value:
            raise ValueError(f"entry {_join(name, field)!r} is missing")
    if unknown := value.keys() - known.keys():
        raise ValueError(f"unknown entries {sorted(_join(name, key) for key in unknown)}")
    parts = {key: _read(known[key], part, _join(name, key)) for key, part in value.items()}
    try:
        return kind(**parts)
    except ValueError as error:
        raise ValueError(f"entry {name!r}: {error}" if name else str(error)) from error


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the kinds of the fields of a dataclass, and the names of those without a default."""
    needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]
    return get_type_hints(kind), tuple(needed)


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _another(value: Any, name: str, expected: str) -> ValueError:
    what = f"entry {name!r}" if name else "the value"
    return ValueError(f"{what} is {reprlib.repr(value)} but expected {expected}")
