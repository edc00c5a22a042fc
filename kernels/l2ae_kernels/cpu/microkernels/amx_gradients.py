"""The gradients of dense layers by AMX, dW = xᵀ dy and db = Σ dy, and Adam on them at once.

Sums are made for a strip of 32 inputs and all outputs of a call. Adam is applied to it while the
sums of the next strip are made: its roots and divisions, and W, m and v, which come from memory in
long runs, take their time beside the products.
"""

from collections.abc import Iterator
from types import SimpleNamespace

from l2ae_kernels.cpu.codegen.amx import SIDE, STEP, TILE, Tiles
from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.microkernels.adam import Adam, Moments
from l2ae_kernels.cpu.microkernels.amx_block import BLOCK, Late, multiply_block
from l2ae_kernels.cpu.microkernels.amx_operands import columns_operand, operand_bytes
from l2ae_kernels.cpu.microkernels.dense_gradients import DENSE_ADAM, DENSE_GRADIENT
from l2ae_kernels.cpu.microkernels.program import FLOAT

SAMPLES = 256  # whose dy is split together


def workspace_floats(vectors: Vectors) -> int:
    """Return the floats of the workspace of a thread: for dy and two strips of sums."""
    most = vectors.outputs
    return operand_bytes(most, SAMPLES, vectors.parts) // FLOAT + 2 * BLOCK * most


