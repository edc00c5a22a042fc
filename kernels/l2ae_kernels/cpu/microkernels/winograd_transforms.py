"""Winograd's transforms, emitted: images and filters to the transform domain and back.

Each transform works in two halves, first along H and then along W. The half-done tile lies on the
stack: of its 36 vectors, a dozen are in registers at a time. Borders cost no more than the inside:
a row outside the image is a row of zeros, a column outside is left out.

What is called V and M in winograd.py is 36 matrices with one row for each tile, all with the same
strides: point (i, j), tile t, channel c is at

    t · row + (6 i + j) · point + c,   and `last` further at j = 5, where phases may be missing

and what is called U is 36 matrices in panels of columns, as the products read them: row r and
column q of point (i, j) is at

    (6 i + j) · point + q // width · panel + r · width + q % width

A kernel takes tiles of one size, `winograd_4x3_input_…` those of 4 × 3 outputs, whose rows are
neighbours. Reads 36/16 of an image and writes as much of V, a vector of channels at a time.
"""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

from l2ae_kernels.cpu.codegen.emitter import Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments
from l2ae_kernels.cpu.microkernels.winograd import (
    A_T,
    B_T,
    POINTS,
    G,
    Matrix,
    apply,
    points,
    transposed,
)
from l2ae_kernels.cpu.microkernels.winograd_products import panel_width

# Strides count floats; pixel (i, j) of tile (ty, tx) of 4 × 3 outputs is (4 ty + i) · step_h +
# base_h, (3 tx + j) · step_w + base_w.
# There are `zeros` for a whole row of x.
INPUT = Arguments(
    "x x_sample x_row x_pixel x_batch H W C samples tiles_h tiles_w step_h step_w base_h base_w "
    "zeros V row point last"
)
OUTPUT = Arguments(
    "y y_sample y_row y_pixel y_batch H W C samples tiles_h tiles_w b slope gate M row point last"
)
# Tap (t, s) of channels c and k is at W + t · tap_h + s · tap_w + c · K + k, and goes to row
# `row` + c and column `column` + k of U, at j = 5 to `last_row` + c and `last_column` + k.
FILTER = Arguments("W tap_h tap_w C K U panel point row column last_row last_column")
FILL = Arguments("address count")

SIDES = [(t, s) for t in (2, 3) for s in (2, 3)]  # taps of a phase along H and W


def add_filters(module: Module) -> None:
    """Emit the transforms of filters, and `fill`."""
    for taps_h, taps_w in SIDES:
        _add_filter(module, taps_h, taps_w)
        _add_filter_adjoint(module, taps_h, taps_w)
    _add_fill(module)


def add_images(module: Module, outputs_h: int, outputs_w: int) -> None:
    """Emit the transforms of images for tiles of one size."""
    tile = outputs_h, outputs_w
    A_h, A_w = (transposed(A_T[m]) for m in tile)
    _add_input(module, tile, "spread", A_h, A_w, *tile)
    for taps in SIDES:
        (rows, height), (columns, width) = (
            (B_T[m][: len(points(t, m))], m + t - 1) for t, m in zip(taps, tile, strict=True)
        )
        _add_input(module, tile, f"input_{taps[0]}{taps[1]}", rows, columns, height, width)
        _add_output(module, tile, taps)


