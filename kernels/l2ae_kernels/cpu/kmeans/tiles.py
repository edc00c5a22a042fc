"""Squared distances in registers: some rows × 16 columns at a time.

A step of the tile takes one feature: 16 packed values, one a lane, and one value of each row that
is broadcast over all lanes:

    for j:  c_0 … c_V−1 = packed[j]               V loads, 16 columns
            for p:  a = row_p[j]                  P loads of one float
                    s[p, v] += (a − c_v)²         P·V subtractions, P·V multiply-adds

Where samples are short, lanes are samples and rows are centers: the nearest center is kept in each
lane, and nothing is ever compared across lanes. Where samples are long, the lanes are centers
and the rows are samples: a row is read where it lies, and one comparison across lanes is little
beside its d steps.

Differences, not |c|² − 2 x·c: nothing cancels, the label needs no second look and the distance
is the one that the label was chosen by. That costs little where a core adds beside its
multiply-adds: 0.85 of the speed of products alone, measured on Zen 3, and half where both share
their units. There labels are found by products that keep the second lowest as well, and differences
look again where rounding could have decided: screened.py.

The sum over features runs in the order of the features, in one lane, whatever the vectors: a
distance has the same bits in every kernel of this file.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import I32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value

COLUMNS = 16  # of a tile; a multiple of the lanes of every set of vectors
PADDING = float("inf")  # a coordinate of centers that do not exist: they are infinitely far
ROWS = {"neon": 6, "avx2": 5, "avx512": 12}  # with V = 4, 2, 1: sums, columns, a difference fit
INFINITY = float("inf")
LINE = 16  # floats in a line of the cache


def squared_distances(
    e: Emitter, rows: list[Value], packed: Value, d: Value, coming: tuple[Value, ...] = ()
) -> list[list[Value]]:
    """Emit the tile: V sums for each of the rows (d,), columns are packed (d, 16).

    The rows that are `coming` are fetched meanwhile, a cache line for every line of these.
    """
    V = COLUMNS // e.lanes

    def step(j: Integer, sums: list[Value]) -> list[Value]:
        columns = [e.load(packed, j * COLUMNS + v * e.lanes) for v in range(V)]
        new = []
        for p, row in enumerate(rows):
            value = e.broadcast(row, j)
            for v, column in enumerate(columns):
                difference = e.b.fsub(column, value)  # a broadcast operand costs no load of its own
                new.append(e.fma(difference, difference, sums[p * V + v]))
        return new

    def line(j: Integer, sums: list[Value]) -> list[Value]:
        for row in coming:
            e.prefetch(row, j)
        return e.loop(j, (j + LINE).min(d), sums, step)

    zeros = [e.zero] * (len(rows) * V)
    sums = e.loop(0, d, zeros, line, step=LINE) if coming else e.loop(0, d, zeros, step)
    return [sums[p * V : (p + 1) * V] for p in range(len(rows))]


def add_short(module: Module) -> None:
    """Emit short(panels, count, d, centers, k, before, labels, different, distances).

    Lanes are samples. panels (count, d, 16), centers (k, d) → labels (count · 16,) int32, and
    either squared distances (count · 16,) or, for labels `before`, different (count,) int32: bit p
    is set where label p is a new one. The other two are missing (0).
    Per panel: reads 16·d + k·d floats and 16 labels, writes 16 labels and the bits.
    """
    with module.function("short", 9) as (e, panels, count, d, centers, k, *outputs):
        panels, centers = map(e.pointer, (panels, centers))
        before, labels, different, distances = outputs
        V = COLUMNS // e.lanes
        integers = ir.VectorType(I32, e.lanes)
        tiles, rows_at = tiles_of(e, k), _rows_at(e, d)

        def panel(t: Integer, _: list[Value]) -> list[Value]:
            samples = e.at(panels, t * (d * COLUMNS))

            def compare(q: Integer, rows: int, state: list[Value]) -> list[Value]:
                nearest, label, number = state[:V], state[V : 2 * V], state[-1]
                first = e.at(centers, q * d)
                pointers = [e.at(first, rows_at[p]) for p in range(rows)]
                tile = squared_distances(e, pointers, samples, d)
                for v in range(V):
                    found = [(sums[v], splat(integers, p)) for p, sums in enumerate(tile)]
                    least, p = tournament(found, partial(_nearer, e))
                    so_far = nearest[v], label[v]
                    nearest[v], label[v] = _nearer(e, so_far, (least, e.b.add(number, p)))
                return [*nearest, *label, e.b.add(number, splat(integers, rows))]

            start = [e.constant(INFINITY)] * V + [ir.Constant(integers, None)] * (V + 1)
            state = over_rows(e, tiles, start, compare)
            at = [t * COLUMNS + v * e.lanes for v in range(V)]
            for v in range(V):
                e.store(state[V + v], e.pointer(labels), at[v])
            with e.when(distances > 0):
                for v in range(V):
                    e.store(state[v], e.pointer(distances), at[v])
            with e.when(before > 0):
                new = unequal(e, state[V : 2 * V], [e.at(e.pointer(before), i) for i in at])
                e.store_one(new, e.pointer(different), t)
            return []

        e.loop(0, count, [], panel)


Numbered: TypeAlias = tuple[Value, Value]  # distances in lanes, and the numbers of their centers


Entry = TypeVar("Entry")


def tournament(found: list[Entry], better: Callable[[Entry, Entry], Entry]) -> Entry:
    """Return what is better than all others; of equals the first.

    Neighbours are compared, then the winners: a chain of comparisons, each waiting for the one
    before, would take longer than the distances.
    """
    while len(found) > 1:
        pairs = [better(*found[i : i + 2]) for i in range(0, len(found) - 1, 2)]
        found = pairs + found[2 * len(pairs) :]
    return found[0]


def _nearer(e: Emitter, first: Numbered, second: Numbered) -> Numbered:
    """Return `second` in the lanes where it is lower, else `first`."""
    nearer = e.b.fcmp_ordered("<", second[0], first[0])
    return e.b.select(nearer, second[0], first[0]), e.b.select(nearer, second[1], first[1])


def splat(integers: ir.VectorType, value: int) -> Value:
    return ir.Constant(integers, [value] * integers.count)


def unequal(e: Emitter, labels: list[Value], before: list[Value]) -> Value:
    """Return an i32 whose bits say which lanes of `labels` are not those at `before`."""
    bits: Value = I32(0)
    for v, (label, pointer) in enumerate(zip(labels, before, strict=True)):
        unequal = e.b.icmp_signed("!=", label, e.b.load(pointer, align=4, typ=label.type))
        lanes = e.b.zext(e.b.bitcast(unequal, ir.IntType(e.lanes)), I32)
        bits = e.b.or_(bits, e.b.shl(lanes, I32(v * e.lanes)))
    return bits


def add_short_all(module: Module) -> None:
    """Emit short_all(panels, count, d, centers, k, out): all distances, out (k, count · 16)."""
    with module.function("short_all", 6) as (e, panels, count, d, centers, k, out):
        panels, centers, out = map(e.pointer, (panels, centers, out))
        tiles, rows_at = tiles_of(e, k), _rows_at(e, d)

        def panel(t: Integer, _: list[Value]) -> list[Value]:
            samples = e.at(panels, t * (d * COLUMNS))

            def write(q: Integer, rows: int, state: list[Value]) -> list[Value]:
                first = e.at(centers, q * d)
                pointers = [e.at(first, rows_at[p]) for p in range(rows)]
                for p, sums in enumerate(squared_distances(e, pointers, samples, d)):
                    for v, s in enumerate(sums):
                        row = (q + p) * count * COLUMNS
                        e.store(s, out, row + v * e.lanes + t * COLUMNS)
                return state

            over_rows(e, tiles, [], write)
            return []

        e.loop(0, count, [], panel)


def _rows_at(e: Emitter, d: Integer) -> list[Integer]:
    """Where the rows (d,) of a tile begin: emitted once, in front of the loops over tiles."""
    return [d * p for p in range(ROWS[e.module.vectors.name])]


def tiles_of(e: Emitter, count: Integer) -> list[tuple[int, Integer, Integer]]:
    """Cut rows 0 … count − 1 into tiles: of each size, the first row and how many tiles there are.

    They are as equal as can be, the larger ones first: 6 rows are 3 and 3, not 5 and 1. Emitted
    once, too.
    """
    most = ROWS[e.module.vectors.name]
    tiles = (count + (most - 1)) // most
    least, larger = count // tiles.max(1), count % tiles.max(1)
    found, first = [], e.index(0)
    for rows in range(most, 0, -1):
        here = e.index(0).unless(least.equals(rows), tiles - larger)
        here = here.unless((least + 1).equals(rows), larger)
        found.append((rows, first, here))
        first = first + here * rows
    return found


def over_rows(
    e: Emitter, tiles: list[tuple[int, Integer, Integer]], state: list[Value], body: Any
) -> list[Value]:
    """Emit `state = body(first, rows, state)` for all tiles."""
    for rows, first, count in tiles:

        def tile(t: Integer, state: list[Value], rows: int = rows, first: Any = first) -> Any:
            return body(first + t * rows, rows, state)

        state = e.loop(0, count, state, tile)
    return state


def add_pack(module: Module) -> None:
    """Emit pack(x, count, d, panels): 16 · count samples x to panels (count, d, 16).

    Squares of lanes × lanes are transposed in registers.
    """
    with module.function("pack", 4) as (e, x, count, d, panels):
        x, panels = map(e.pointer, (x, panels))

        def panel(t: Integer, _: list[Value]) -> list[Value]:
            here = e.at(panels, t * (d * COLUMNS))

            def square(j: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
                for v in range(0, COLUMNS, e.lanes):
                    samples = [t * COLUMNS + (v + c) for c in range(e.lanes)]
                    rows = e.transpose([e.load(x, i * d + j, mask) for i in samples])
                    for c, row in enumerate(rows):
                        with e.when(d > j + c):
                            e.store(row, here, (j + c) * COLUMNS + v)
                return []

            e.over_vectors(d, [], square)
            return []

        e.loop(0, count, [], panel)
