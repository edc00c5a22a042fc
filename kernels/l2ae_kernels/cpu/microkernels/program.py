"""Rows of arguments, calls, and programs: many calls at the price of one.

A kernel gets the address of one row of named integers. Addresses, strides and sizes are all i64,
strides count floats. A call is a kernel and its row, which can be kept and used again; a program is
a table of calls that machine code runs through.

A training step makes about forty kernel calls a micro-batch. Made from Python they would cost two
microseconds each and hold the GIL in between; in a program a thread makes them all in one call.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import I64, Integer, Value

FLOAT = 4  # bytes


def address(array: Array) -> int:
    """Return where an array begins."""
    return int(array.ctypes.data)


class Arguments:
    """The names of a kernel's numbers, in their order in memory."""

    def __init__(self, names: str) -> None:
        self.names = names.split()

    def row(self, **numbers: int) -> Array:
        """Return the row int64; every name needs a number and no other may come."""
        if numbers.keys() != set(self.names):
            odd = sorted(numbers.keys() ^ set(self.names))
            raise ValueError(f"Arguments: {odd} are missing or unknown")
        return np.array([numbers[name] for name in self.names], np.int64)

    def read(self, e: Emitter, address: Value) -> SimpleNamespace:
        """Emit the loads of a row; its numbers are attributes."""
        row, b = e.pointer(address), e.b
        numbers = {
            name: Integer(b, b.load(b.gep(row, [I64(i)], source_etype=I64), typ=I64))
            for i, name in enumerate(self.names)
        }
        return SimpleNamespace(**numbers)


class Call(NamedTuple):
    """A kernel and its arguments."""

    kernel: str
    row: Array  # int64; changing it changes the call


def add_run(module: Module) -> None:
    """Emit run(table, count, first, last): for each m in first … last − 1, all calls, in order.

    And run_timed, the same with `ticks`, i64 of each call, to which what it took is added, and
    now(ticks), which sets it to the time. How long a tick is depends on the processor.
    """
    kernel = ir.FunctionType(ir.VoidType(), [I64, I64]).as_pointer()
    for timed in (False, True):
        with module.function(f"run{'_timed' * timed}", 4 + timed) as (e, *numbers):
            table, count, first, last, *ticks = numbers
            rows = e.pointer(table)
            with e.each(first, last) as m, e.each(0, count) as i:
                function, arguments = (
                    e.b.load(e.b.gep(rows, [(i * 2 + k).value], source_etype=I64), typ=I64)
                    for k in (0, 1)
                )
                before = _now(e) if timed else None
                e.b.call(e.b.inttoptr(function, kernel), [arguments, m.value])
                if timed:
                    to = e.b.gep(e.pointer(ticks[0]), [i.value], source_etype=I64)
                    e.b.store(e.b.add(e.b.load(to, typ=I64), e.b.sub(_now(e), before)), to)
    with module.function("now", 1) as (e, ticks):
        e.b.store(_now(e), e.pointer(ticks))


def _now(e: Emitter) -> Value:
    """The time in ticks: those of rdtsc, or of the virtual counter of AArch64."""
    steady = llvm.get_default_triple().startswith(("aarch64", "arm64"))
    name = f"llvm.read{'steady' if steady else 'cycle'}counter"
    module = e.module.ir
    known = module.globals.get(name) or ir.Function(module, ir.FunctionType(I64, []), name)
    return e.b.call(known, [])


class Compiler(Protocol):
    """What has kernels by name, and compiles them when they are needed: see library.py."""

    def load(self, kernels: Iterable[str]) -> None:
        """Compile these kernels."""

    def address(self, kernel: str) -> int:
        """Return where a kernel begins."""

    def function(self, name: str, arguments: int) -> Any:
        """Return the function `name`, to be called from Python."""


class Program:
    """Calls in their order; their rows may be changed between two runs."""

    def __init__(self, library: Compiler, calls: Iterable[Call]) -> None:
        self.calls = list(calls)
        library.load(["run", *(call.kernel for call in self.calls)])
        pairs = [(library.address(c.kernel), c.row.ctypes.data) for c in self.calls]
        self._table = np.array(pairs, np.int64).reshape(-1, 2)
        self._run: Any = library.function("run", 4)
        self._run_timed: Any = library.function("run_timed", 5)

    def run(self, first: int, last: int) -> None:
        """Make all calls for the micro-batches first … last − 1."""
        self._run(self._table.ctypes.data, len(self._table), first, last)

    def run_calls(self, first: int, last: int, m: int = 0) -> None:
        """Make the calls first … last − 1 alone, for one m: a micro-batch, or what kernels take."""
        self._run(self._table[first:].ctypes.data, last - first, m, m + 1)

    def run_timed(self, ticks: Array, first: int, last: int) -> None:
        """Do as `run`, and add the ticks of each call to `ticks` int64."""
        self._run_timed(self._table.ctypes.data, len(self._table), first, last, address(ticks))

    def run_calls_timed(self, ticks: Array, first: int, last: int, m: int = 0) -> None:
        """Do as `run_calls`, and add the ticks of these calls to theirs."""
        table = self._table[first:].ctypes.data
        self._run_timed(table, last - first, m, m + 1, address(ticks[first:]))

    def rows(self, kernel: str) -> list[Any]:
        """Return the rows of all calls of a kernel, to change them."""
        return [c.row for c in self.calls if c.kernel == kernel]
