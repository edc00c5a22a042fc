"""What the kernels of batch norm have in common: where a micro-batch lies, and sums over its rows.

`a` are the arguments of a kernel, see batch_norm.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import F64, Emitter
from l2ae_kernels.cpu.codegen.integer import Integer, Offset, Value
from l2ae_kernels.cpu.microkernels.program import FLOAT
from l2ae_kernels.cpu.microkernels.split import column_panels

CHUNK = 64  # rows that are summed up before they are added to a sum of many rows, which rounds less


@dataclass(frozen=True)
class Channels:
    """Neighbouring channels, a few vectors side by side."""

    e: Emitter
    at: list[Integer]  # the first channel of each vector
    masks: list[Value | None]

    @property
    def zeros(self) -> list[Value]:
        """A vector of zeros for each vector."""
        return [self.e.zero] * len(self.at)

    def load(self, pointer: Value, row: Offset = 0) -> list[Value]:
        """Load these channels of the row that begins at float `row`."""
        return [
            self.e.load(pointer, at + row, mask)
            for at, mask in zip(self.at, self.masks, strict=True)
        ]

    def store(self, values: list[Value], pointer: Value, row: Offset = 0) -> None:
        """Store them."""
        for value, at, mask in zip(values, self.at, self.masks, strict=True):
            self.e.store(value, pointer, at + row, mask)

    def clear(self, y: Value, first: Integer, a: SimpleNamespace) -> None:
        """Let the rows from `first` on, to the end of a micro-batch, be 0."""

        def row(r: Integer, _: list[Value]) -> list[Value]:
            self.store(self.zeros, y, r * a.C)
            return []

        self.e.loop(first, a.samples * a.rows, [], row)


def over_channels(e: Emitter, C: Integer, body: Callable[[Channels], None]) -> None:
    """Emit `body` for all C channels, as many vectors at a time as a tile has."""
    for panel in column_panels(e, C, e.index(0)):
        at = [panel.column + v * e.lanes for v in range(panel.vectors)]
        body(Channels(e, at, e.masks(panel.vectors, panel.lanes, panel.masked)))


def rows_of(a: SimpleNamespace, m: Integer) -> Integer:
    """Rows of micro-batch m: fewer than of others, where the batch ends within it."""
    rows: Integer = a.samples.min(a.total - m * a.samples) * a.rows
    return rows


def kept_at(e: Emitter, a: SimpleNamespace, address: Integer, m: Integer) -> Value:
    """Where micro-batch m begins in what is kept of the batch."""
    return e.pointer(address + m * a.samples * a.rows * a.C * FLOAT)


def own_at(e: Emitter, a: SimpleNamespace, address: Integer, m: Integer) -> Value:
    """Where micro-batch m begins in a buffer of the pass."""
    return e.pointer(address + m * a.batch * FLOAT)


def part_at(e: Emitter, a: SimpleNamespace, m: Integer) -> Value:
    """Where the two sums of micro-batch m begin."""
    return e.pointer(a.parts + m * 2 * a.C * FLOAT)


def sum_over_rows(
    e: Emitter, rows: Integer, zeros: list[Value],
    add: Callable[[Integer, list[Value]], list[Value]],
) -> list[Value]:  # fmt: skip
    """Emit sums over the rows, CHUNK at a time: add(r, sums) adds those of row r."""

    def chunk(first: Integer, totals: list[Value]) -> list[Value]:
        sums = e.loop(first, (first + CHUNK).min(rows), zeros, add)
        return [e.b.fadd(total, s) for total, s in zip(totals, sums, strict=True)]

    return e.loop(0, rows, zeros, chunk, step=CHUNK)


def sum_of_parts(
    e: Emitter, a: SimpleNamespace, sums: int, add: Callable[[Integer, list[Value]], list[Value]]
) -> list[Value]:
    """Emit sums in float64 over the parts of all micro-batches, in order."""
    zero = ir.Constant(ir.VectorType(F64, e.lanes), [0.0] * e.lanes)
    return e.loop(0, (a.total + a.samples - 1) // a.samples, [zero] * sums, add)


def wide(e: Emitter, v: Value) -> Value:
    """A vector in float64."""
    return e.b.fpext(v, ir.VectorType(F64, e.lanes))


def float64(e: Emitter, n: Integer) -> Value:
    """A vector of which every lane is n."""
    return e.splat(e.b.sitofp(n.value, F64))
