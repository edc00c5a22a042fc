"""Dense layers by AMX: y = x W and dx = dy Wᵀ, both factors split into parts on the way.

x is split where a block of it fits the second-level cache, and W some columns at a time, right
before all samples use them: it is read once and written nowhere else. A block of y is started at
the bias by its first block of inputs, and finished by its last.
"""

from types import SimpleNamespace

from l2ae_kernels.cpu.codegen.amx import SIDE, STEP, TILE, Tiles
from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer
from l2ae_kernels.cpu.microkernels.amx_block import BLOCK, multiply_block
from l2ae_kernels.cpu.microkernels.amx_operands import columns_operand, operand_bytes, rows_operand
from l2ae_kernels.cpu.microkernels.dense import DENSE
from l2ae_kernels.cpu.microkernels.program import FLOAT

SAMPLES = 256  # that are split together
GROUP = 128  # columns of W that are split together
INPUTS = 512  # products that a sum takes before it is added to y, at most


def workspace_floats(parts: int) -> int:
    """Return the floats of the workspace of a call: for x and for W."""
    return (operand_bytes(SAMPLES, INPUTS, parts) + operand_bytes(GROUP, INPUTS, parts)) // FLOAT


def add_amx_dense(module: Module, gated: bool) -> None:
    """Emit amx_dense(arguments, m), or amx_dense_gated: y = finish(x w + b), see tiles.py.

    Arguments are those of `dense`, and a workspace.
    """
    parts = module.vectors.parts
    with module.function(f"amx_dense{'_gated' * gated}", 2) as (e, address, m):
        a = DENSE.read(e, address)
        a.x, a.y = a.x + m * a.x_batch * FLOAT, a.y + m * a.y_batch * FLOAT
        A, sums = a.workspace, e.workspace(BLOCK * BLOCK)
        B = A + operand_bytes(SAMPLES, INPUTS, parts)
        size = _equal_steps(a.I, INPUTS)
        finishes = {last: _finish(module, gated and last) for last in (False, True)}
        with (
            Tiles(e).configured(),
            e.each(0, a.samples, SAMPLES) as s,
            e.each(0, a.I, size) as i,
        ):
            samples, inputs = (a.samples - s).min(SAMPLES), (a.I - i).min(size)
            steps = (inputs + (STEP - 1)) // STEP
            x = a.x + FLOAT * (s * a.x_sample + i)
            e.call(rows_operand(module, transposed=False), x, a.x_sample, samples, inputs, A, steps)
            with e.each(0, a.O, GROUP) as group:
                columns = (a.O - group).min(GROUP)
                _operand_of_w(module, e, a, i, inputs, group, columns, B, steps)
                with e.each(0, columns, BLOCK) as column, e.each(0, samples, BLOCK) as row:
                    rows, outputs = (samples - row).min(BLOCK), (columns - column).min(BLOCK)
                    A_row = A + row // SIDE * steps * (parts * TILE)
                    B_column = B + column // SIDE * steps * (parts * TILE)
                    o = group + column
                    at = FLOAT * ((s + row) * a.y_sample + o)
                    multiply_block(
                        e, (rows, outputs), (A_row, steps), (B_column, steps), steps, (sums, BLOCK)
                    )
                    for first in (True, False):
                        start = (a.b + FLOAT * o, 0) if first else (a.y + at, a.y_sample)
                        end = (a.y + at, a.y_sample, a.gate + at)
                        with e.when(i.equals(0) if first else i > 0):
                            for last, name in finishes.items():
                                done = (i + inputs).equals(a.I) if last else i + inputs < a.I
                                with e.when(done):
                                    slope = a.slope if last else a.one
                                    e.call(name, sums, rows, outputs, *start, *end, slope)


def _equal_steps(count: Integer, most: int) -> Integer:
    """Return how many of `count` a block takes: blocks are equal, of whole steps."""
    blocks = (count + (most - 1)) // most
    steps = (count + (STEP - 1)) // STEP
    return (steps + (blocks - 1)) // blocks.max(1) * STEP


def _operand_of_w(
    module: Module, e: Emitter, a: SimpleNamespace, i: Integer, inputs: Integer, o: Integer,
    outputs: Integer, B: Integer, steps: Integer,
) -> None:  # fmt: skip
    """Split some columns of w, or of its transpose."""
    with e.when(a.transposed.equals(0)):
        w = a.w + FLOAT * (i * a.O + o)
        e.call(columns_operand(module, transposed=False), w, a.O, inputs, outputs, B, steps)
    with e.when(a.transposed.equals(1)):
        w = a.w + FLOAT * (o * a.I + i)
        e.call(rows_operand(module, transposed=True), w, a.I, outputs, inputs, B, steps)


def _finish(module: Module, gated: bool) -> str:
    """Emit y = finish(start + sums) for a block of rows and columns, as product_tile has it."""
    name = f"amx_finish{'_gated' * gated}"
    if module.has(name):
        return name
    with module.function(name, 9, exported=False) as (e, *numbers):
        sums, rows, columns, start, start_row, y, y_row, gate, slope = numbers
        sums, start, y, gate, slope = map(e.pointer, (sums, start, y, gate, slope))
        factor = e.broadcast(slope)
        vectors = [(c, e.mask_first(columns - c)) for c in range(0, BLOCK, e.lanes)]
        with e.each(0, rows) as r:
            for c, mask in vectors:
                s = e.load(sums, r * BLOCK + c)
                s = e.b.fadd(s, e.load(start, r * start_row + c, mask))
                sign = e.load(gate, r * y_row + c, mask) if gated else s
                s = e.where_positive(sign, s, e.b.fmul(factor, s))
                e.store(s, y, r * y_row + c, mask)
    return name
