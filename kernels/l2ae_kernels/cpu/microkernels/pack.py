"""Weights in the order in which the tiles read them.

A product walks down the rows of a panel of w, as wide as a tile. Packed, a panel is one run of
memory: every byte that is fetched is used, and the hardware sees what comes next. Columns that do
not exist are 0. The same step transposes W for the adjoints.
"""

from l2ae_kernels.cpu.codegen.emitter import F32, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels

# source[row, column] lies at row · source_row + column · source_column; packed has `height` rows,
# and the first of these goes to row `first`
PACK = Arguments("source source_row source_column rows columns packed height first")

PANELS = Arguments("source source_batch rows columns packed")
# target[sample, row, column] = source[sample, row, column]; 0 for the samples from `total` on
COPY = Arguments(
    "source source_sample source_row source_column source_batch "
    "target target_sample target_row target_column samples rows columns total"
)
AHEAD = 16  # rows that are fetched before their turn: they are far apart


def add_pack(module: Module) -> None:
    """Emit pack(arguments, m): `rows` rows of packed weights from a matrix, or its transpose."""
    with module.function("pack", 2) as (e, address, _):
        a = PACK.read(e, address)
        source, packed = e.pointer(a.source), e.pointer(a.packed)
        for panel in column_panels(e, a.columns, a.height):
            columns = (a.columns - panel.column).min(panel.width)
            with e.each(0, a.rows) as r:
                to = panel.start + (a.first + r) * panel.width
                for v in range(panel.vectors):
                    e.store(e.zero, packed, to + v * e.lanes)
                with e.each(0, columns) as c:
                    at = r * a.source_row + (panel.column + c) * a.source_column
                    e.store_one(e.load_one(source, at), packed, to + c)


def add_panels(module: Module) -> None:
    """Emit panels(arguments, m): a matrix (rows, columns), packed; whole vectors at a time."""
    with module.function("panels", 2) as (e, address, m):
        a = PANELS.read(e, address)
        source = e.pointer(a.source + m * a.source_batch * 4)
        packed = e.pointer(a.packed)
        for panel in column_panels(e, a.columns, a.rows):
            masks = e.masks(panel.vectors, panel.lanes, panel.masked)
            with e.each(0, a.rows) as r:
                for v, mask in enumerate(masks):
                    row = e.load(source, r * a.columns + panel.column + v * e.lanes, mask)
                    e.store(row, packed, panel.start + r * panel.width + v * e.lanes)


def add_copy(module: Module) -> None:
    """Emit copy(arguments, m): micro-batch m of images, or the transpose of a matrix.

    Images that do not exist are 0: what an earlier batch had there may be NaN, and 0 · NaN is NaN.
    """
    with module.function("copy", 2) as (e, address, m):
        a = COPY.read(e, address)
        source = e.pointer(a.source + m * a.source_batch * 4)
        target = e.pointer(a.target)
        samples = a.samples.min(a.total - m * a.samples)

        def to(n: Integer, r: Integer, c: Integer) -> Integer:
            at: Integer = n * a.target_sample + r * a.target_row + c * a.target_column
            return at

        with e.each(0, samples) as n, e.each(0, a.rows) as r, e.each(0, a.columns) as c:
            value = e.load_one(source, n * a.source_sample + r * a.source_row + c * a.source_column)
            e.store_one(value, target, to(n, r, c))
        with e.each(samples, a.samples) as n, e.each(0, a.rows) as r, e.each(0, a.columns) as c:
            e.store_one(F32(0.0), target, to(n, r, c))


def panel(module: Module, vectors: int, masked: bool) -> str:
    """Emit the packing of one panel: `rows` rows of V vectors of a matrix, `stride` apart."""
    name = f"panel_{vectors}{'_masked' * masked}"
    if module.has(name):
        return name
    with module.function(name, 5, exported=False) as (e, source, stride, rows, lanes, packed):
        source, packed = e.pointer(source), e.pointer(packed)
        masks = e.masks(vectors, lanes, masked)
        with e.each(0, rows) as r:
            for v in range(vectors):
                e.prefetch(source, (r + AHEAD) * stride + v * e.lanes)
            for v, mask in enumerate(masks):
                row = e.load(source, r * stride + v * e.lanes, mask)
                e.store(row, packed, (r * vectors + v) * e.lanes)
    return name


def transposed_panel(module: Module, vectors: int) -> str:
    """Emit the packing of one panel of a transpose: its columns are rows of the matrix.

    Squares of lanes × lanes are transposed in registers. Where only `lanes` columns exist in the
    last vector, the others repeat the last of them and are never read. Whole squares are written: a
    few rows more than `rows`.
    """
    name = f"transposed_panel_{vectors}"
    if module.has(name):
        return name
    with module.function(name, 5, exported=False) as (e, source, stride, rows, lanes, packed):
        source, packed = e.pointer(source), e.pointer(packed)
        last = lanes + ((vectors - 1) * e.lanes - 1)

        def square(r: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            for v in range(vectors):
                columns = [last.min(v * e.lanes + c) for c in range(e.lanes)]
                square = [e.load(source, k * stride + r, mask) for k in columns]
                for c, row in enumerate(e.transpose(square)):
                    e.store(row, packed, ((r + c) * vectors + v) * e.lanes)
            return []

        e.over_vectors(rows, [], square)
    return name


def packed_size(rows: int, columns: int, lanes: int) -> int:
    """Floats that `rows` × `columns` weights take when packed."""
    return rows * -(-columns // lanes) * lanes