def _add_input(
    module: Module, tile: tuple[int, int], name: str, matrix_h: Matrix, matrix_w: Matrix,
    height: int, width: int,
) -> None:  # fmt: skip
    """Emit input_hw(arguments, m): V = Bᵀ d B for every tile and channel of one phase.

    Or spread: dM = A dy Aᵀ, the adjoint of y = Aᵀ M A. `height` × `width` pixels make
    len(matrix_h) × len(matrix_w) points.
    """
    slots_h, slots_w = (points(3, m) for m in tile)
    with module.function(kernel_name(tile, name), 2) as (e, address, m):
        a = INPUT.read(e, address)
        x = a.x + m * a.x_batch * 4
        half = [[_stack_vector(e) for _ in range(width)] for _ in matrix_h]
        for n, ty, tx, t in _tiles(e, a):
            rows = []
            for i in range(height):
                h = (ty * tile[0] + i) * a.step_h + a.base_h
                row = (x + 4 * (n * a.x_sample + h * a.x_row)).unless(_outside(e, h, a.H), a.zeros)
                rows.append(e.pointer(row))
            w = [(tx * tile[1] + j) * a.step_w + a.base_w for j in range(width)]
            V = e.pointer(a.V + 4 * t * a.row)
            with e.each(0, a.C, e.lanes) as c:
                for j in range(width):
                    for line in half:
                        e.b.store(e.zero, line[j])
                    with e.when(e.b.not_(_outside(e, w[j], a.W))):
                        at = w[j] * a.x_pixel + c
                        column = apply(e, matrix_h, [e.load(row, at) for row in rows])
                        for line, value in zip(half, column, strict=True):
                            e.b.store(value, line[j])
                for i, line in zip(slots_h, half, strict=False):
                    row = apply(e, matrix_w, [e.b.load(v) for v in line])
                    for j, value in zip(slots_w, row, strict=False):
                        e.store(value, V, _point(a, i, j) + c)


def _add_output(module: Module, tile: tuple[int, int], taps: tuple[int, int]) -> None:
    """Emit output_hw(arguments, m): y = finish(Aᵀ M A + b), see tiles.py for finish.

    It is gated where there is a gate; 0 stands for none.
    With fewer taps, the points at ∞ are missing from M. A correlation, which has added up all its
    phases, has them all.
    """
    name = kernel_name(tile, f"output_{taps[0]}{taps[1]}")
    rows, columns = (points(t, m) for t, m in zip(taps, tile, strict=True))
    A_h, A_w = ([r[: len(k)] for r in A_T[m]] for k, m in zip((rows, columns), tile, strict=True))
    with module.function(name, 2) as (e, address, m):
        a = OUTPUT.read(e, address)
        b, factor = e.pointer(a.b), e.broadcast(e.pointer(a.slope))
        plain = a.gate.equals(0)
        half = [[_stack_vector(e) for _ in columns] for _ in A_h]
        for n, ty, tx, t in _tiles(e, a):
            h, w, height, width = ty * tile[0], tx * tile[1], a.H, a.W
            at = 4 * (n * a.y_sample + h * a.y_row + w * a.y_pixel)
            y = a.y + m * a.y_batch * 4 + at
            signs, y = e.pointer((a.gate + at).unless(plain, y)), e.pointer(y)
            M = e.pointer(a.M + 4 * t * a.row)
            with e.each(0, a.C, e.lanes) as c:
                for k, j in enumerate(columns):
                    column = [e.load(M, _point(a, i, j) + c) for i in rows]
                    for line, value in zip(half, apply(e, A_h, column), strict=True):
                        e.b.store(value, line[k])
                bias = e.load(b, c)
                for i, line in enumerate(half):
                    with e.when(height > h + i):
                        for j, value in enumerate(apply(e, A_w, [e.b.load(v) for v in line])):
                            with e.when(width > w + j):
                                to = a.y_row * i + a.y_pixel * j + c
                                s = e.b.fadd(value, bias)
                                sign = e.b.select(plain, s, e.load(signs, to))
                                e.store(e.where_positive(sign, s, e.b.fmul(factor, s)), y, to)


def _add_filter(module: Module, taps_h: int, taps_w: int) -> None:
    """Emit winograd_filter_hw(arguments, m): U = G g Gᵀ for every pair of channels of one phase."""
    with module.function(f"winograd_filter_{taps_h}{taps_w}", 2) as (e, address, _):
        a, columns = FILTER.read(e, address), range(taps_w)
        G_h, G_w = G[: len(points(taps_h))], G[: len(points(taps_w))]
        for W, U in _filters(e, a):
            g = [[e.load(W, a.tap_h * t + a.tap_w * s) for s in columns] for t in range(taps_h)]
            for i, row in enumerate(_both(e, G_h, G_w, g)):
                for j, value in enumerate(row):
                    e.store(value, U[j], a.point * (i * POINTS + j))