def add_amx_gradient(module: Module, adam: bool) -> None:
    """Emit amx_dense_gradient(arguments, workspace), or amx_dense_adam, for some outputs.

    Arguments are those of `dense_gradient`, x in tiles by `amx_tiles`. With more samples than
    SAMPLES, dW and db hold the sums of those that came before.
    """
    parts, most = module.vectors.parts, module.vectors.outputs
    name = "amx_dense_adam" if adam else "amx_dense_gradient"
    with module.function(name, 2) as (e, address, workspace):
        a = (DENSE_ADAM if adam else DENSE_GRADIENT).read(e, address)
        B, strips = workspace, workspace + operand_bytes(most, SAMPLES, parts)
        all_steps = (a.samples + (STEP - 1)) // STEP
        with Tiles(e).configured(), e.each(0, a.samples, SAMPLES) as n:
            samples = (a.samples - n).min(SAMPLES)
            steps = (samples + (STEP - 1)) // STEP
            seen, last = n > 0, (n + samples).equals(a.samples)
            dy = a.dy + FLOAT * n * a.O
            e.call(columns_operand(module, transposed=False), dy, a.O, samples, a.columns, B, steps)
            with e.each(0, a.rows, BLOCK) as row:
                rows = (a.rows - row).min(BLOCK)
                strip, before = (
                    strips + (row // BLOCK + i) % 2 * (BLOCK * most * FLOAT) for i in (0, 1)
                )
                x = a.tiles + (row // SIDE * all_steps + n // STEP) * (parts * TILE)
                late_rows = e.index(0).unless(e.b.and_(last, row > 0), BLOCK)
                with e.each(0, a.columns, BLOCK) as column:
                    block = rows, (a.columns - column).min(BLOCK)
                    dy_tiles = B + column // SIDE * steps * (parts * TILE)
                    late = _late(e, a, before, row, column, late_rows) if adam else None
                    multiply_block(
                        e, block, (x, all_steps), (dy_tiles, steps), steps,
                        (strip + FLOAT * column, most), late,
                    )  # fmt: skip
                at, end = FLOAT * row * a.O, e.b.and_(last, (row + rows).equals(a.rows))
                _keep(module, e, a, "W", strip, rows, at, seen, last, end, adam)
            with e.when(a.bias > 0):
                e.call(_sum(module), dy, a.O, samples, a.columns, strips)
                _keep(module, e, a, "b", strips, e.index(1), e.index(0), seen, last, last, adam)


def _late(
    e: Emitter, a: SimpleNamespace, before: Integer, row: Integer, column: Integer, rows: Integer
) -> Late:
    """Return the share of a block, at a column, in the `rows` rows of the strip before."""
    blocks = (a.columns + (BLOCK - 1)) // BLOCK
    share = (blocks + (BLOCK - 1)) // blocks
    first = column // BLOCK * share
    width = (a.columns + (e.lanes - 1)) // e.lanes
    at = FLOAT * (row - BLOCK + first) * a.O
    return Late(
        before + FLOAT * first * e.module.vectors.outputs,
        (rows - first).max(0).min(share) * width, width, a.columns, a.W + at, a.W_m + at,
        a.W_v + at, a.O, a.numbers,
    )  # fmt: skip


def _keep(
    module: Module, e: Emitter, a: SimpleNamespace, name: str, sums: Integer, rows: Integer,
    at: Integer, seen: Value, last: Value, end: Value, adam: bool,
) -> None:  # fmt: skip
    """Add what earlier samples have left in dW; write that, or at the `end` apply Adam."""
    block = sums, rows, a.columns
    g = getattr(a, f"d{name}") + at
    with e.when(seen):
        e.call(_add(module), *block, g, a.O)
    if not adam:
        e.call(_write(module), *block, g, a.O)
        return
    with e.when(e.b.not_(last)):
        e.call(_write(module), *block, g, a.O)
    moments = (getattr(a, f"{name}{kind}") + at for kind in ("", "_m", "_v"))
    with e.when(end):
        e.call(_adam(module), *block, *moments, a.O, a.numbers)


def _add(module: Module) -> str:
    """Emit sums += g for some rows."""
    name = "amx_add"
    if module.has(name):
        return name
    with module.function(name, 5, exported=False) as (e, sums, rows, columns, g, g_row):
        sums, g = e.pointer(sums), e.pointer(g)
        for r, c, mask in _vectors(e, rows, columns):
            at = r * module.vectors.outputs + c
            e.store(e.b.fadd(e.load(sums, at), e.load(g, r * g_row + c, mask)), sums, at)
    return name


def _write(module: Module) -> str:
    """Emit g = sums for some rows."""
    name = "amx_write"
    if module.has(name):
        return name
    with module.function(name, 5, exported=False) as (e, sums, rows, columns, g, g_row):
        sums, g = e.pointer(sums), e.pointer(g)
        for r, c, mask in _vectors(e, rows, columns):
            e.store(e.load(sums, r * module.vectors.outputs + c), g, r * g_row + c, mask)
    return name


def _adam(module: Module) -> str:
    """Emit Adam for some rows of gradients; p, m and v have rows of their own."""
    name = "amx_adam"
    if module.has(name):
        return name
    with module.function(name, 8, exported=False) as (e, *numbers):
        sums, rows, columns, p, m, v, row, numbers = numbers
        sums, to = e.pointer(sums), Moments(*map(e.pointer, (p, m, v)))
        adam = Adam(e, e.pointer(numbers))
        for r, c, mask in _vectors(e, rows, columns):
            adam.apply(e.load(sums, r * module.vectors.outputs + c), to, r * row + c, mask)
    return name


def _sum(module: Module) -> str:
    """Emit sums = Σ over samples of dy."""
    name = "amx_sum"
    if module.has(name):
        return name
    with module.function(name, 5, exported=False) as (e, dy, row, samples, columns, sums):
        dy, sums = e.pointer(dy), e.pointer(sums)
        for _, c, mask in _vectors(e, e.index(1), columns):

            def sample(n: Integer, total: list[Value]) -> list[Value]:
                return [e.b.fadd(total[0], e.load(dy, n * row + c, mask))]  # noqa: B023

            e.store(e.loop(0, samples, [e.zero], sample)[0], sums, c)
    return name


def _vectors(
    e: Emitter, rows: Integer, columns: Integer
) -> Iterator[tuple[Integer, Integer, Value]]:
    """A block of code to fill, which runs for each vector: row, column, and its mask."""
    with e.each(0, rows) as r, e.each(0, columns, e.lanes) as c:
        yield r, c, e.mask_first(columns - c)
