"""Both factors of a product in tiles of AMX, split into parts of bfloat16: see codegen/amx.py.

    A (rows, k)      a tile has 16 rows and 32 of k
    B (k, columns)   a tile has 32 of k, two a row, and 16 columns

Tiles of an operand lie in this order, each 1024 bytes in one piece:

    [16 rows or columns][step of 32 in k][part]

What lies beyond the end of k is 0, so that it adds nothing; rows and columns beyond the end are 0
or anything: what comes of them is not looked at.
"""

from l2ae_kernels.cpu.codegen.amx import SIDE, STEP, TILE, split
from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Offset, Value
from l2ae_kernels.cpu.microkernels.dense_gradients import TILES
from l2ae_kernels.cpu.microkernels.program import FLOAT


def operand_bytes(rows: int, k: int, parts: int) -> int:
    """Return the bytes of an operand of so many rows (or columns)."""
    return -(-rows // SIDE) * -(-k // STEP) * parts * TILE


def add_amx_tiles(module: Module) -> None:
    """Emit amx_tiles(arguments, m): A = xᵀ for dW = xᵀ dy, in place of `tiles`, of some samples.

    `first` is a multiple of 32.
    """
    with module.function("amx_tiles", 2) as (e, address, _):
        a = TILES.read(e, address)
        at = a.tiles + a.first // STEP * (module.vectors.parts * TILE)
        steps = (a.height + (STEP - 1)) // STEP
        columns = columns_operand(module, transposed=True)
        e.call(columns, a.source, a.stride, a.rows, a.columns, at, steps)


def rows_operand(module: Module, *, transposed: bool) -> str:
    """Emit the tiles of a matrix (rows, k) that has k side by side; `stride` floats lie between
    rows.

    As A, or with `transposed` as B, whose columns are its rows.
    """
    name = f"amx_rows{'_transposed' * transposed}"
    if module.has(name):
        return name
    e: Emitter
    with (
        module.function(name, 6, exported=False) as (e, source, stride, rows, k, target, steps),
        e.each(0, rows, SIDE) as first,
        e.each(0, (k + (STEP - 1)) // STEP) as step,
    ):
        to = _tile(e, target, first, step, steps)
        left = k - step * STEP
        masks = [e.mask_first(left), e.mask_first(left - SIDE)]
        with e.each(0, (rows - first).min(SIDE)) as r:
            row = e.pointer(source + FLOAT * ((first + r) * stride + step * STEP))
            low, high = (e.load(row, SIDE * i, mask) for i, mask in enumerate(masks))
            _store(e, low, high, to, r)
        if transposed:
            _transpose(e, to)
    return name


def columns_operand(module: Module, *, transposed: bool) -> str:
    """Emit the tiles of a matrix (k, columns), `stride` floats between rows, as B.

    Or with `transposed` as A, whose rows are its columns.
    """
    name = f"amx_columns{'_transposed' * transposed}"
    if module.has(name):
        return name
    e: Emitter
    with (
        module.function(name, 6, exported=False) as (e, source, stride, k, columns, target, steps),
        e.each(0, (k + (STEP - 1)) // STEP) as step,
    ):
        left = k - step * STEP
        with e.each(0, columns, SIDE) as first:
            matrix = e.pointer(source + FLOAT * (step * STEP * stride + first))
            to, lanes = _tile(e, target, first, step, steps), columns - first
            whole = e.b.and_(left > STEP - 1, lanes > SIDE - 1)
            for inside in (True, False):
                with e.when(whole if inside else e.b.not_(whole)):
                    for r in range(SIDE):
                        rows = (r, r + SIDE)
                        for row in rows:
                            e.prefetch(matrix, stride * (row + STEP))
                        low, high = (
                            e.load(
                                matrix,
                                stride * row,
                                None if inside else e.mask_first(lanes * _exists(left, row)),
                            )
                            for row in rows
                        )
                        _store(e, low, high, to, r)
            if transposed:
                _transpose(e, to)
    return name


def _exists(left: Integer, row: int) -> Integer:
    """1 for a row that is among those left, else 0."""
    return (left - row).max(0).min(1)


def _tile(e: Emitter, operand: Integer, first: Integer, step: Integer, steps: Integer) -> Integer:
    """Where the first part of a tile lies."""
    parts = e.module.vectors.parts
    return operand + (first // SIDE * steps + step) * (parts * TILE)


def _store(e: Emitter, low: Value, high: Value, tile: Integer, row: Offset) -> None:
    """Store a row of every part of a tile."""
    for part, pairs in enumerate(split(e, low, high, e.module.vectors.parts)):
        e.b.store(pairs, e.at(e.pointer(tile), row * SIDE + part * (TILE // FLOAT)), align=4)


def _transpose(e: Emitter, tile: Integer) -> None:
    """Transpose the pairs of every part, where they lie."""
    for part in range(e.module.vectors.parts):
        at = e.pointer(tile + part * TILE)
        rows = e.transpose([e.load(at, r * SIDE) for r in range(SIDE)])
        for r, row in enumerate(rows):
            e.store(row, at, r * SIDE)
