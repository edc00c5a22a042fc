"""The transform-domain products of Winograd's algorithm: small, many, nothing to finish.

They differ from `dense` and `gradient` in what they leave out: a tile takes seven numbers, not
fourteen, and has one loop. With 32 to 64 steps a tile, those calls took a fifth of the time. What
comes from the third-level cache is prefetched. All panels are equally wide in memory, so that
the transforms reach every point with the same strides.

A product reads x once for every panel, from the first-level cache, and w once; its adjoint reads dy
once for every few inputs, from the first-level cache, x once, and reads and writes dw once.
"""

from collections.abc import Iterable, Iterator

from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels, sample_tiles
from l2ae_kernels.cpu.microkernels.tiles import LINE

# y (rows, outputs) = x (rows, inputs) w; w is packed in panels that are `w_panel` floats apart
MULTIPLY = Arguments("x x_row inputs w w_panel y y_row rows outputs")
# dw (inputs, outputs), packed like w, += xᵀ dy for x (rows, inputs) and dy (rows, outputs). At
# micro-batch `first` dw is written, whatever it holds; −1 stands for none.
MULTIPLY_ADJOINT = Arguments("x x_row inputs dy dy_row dw w_panel rows outputs first")


def add_winograd_products(module: Module) -> None:
    """Emit multiply(arguments, m) and multiply_adjoint(arguments, m); inputs of whole vectors."""
    _add_multiply(module)
    _add_multiply_adjoint(module)


def _add_multiply(module: Module) -> None:
    """A panel of w stays in the first-level cache for all rows."""
    with module.function("multiply", 2) as (e, address, _):
        a = MULTIPLY.read(e, address)
        for panel in column_panels(e, a.outputs, e.index(0)):
            w = a.w + panel.column // panel_width(module) * a.w_panel * 4
            for P, row in sample_tiles(e, a.rows):
                y = a.y + 4 * (row * a.y_row + panel.column)
                tile = _product_tile(module, P, panel.vectors)
                x = a.x + 4 * row * a.x_row
                ahead = (w + 4 * a.w_panel).unless(a.rows > row + P, w)
                e.call(tile, x, a.x_row, a.inputs, w, y, a.y_row, ahead)


def _add_multiply_adjoint(module: Module) -> None:
    """All of dy stays in the first-level cache, and a few columns of x for all of dw."""
    with module.function("multiply_adjoint", 2) as (e, address, m):
        a = MULTIPLY_ADJOINT.read(e, address)
        width, seen = panel_width(module), (m - a.first).min(1)
        for R, c in sample_tiles(e, a.inputs):
            tile = _gradient_tile(module, R, width // e.lanes)
            with e.each(0, a.outputs // width) as panel:
                dw = a.dw + 4 * (panel * a.w_panel + c * width)
                e.call(
                    tile, a.x + 4 * c, a.x_row, a.rows, a.dy + 4 * panel * width, a.dy_row, dw, seen
                )


def panel_width(module: Module) -> int:
    """Columns of a panel."""
    return module.vectors.columns * module.vectors.lanes


def _product_tile(module: Module, rows: int, vectors: int) -> str:
    """Emit y = x w for `rows` rows of x and `vectors` · lanes columns of a panel of w.

    Meanwhile it prefetches the next panel, which lies `ahead`: weights come from the third level.
    """
    name = f"multiply_{rows}_{vectors}"
    if module.has(name):
        return name
    with module.function(name, 7, exported=False) as (e, x, x_row, inputs, w, y, y_row, ahead):
        (w, y, ahead), width = map(e.pointer, (w, y, ahead)), panel_width(module)
        x_rows = [e.at(e.pointer(x), p * x_row) for p in range(rows)]

        def step(k: Integer, sums: list[Value]) -> list[Value]:
            for line in range(0, vectors * e.lanes, LINE):
                e.prefetch(ahead, k * width + line)
            w_k = [e.load(w, k * width + v * e.lanes) for v in range(vectors)]
            broadcast = (e.broadcast(row, k) for row in x_rows)
            return [
                e.fma(a, w_v, s) for (a, w_v), s in zip(_pairs(broadcast, w_k), sums, strict=True)
            ]

        sums = iter(e.loop(0, inputs, [e.zero] * (rows * vectors), step))
        for p in range(rows):
            for v in range(vectors):
                e.store(next(sums), y, p * y_row + v * e.lanes)
    return name


def _gradient_tile(module: Module, inputs: int, vectors: int) -> str:
    """Emit dw += xᵀ dy for `inputs` neighbouring columns of x and a panel's columns of dy.

    The sums start at 0, and dw, which comes from the third level, is added at last, if it was
    `seen` (1) before.
    """
    name = f"multiply_adjoint_{inputs}_{vectors}"
    if module.has(name):
        return name
    with module.function(name, 7, exported=False) as (e, x, x_row, rows, dy, dy_row, dw, seen):
        x, dy, dw = map(e.pointer, (x, dy, dw))
        known = e.mask_first(seen * e.lanes)

        def step(k: Integer, sums: list[Value]) -> list[Value]:
            x_k, dy_k = e.at(x, k * x_row), e.at(dy, k * dy_row)
            columns = [e.load(dy_k, v * e.lanes) for v in range(vectors)]
            broadcast = (e.broadcast(x_k, r) for r in range(inputs))
            return [
                e.fma(a, d, s) for (a, d), s in zip(_pairs(broadcast, columns), sums, strict=True)
            ]

        offsets = [i * e.lanes for i in range(inputs * vectors)]
        for line in range(0, inputs * vectors * e.lanes, LINE):
            e.prefetch(dw, line, write=True)
        sums = e.loop(0, rows, [e.zero] * len(offsets), step)
        for s, offset in zip(sums, offsets, strict=True):
            e.store(e.b.fadd(e.load(dw, offset, known), s), dw, offset)
    return name


def _pairs(broadcast: Iterable[Value], columns: list[Value]) -> Iterator[tuple[Value, Value]]:
    """All pairs, in the order of a tile's sums; a value is broadcast where it is first needed."""
    return ((a, column) for a in broadcast for column in columns)
