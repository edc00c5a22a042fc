"""Dense layers over register tiles: y = x W and dx = dy Wᵀ, weights packed on the way.

What changed against packing all weights once a step: a group of panels of weights, each as wide as
a tile and a block of rows long, is packed by the kernel itself, on its stack, right before all
samples use it. It never leaves the caches, so that packing reads W once and writes nothing to
memory; at 128 samples it is a few hundredths of the arithmetic. The transpose is made in registers.

A panel stays in the first-level cache for all samples; a group is read from W in rows as
long as some cache lines.
"""

from collections.abc import Iterator
from types import SimpleNamespace

from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer
from l2ae_kernels.cpu.microkernels.pack import panel, transposed_panel
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import Panel, column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import product_tile

# x (samples, I), y and gate (samples, O); w is (I, O), or with `transposed` (O, I); b (O,)
DENSE = Arguments("x x_sample x_batch I w transposed b one slope gate y y_sample y_batch samples O")
GROUP = 64  # columns that are packed together, at most: whole panels


def blocks(e: Emitter, count: Integer, most: int) -> Iterator[tuple[Integer, Integer]]:
    """For code to fill, which runs for every block of rows: its first row, and how many."""
    size = (count + (most - 1)) // most
    size = (count + (size - 1)) // size.max(1)
    with e.each(0, count, size) as first:
        yield first, size.min(count - first)


def add_dense(module: Module, gated: bool) -> None:
    """Emit dense(arguments, m), or dense_gated: y = finish(x w + b), see tiles.py.

    Reads W once, and x once for every panel, from the second-level cache.
    """
    with module.function(f"dense{'_gated' * gated}", 2) as (e, address, m):
        a = DENSE.read(e, address)
        a.x, a.y = a.x + m * a.x_batch * 4, a.y + m * a.y_batch * 4
        width = module.vectors.columns * e.lanes
        group = GROUP // width * width
        packed = e.workspace(group * _height(e))
        for i, inputs in blocks(e, a.I, module.vectors.block):
            with e.each(0, a.O, group) as column:
                columns = (a.O - column).min(group)
                for p in column_panels(e, columns, e.index(0)):
                    _pack(module, e, a, p, column + p.column, i, inputs, packed)
                for p in column_panels(e, columns, e.index(0)):
                    for P, s in sample_tiles(e, a.samples):
                        _product(module, e, a, p, column + p.column, i, inputs, packed, P, s, gated)


def _height(e: Emitter) -> int:
    """Rows of a packed panel with its space; a transpose writes whole squares."""
    return e.module.vectors.block + e.lanes


def _pack(
    module: Module, e: Emitter, a: SimpleNamespace, p: Panel, column: Integer, i: Integer,
    inputs: Integer, packed: Integer,
) -> None:  # fmt: skip
    """Pack rows i … i + inputs − 1 of a panel of w, or of its transpose."""
    target = packed + 4 * p.column * _height(e)
    with e.when(a.transposed.equals(0)):
        source = a.w + 4 * (i * a.O + column)
        e.call(panel(module, p.vectors, p.masked), source, a.O, inputs, p.lanes, target)
    with e.when(a.transposed.equals(1)):
        source = a.w + 4 * (column * a.I + i)
        e.call(transposed_panel(module, p.vectors), source, a.I, inputs, p.lanes, target)


def _product(
    module: Module, e: Emitter, a: SimpleNamespace, p: Panel, column: Integer, i: Integer,
    inputs: Integer, packed: Integer, P: int, s: Integer, gated: bool,
) -> None:  # fmt: skip
    """Add a block of inputs to a tile of y; the first starts at b, the last finishes."""
    at = 4 * (s * a.y_sample + column)
    x, w = a.x + 4 * (s * a.x_sample + i), packed + 4 * p.column * _height(e)
    begin = (x, a.x_sample, 1, 0, inputs, w, 0)
    end = (a.y + at, a.y_sample, a.gate + at)
    partial = product_tile(module, P, p.vectors, p.masked, False, far=True)
    final = product_tile(module, P, p.vectors, p.masked, gated, far=True)
    for first in (True, False):
        start = (a.b + 4 * column, 0) if first else (a.y + at, a.y_sample)
        with e.when(i.equals(0) if first else i > 0):
            with e.when(a.I - i > inputs):
                e.call(partial, *begin, *start, *end, a.one, p.lanes)
            with e.when((i + inputs).equals(a.I)):
                e.call(final, *begin, *start, *end, a.slope, p.lanes)
