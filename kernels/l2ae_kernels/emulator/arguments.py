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


GUARD = 16 * 1024  # bytes on either side of an array; a block of 1024 threads writes 8 bytes each
ALIGNMENT = 128  # a copy begins as far from a border of so many bytes as its array does
# Signalling NaN, from which the number of the block is subtracted: what is computed from one is a
# quiet NaN, and what is copied is that of another block, so that the guard never looks untouched.
SIGNALLING = {4: 0xFFBFFFFF, 8: 0xFFF7FFFFFFFFFFFF}


def _allocation(array: np.ndarray[Any, Any]) -> int:
    """Return where the memory begins that an array is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return address(array)


@dataclass(frozen=True, eq=False)
class _Block:
    """A copy of all that lies in [start, start + size), in the middle of guard bytes."""

    start: int  # address of the first array
    size: int  # bytes of all arrays
    memory: np.ndarray[Any, np.dtype[np.uint8]]
    begin: int  # of the copy, in `memory`
    guard: np.ndarray[Any, np.dtype[np.uint8]]  # what has to lie before and behind the copy
    members: Sequence[tuple[str, np.ndarray[Any, Any]]]  # by name of the parameter

    @classmethod
    def of(
        cls,
        members: Sequence[tuple[str, np.ndarray[Any, Any]]],
        number: int,
        guarded: bool,
        as_allocated: bool,
    ) -> "_Block":
        """Return the block of arrays that overlap, or are one."""
        start = min(address(a) for _, a in members)
        size = max(address(a) + a.nbytes for _, a in members) - start
        double = members[0][1].dtype in (np.float64, np.complex128)
        word = np.array([SIGNALLING[8 if double else 4] - number], np.uint64 if double else "u4")
        guard = np.repeat(word, GUARD // word.itemsize if guarded else 0).view(np.uint8)
        memory = np.empty(guard.size + size + guard.size + ALIGNMENT * guarded, np.uint8)
        begin = guard.size
        if guarded:
            border = _allocation(members[0][1]) if as_allocated else 0
            begin += (start - border - memory.ctypes.data - begin) % ALIGNMENT
        block = cls(start, size, memory, begin, guard, members)
        block.before()[:] = block.behind()[:] = guard
        for _, array in members:
            block.part(array)[:] = array.reshape(-1).view(np.uint8)
        return block

    def before(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the guard bytes in front of the copy."""
        return self.memory[self.begin - self.guard.size : self.begin]

    def behind(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the guard bytes after it."""
        end = self.begin + self.size
        return self.memory[end : end + self.guard.size]

    def part(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the bytes of the copy of one of the arrays."""
        first = self.begin + address(array) - self.start
        return self.memory[first : first + array.nbytes]

    def overrun(self) -> str:
        """Say which element outside of an array was written, or ""."""
        behind = np.flatnonzero(self.behind() != self.guard)
        before = np.flatnonzero(self.before() != self.guard)
        if behind.size:
            edge = self.start + self.size
            at = edge + int(behind[0])
        elif before.size:
            edge = self.start
            at = edge - self.guard.size + int(before[-1])
        else:
            return ""
        name, array = next(
            (n, a) for n, a in self.members if edge in (address(a), address(a) + a.nbytes)
        )
        index = (at - address(array)) // array.itemsize
        return (
            f"it wrote to {name}[{index}], but {name} has {array.size} elements: does every thread "
            "ask whether its index lies inside?"
        )


class Copies:
    """Every array of a launch in a memory block of its own, where what is beside it is seen.

    AddressSanitizer sees it by itself, `overrun` with guard bytes. Arrays that overlap share a
    block: the kernel sees one memory, as on a device. `as_allocated`: what an array is a view of
    begins at a border of ALIGNMENT bytes, as what a device allocates does.
    """

    def __init__(
        self,
        arrays: Sequence[tuple[str, np.ndarray[Any, Any]]],
        *,
        guarded: bool,
        as_allocated: bool = False,
    ) -> None:
        groups: list[list[tuple[str, np.ndarray[Any, Any]]]] = []
        end = -1
        for name, array in sorted(arrays, key=lambda pair: address(pair[1])):
            start = address(array)
            if start < end:
                groups[-1].append((name, array))
            else:
                groups.append([(name, array)])
            end = max(end, start + array.nbytes)
        self._blocks = [
            _Block.of(members, i, guarded, as_allocated) for i, members in enumerate(groups)
        ]

    def address(self, array: np.ndarray[Any, Any]) -> int:
        """Return where the copy of an array begins."""
        for block in self._blocks:
            if any(array is member for _, member in block.members):
                return int(block.memory.ctypes.data) + block.begin + address(array) - block.start
        return 0

    def back(self) -> None:
        """Copy what the kernel wrote to the arrays."""
        for block in self._blocks:
            for _, array in block.members:
                if array.flags.writeable:
                    array.reshape(-1).view(np.uint8)[:] = block.part(array)

    def overrun(self) -> str:
        """Say which element outside of an array was written, or ""."""
        return next((said for block in self._blocks if (said := block.overrun())), "")
