"""Arguments of a launch: from NumPy arrays and scalars to the addresses that a kernel gets.

A GPU takes whatever bits it is given. Here every argument is checked against the kernel's own
parameter: number, kind and width, alignment of vector types, arrays that must not be written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TEXT = re.compile(r"([*&]?)([fiubsv])(\d+):(\d+)")
_KINDS = {"f": "float", "i": "int", "u": "unsigned int", "b": "bool", "s": "struct", "v": "void"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: a number, or a pointer to numbers, maybe in vectors."""

    name: str
    pointer: bool
    constant: bool  # the pointer's target
    kind: str  # f i u b, s for a structure, v for void
    bytes: int
    alignment: int

    @classmethod
    def read(cls, description: str, names: Sequence[str]) -> "list[Parameter]":
        """Read what `describe_<kernel>` says (runtime/export.hpp)."""
        return [
            cls(name, mark != "", mark == "&", kind, int(size), int(alignment))
            for name, (mark, kind, size, alignment) in zip(
                names, _TEXT.findall(description), strict=True
            )
        ]

    def __str__(self) -> str:
        bits = "" if self.kind in "bv" else f" of {8 * self.bytes} bits"
        return f"{'pointer to ' if self.pointer else ''}{_KINDS[self.kind]}{bits}"

    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether elements of this type are what the kernel sees."""
        if self.kind == "v":
            return True
        if self.kind == "s":
            return self.pointer or dtype.itemsize == self.bytes
        same = {"i": "iu", "u": "iub", "b": "b", "f": "f"}[self.kind]
        return dtype.kind in same and dtype.itemsize == self.bytes


def check(kernel: str, parameters: Sequence[Parameter], arguments: Sequence[Any]) -> None:
    """ValueError with the names of kernel and argument where they do not fit."""
    if len(arguments) != len(parameters):
        names = ", ".join(p.name for p in parameters)
        raise ValueError(
            f"kernel {kernel!r}: it takes {len(parameters)} arguments ({names}) "
            f"but got {len(arguments)}"
        )
    for position, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        problem = _problem(parameter, argument)
        if problem:
            raise ValueError(
                f"kernel {kernel!r}, argument {position} {parameter.name!r}: {problem}"
            )


def _problem(parameter: Parameter, argument: Any) -> str:
    if parameter.pointer:
        return _array_problem(parameter, argument)
    if not isinstance(argument, np.generic):
        got = (
            f"{type(argument).__name__} {argument!r}" if np.isscalar(argument) else _text(argument)
        )
        return f"expected a NumPy scalar for {parameter} but got {got}"
    if not parameter.takes(argument.dtype):
        return f"expected {parameter} but got {argument.dtype}"
    return ""


def _array_problem(parameter: Parameter, argument: Any) -> str:
    if argument is None:
        return ""  # a null pointer
    if not isinstance(argument, np.ndarray):
        return f"expected an array for {parameter} but got {_text(argument)}"
    if not argument.flags.c_contiguous:
        return f"expected a C-contiguous array but got strides {argument.strides}"
    if not parameter.takes(argument.dtype):
        return f"expected {parameter} but got an array of {argument.dtype}"
    if argument.ctypes.data % parameter.alignment:
        return f"expected an address that is a multiple of {parameter.alignment}"
    if not parameter.constant and not argument.flags.writeable:
        return "the kernel may write it, but the array is read-only"
    return ""


def _text(argument: Any) -> str:
    return type(argument).__name__


def address(argument: Any) -> int:
    """Return where the data of an array begin; 0 for None and for an empty array."""
    return 0 if argument is None or argument.size == 0 else int(argument.ctypes.data)


class Copies:
    """Every array in a heap block of its own, where AddressSanitizer sees what is beside it.

    Arrays that overlap share a block: the kernel sees one memory, as on a device.
    """

    def __init__(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        self._blocks: list[tuple[int, np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]] = []
        end = -1
        for array in sorted(arrays, key=address):
            start = address(array)
            if start < end:
                self._blocks[-1][2].append(array)
            else:
                self._blocks.append((start, np.empty(0, np.uint8), [array]))
            end = max(end, start + array.nbytes)
        self._blocks = [self._filled(start, members) for start, _, members in self._blocks]

    @staticmethod
    def _filled(
        start: int, members: list[np.ndarray[Any, Any]]
    ) -> tuple[int, np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
        size = max(address(a) + a.nbytes for a in members) - start
        block = np.empty(size, np.uint8)
        for array in members:
            offset = address(array) - start
            block[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        return start, block, members

    def address(self, array: np.ndarray[Any, Any]) -> int:
        """Return where the copy of an array begins."""
        for start, block, members in self._blocks:
            if any(array is member for member in members):
                return int(block.ctypes.data) + address(array) - start
        return 0

    def back(self) -> None:
        """Copy what the kernel wrote to the arrays."""
        for start, block, members in self._blocks:
            for array in members:
                if array.flags.writeable:
                    offset = address(array) - start
                    target = array.reshape(-1).view(np.uint8)
                    target[:] = block[offset : offset + array.nbytes]