def _add_filter_adjoint(module: Module, taps_h: int, taps_w: int) -> None:
    """Emit winograd_filter_adjoint_hw(arguments, m): dW += Gᵀ dU G for one phase."""
    with module.function(f"winograd_filter_adjoint_{taps_h}{taps_w}", 2) as (e, address, _):
        a = FILTER.read(e, address)
        rows, columns, G_T = points(taps_h), points(taps_w), transposed(G)
        for W, U in _filters(e, a):
            dU = [[e.load(U[j], a.point * (i * POINTS + j)) for j in columns] for i in rows]
            for t, row in enumerate(_both(e, G_T[:taps_h], G_T[:taps_w], dU)):
                for s, value in enumerate(row):
                    tap = a.tap_h * t + a.tap_w * s
                    e.store(e.b.fadd(e.load(W, tap), value), W, tap)


def _add_fill(module: Module) -> None:
    """Emit fill(arguments, m): `count` floats of 0, a multiple of the lanes."""
    with module.function("fill", 2) as (e, address, _):
        a = FILL.read(e, address)
        target = e.pointer(a.address)
        with e.each(0, a.count, e.lanes) as i:
            e.store(e.zero, target, i)


def _both(
    e: Emitter, matrix_h: Matrix, matrix_w: Matrix, values: Sequence[Sequence[Value]]
) -> list[list[Value]]:
    """Emit matrix_h @ values @ matrix_wᵀ."""
    half = [apply(e, matrix_h, column) for column in zip(*values, strict=True)]
    return [apply(e, matrix_w, row) for row in zip(*half, strict=True)]


def kernel_name(tile: tuple[int, int], name: str) -> str:
    """Return the name of a transform of images, for tiles of so many outputs."""
    return f"winograd_{tile[0]}x{tile[1]}_{name}"


def _tiles(e: Emitter, a: SimpleNamespace) -> Iterator[tuple[Integer, Integer, Integer, Integer]]:
    """A block of code to fill, which runs for each tile: sample, row and column, running number."""
    with e.each(0, a.samples) as n, e.each(0, a.tiles_h) as ty, e.each(0, a.tiles_w) as tx:
        yield n, ty, tx, (n * a.tiles_h + ty) * a.tiles_w + tx


def _filters(e: Emitter, a: SimpleNamespace) -> Iterator[tuple[Value, list[Value]]]:
    """A block of code to fill, which runs for each vector of filters.

    Yields where it is in W, and where in the matrix of point (0, 0), as seen from each point j.
    """
    width = panel_width(e.module)
    with e.each(0, a.K, e.lanes) as k, e.each(0, a.C) as c:
        starts = []
        for row, column in ((a.row + c, a.column + k), (a.last_row + c, a.last_column + k)):
            at = column // width * a.panel + row * width + column % width
            starts.append(e.pointer(a.U + 4 * at))
        W = e.pointer(a.W + 4 * (c * a.K + k))
        yield W, [starts[j == POINTS - 1] for j in range(POINTS)]


def _outside(e: Emitter, position: Integer, size: Integer) -> Value:
    """Whether a row or column is not in the image."""
    return e.b.or_(e.index(0) > position, position > size - 1)


def _point(a: SimpleNamespace, i: int, j: int) -> Integer:
    """Offset of point (i, j)."""
    offset: Integer = a.point * (i * POINTS + j)
    return offset + a.last if j == POINTS - 1 else offset


def _stack_vector(e: Emitter) -> Value:
    """A vector on the stack."""
    with e.b.goto_entry_block():
        return e.b.alloca(e.vector)
