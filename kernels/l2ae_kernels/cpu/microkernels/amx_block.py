"""The innermost loop of AMX: a block of sums, of 32 × 32, is four tiles that stay in registers.

    for 32 of k, for each pair of parts (i, j):   load two tiles of A_i and two of B_j
                                                  four products of 16 · 16 · 32

What is loaded from an operand in the caches, 1024 bytes, is used for two products of 16 cycles or
more. Sums are float32 and take their products in one order.
"""

from typing import NamedTuple

from l2ae_kernels.cpu.codegen.amx import PATHS, SIDE, TILE, Tiles
from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.adam import Adam, Moments
from l2ae_kernels.cpu.microkernels.program import FLOAT

BLOCK = 32  # rows and columns of the sums: two tiles each


class Late(NamedTuple):
    """Rows of gradients to which Adam is applied beside the products.

    `vectors` of them, `width` of each row, whose `columns` need not fill the last one. The
    gradients at `sums` are `sums_row` floats apart, p, m and v `row` floats.
    """

    sums: Integer
    vectors: Integer
    width: Integer
    columns: Integer
    p: Integer
    m: Integer
    v: Integer
    row: Integer
    numbers: Integer


def multiply_block(
    e: Emitter, size: tuple[Integer, Integer], A: tuple[Integer, Integer],
    B: tuple[Integer, Integer], steps: Integer, sums: tuple[Integer, int], late: Late | None = None,
) -> None:  # fmt: skip
    """Emit sums = A B for a block of (rows, columns), over `steps` steps of k.

    A and B are operands, each with all the steps that a row of its tiles has; sums have their
    address and the floats of a row.
    """
    unit = e.module.vectors.parts * TILE
    for R in (1, 2):
        for C in (1, 2):
            is_fit = [
                n > SIDE if tiles == 2 else e.b.not_(n > SIDE)
                for n, tiles in zip(size, (R, C), strict=True)
            ]
            with e.when(e.b.and_(*is_fit)):
                name = _product(e.module, R, C, sums[1], late is not None)
                operands = A[0], A[1] * unit, B[0], B[1] * unit
                e.call(name, *operands, steps, sums[0], *(late or ()))


def _product(module: Module, R: int, C: int, sums_row: int, late: bool) -> str:
    """Emit sums = A B for R × C tiles, which lie `A_tile` and `B_tile` bytes apart."""
    name = f"amx_product_{R}_{C}_{sums_row}{'_adam' * late}"
    if module.has(name):
        return name
    parts, arguments = module.vectors.parts, 6 + len(Late._fields) * late
    with module.function(name, arguments, exported=False) as (e, *numbers):
        A, A_tile, B, B_tile, steps, sums, *rest = numbers
        tiles = Tiles(e)
        beside = _Beside(e, Late(*rest), sums_row, steps) if late else None
        for tile in range(R * C):
            tiles.zero(tile)

        def step(k: Integer, _: list[Value]) -> list[Value]:
            at, loaded = k * (parts * TILE), (parts, parts)  # none yet
            for i, j in PATHS[parts]:
                for r in range(R):
                    if i != loaded[0]:
                        tiles.load(4 + r, A + at + r * A_tile + i * TILE)
                    for c in range(C):
                        if j != loaded[1] and r == 0:
                            tiles.load(6 + c, B + at + c * B_tile + j * TILE)
                        tiles.multiply(r * C + c, 4 + r, 6 + c)
                loaded = i, j
            if beside:
                beside.add(k)
            return []

        e.loop(0, steps, [], step)
        for r in range(R):
            for c in range(C):
                tiles.store(r * C + c, sums + FLOAT * SIDE * (r * sums_row + c), FLOAT * sums_row)
    return name


class _Beside:
    """Adam on as many vectors a step as make all of them in so many steps."""

    def __init__(self, e: Emitter, late: Late, sums_row: int, steps: Integer) -> None:
        self.e, self.late, self.sums_row = e, late, sums_row
        self.adam = Adam(e, e.pointer(late.numbers))
        self.each = (late.vectors + (steps - 1)) // steps
        self.sums = e.pointer(late.sums)
        self.to = Moments(*map(e.pointer, (late.p, late.m, late.v)))

    def add(self, k: Integer) -> None:
        """Emit the vectors of step k; those of the next one are fetched."""
        e, late = self.e, self.late
        with e.each(k * self.each, ((k + 1) * self.each).min(late.vectors)) as t:
            row, column = self._place(t)
            for pointer in self.to:
                soon = self._place(t + self.each)
                e.prefetch(pointer, soon[0] * late.row + soon[1])
            g = e.load(self.sums, row * self.sums_row + column)
            mask = e.mask_first(late.columns - column)
            self.adam.apply(g, self.to, row * late.row + column, mask)

    def _place(self, t: Integer) -> tuple[Integer, Integer]:
        """Row and column of a vector."""
        return t // self.late.width, t % self.late.width * self.e.lanes
