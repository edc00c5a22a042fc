"""The gradients of dense layers, dW = xᵀ dy and db = Σ dy, and Adam as soon as they are there.

A tile of dW takes all samples at once: a sum is finished in its register, in one fixed order,
on any thread. What changed against convolutions' gradients (gradients.py): no private sums,
so no reduction of 13 MB for every range of samples. x is laid out in tiles beforehand, dy is
packed in groups of panels by the kernel: both are then read as single runs of memory.

`dense_adam` applies a tile while the sums of the next one in its row are made: there is no dW in
memory, and W, m and v are read and written once. They are fetched while the tile is computed, so
that the arithmetic does not wait for them.
"""

from types import SimpleNamespace

from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.adam import Adam, Moments
from l2ae_kernels.cpu.microkernels.dense import blocks
from l2ae_kernels.cpu.microkernels.pack import panel
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import weight_tile

# `columns` outputs and `rows` inputs, whose x is at `tiles` as TILES made it; dy (samples, O), dW
# and db begin at the first of them; `bias` is 1 where db is wanted
DENSE_GRADIENT = Arguments("tiles rows dy O samples columns one bias dW db")
# the same with W, b and their moments m, v; `numbers` as in adam.py
DENSE_ADAM = Arguments(f"{' '.join(DENSE_GRADIENT.names)} W b W_m b_m W_v b_v numbers")
# source (rows, columns), with `stride`, into its place in `tiles` for `height` rows, from `first`
# on
TILES = Arguments("source rows columns stride tiles height first")
BLOCK = 256  # samples that are packed together; of more, sums wait in memory for the next block


def workspace_floats(vectors: Vectors) -> int:
    """Return the floats of the workspace of a thread."""
    return vectors.outputs * (BLOCK + vectors.rows)


def add_tiles(module: Module) -> None:
    """Emit tiles(arguments, m): x in the order in which the tiles of dW read it.

    Inputs are cut as there, and a tile has its inputs side by side, sample after sample.
    """
    with module.function("tiles", 2) as (e, address, _):
        a = TILES.read(e, address)
        source, tiles = e.pointer(a.source), e.pointer(a.tiles)
        for R, c in sample_tiles(e, a.columns):
            with e.each(0, a.rows) as n:
                to = c * a.height + (a.first + n) * R
                values = [e.load_one(source, n * a.stride + c + r) for r in range(R)]
                for r, value in enumerate(values):
                    e.store_one(value, tiles, to + r)


def add_dense_gradient(module: Module, adam: bool) -> None:
    """Emit dense_gradient(arguments, workspace), or dense_adam, for some outputs, `Vectors.outputs`
    at most.

    A bias is a weight whose input is always 1. With more samples than BLOCK, dW holds the sums of
    those that came before, also for Adam.
    """
    name = "dense_adam" if adam else "dense_gradient"
    with module.function(name, 2) as (e, address, workspace):
        a = (DENSE_ADAM if adam else DENSE_GRADIENT).read(e, address)
        a.packed, a.sums = workspace, workspace + 4 * module.vectors.outputs * BLOCK
        for n, samples in blocks(e, a.samples, BLOCK):
            for p in column_panels(e, a.columns, e.index(0)):
                source = a.dy + 4 * (n * a.O + p.column)
                target = a.packed + 4 * BLOCK * p.column
                e.call(panel(module, p.vectors, p.masked), source, a.O, samples, p.lanes, target)
            for R, i in sample_tiles(e, a.rows):
                x = (a.tiles + 4 * (i * a.samples + n * R), R)
                _row_of_tiles(module, e, a, R, x, n, samples, 4 * i * a.O, "W", adam)
            with e.when(a.bias > 0):
                x = (a.one, 0)
                _row_of_tiles(module, e, a, 1, x, n, samples, e.index(0), "b", adam)


def _row_of_tiles(
    module: Module, e: Emitter, a: SimpleNamespace, R: int, x: tuple[Integer, Integer | int],
    n: Integer, samples: Integer, at: Integer, name: str, adam: bool,
) -> None:  # fmt: skip
    """All tiles of R rows of dW, `at` bytes from its first; after the last samples, Adam."""
    known = getattr(a, f"d{name}") + at
    moments = [getattr(a, f"{name}{kind}") + at for kind in ("", "_m", "_v")] if adam else []
    more = a.samples - n > samples
    last = (n + samples).equals(a.samples)
    for p in column_panels(e, a.columns, e.index(0)):
        here = 4 * p.column
        begin = (*x, a.packed + BLOCK * here, samples, n.min(1), known + here, a.O)
        plain, with_adam = (
            weight_tile(module, R, p.vectors, p.masked, adam=kind) for kind in (False, adam)
        )
        if not adam:
            e.call(plain, *begin, known + here, a.O, p.lanes)
            continue
        with e.when(more):
            e.call(plain, *begin, known + here, a.O, p.lanes)
        with e.when(last):
            e.call(
                with_adam, *begin, a.sums + here, module.vectors.outputs, p.lanes,
                p.column.min(1), *(moment + here for moment in moments), a.numbers,
            )  # fmt: skip
    if adam:
        width = e.module.vectors.columns * e.lanes
        column = (a.columns - 1) // width * width  # of the last tile, that has none to its right
        with e.when(last):
            e.call(
                _adam_rows(module, R), a.sums + 4 * column, a.columns - column, a.O,
                *(moment + 4 * column for moment in moments), a.numbers,
            )  # fmt: skip


def _adam_rows(module: Module, R: int) -> str:
    """Emit Adam with R rows of gradients at `sums`, side by side with p, m and v, `row` apart."""
    name = f"adam_rows_{R}"
    if module.has(name):
        return name
    with module.function(name, 7, exported=False) as (e, sums, columns, row, p, m, v, numbers):
        sums, to = e.pointer(sums), Moments(*map(e.pointer, (p, m, v)))
        adam = Adam(e, e.pointer(numbers))
        for r in range(R):
            g = e.at(sums, r * module.vectors.outputs)
            here = Moments(*(e.at(q, r * row) for q in to))

            def vector(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
                adam.apply(e.load(g, i, mask), here, i, mask)  # noqa: B023
                return []

            e.over_vectors(columns, [], vector)
    return name
