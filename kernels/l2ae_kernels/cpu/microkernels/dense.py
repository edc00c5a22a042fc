"""Dense layers over register tiles: y = x W and dx = dy Wᵀ, weights packed on the way.

What changed against packing all weights once a step: a group of panels of weights, each as wide as
a tile and a block of rows long, is packed by the kernel itself, on its stack, right before all
samples use it. It never leaves the caches, so that packing reads W once and writes nothing to
memory; at 128 samples it is a few hundredths of the arithmetic. The transpose is made in registers.

A panel stays in the first-level cache for all samples; a group is read from W in rows as
long as some cache lines.

With more outputs than inputs all blocks of inputs come before the next group of outputs: this part
of y waits in the second-level cache for its next block, not all of y in the third, and x is read
again for each group. Else all groups come before the next block, and it is x of which a part stays.
A sum takes its products in the same order.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import NamedTuple

from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer
from l2ae_kernels.cpu.microkernels.pack import panel, transposed_panel
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import Panel, column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import product_tile

# x (samples, I), y and gate (samples, O); w is (I, O), or with `transposed` (O, I); b (O,). The
# workspace is for AMX: see amx_dense.py.
DENSE = Arguments(
    "x x_sample x_batch I w transposed b one slope gate y y_sample y_batch samples O workspace"
)
GROUP = 64  # columns that are packed together, at most: whole panels


def blocks(e: Emitter, count: Integer, most: int) -> Iterator[tuple[Integer, Integer]]:
    """For code to fill, which runs for every block of rows: its first row, and how many."""
    size = (count + (most - 1)) // most
    size = (count + (size - 1)) // size.max(1)
    with e.each(0, count, size) as first:
        yield first, size.min(count - first)


def add_dense(module: Module, gated: bool) -> None:
    """Emit dense(arguments, m), or dense_gated: y = finish(x w + b), see tiles.py.

    Reads W once, x once for every panel and y once for every block of inputs, from the
    second-level cache.
    """
    with module.function(f"dense{'_gated' * gated}", 2) as (e, address, m):
        a = DENSE.read(e, address)
        a.x, a.y = a.x + m * a.x_batch * 4, a.y + m * a.y_batch * 4
        width = module.vectors.columns * e.lanes
        group = GROUP // width * width
        packed = e.workspace(group * _height(e))
        wide = a.O.unless(a.O > a.I, group)  # outputs that all inputs pass before the next ones
        with e.each(0, a.O, wide) as begin:
            end = (begin + wide).min(a.O)
            for i, inputs in blocks(e, a.I, module.vectors.block):
                with e.each(begin, end, group) as column:
                    b = Block(i, inputs, column, (a.O - column).min(group), packed)
                    for p in column_panels(e, b.columns, e.index(0)):
                        _pack(module, e, a, p, b)
                    for p in column_panels(e, b.columns, e.index(0)):
                        for P, s in sample_tiles(e, a.samples):
                            _product(module, e, a, p, b, P, s, gated)


class Block(NamedTuple):
    """A piece of w: rows i … i + inputs − 1, and some columns; where it lies packed."""

    i: Integer
    inputs: Integer
    column: Integer
    columns: Integer
    packed: Integer


def _height(e: Emitter) -> int:
    """Rows of a packed panel with its space; a transpose writes whole squares."""
    return e.module.vectors.block + e.lanes


def _pack(module: Module, e: Emitter, a: SimpleNamespace, p: Panel, b: Block) -> None:
    """Pack the rows of a block in a panel of w, or of its transpose."""
    column, target = b.column + p.column, b.packed + 4 * p.column * _height(e)
    with e.when(a.transposed.equals(0)):
        source = a.w + 4 * (b.i * a.O + column)
        e.call(panel(module, p.vectors, p.masked), source, a.O, b.inputs, p.lanes, target)
    with e.when(a.transposed.equals(1)):
        source = a.w + 4 * (column * a.I + b.i)
        e.call(transposed_panel(module, p.vectors), source, a.I, b.inputs, p.lanes, target)


def _product(
    module: Module, e: Emitter, a: SimpleNamespace, p: Panel, b: Block, P: int, s: Integer,
    gated: bool,
) -> None:  # fmt: skip
    """Add a block of inputs to a tile of y; the first starts at the bias, the last finishes."""
    column = b.column + p.column
    at = 4 * (s * a.y_sample + column)
    x, w = a.x + 4 * (s * a.x_sample + b.i), b.packed + 4 * p.column * _height(e)
    begin = (x, a.x_sample, 1, 0, b.inputs, w, 0)
    end = (a.y + at, a.y_sample, a.gate + at)
    partial = product_tile(module, P, p.vectors, p.masked, False, far=True)
    final = product_tile(module, P, p.vectors, p.masked, gated, far=True)
    for first in (True, False):
        start = (a.b + 4 * column, 0) if first else (a.y + at, a.y_sample)
        with e.when(b.i.equals(0) if first else b.i > 0):
            with e.when(a.I - b.i > b.inputs):
                e.call(partial, *begin, *start, *end, a.one, p.lanes)
            with e.when((b.i + b.inputs).equals(a.I)):
                e.call(final, *begin, *start, *end, a.slope, p.lanes)
