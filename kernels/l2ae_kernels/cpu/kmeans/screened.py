"""Short samples by products, where rounding cannot decide: the labels of differences, for less.

    q_j = |c_j|²/2 − x·c_j = (|x − c_j|² − |x|²)/2       d multiply-adds, no subtraction

is lowest where the distance is. Where the second lowest is farther than a guard from the lowest,
differences would find the same label: the guard is more than both ways can be off together. A panel
with a sample nearer to two centers than that is left to `short`, which subtracts. So no bit of a
label depends on the way, and which one is faster is measured on the machine: products are, where a
core has no units for additions beside those for multiply-adds.

With u = 2⁻²⁴, X ≥ |x| and C ≥ |c_j|, a product is off by less than (2d + 1) u (C²/2 + X C), and
half a distance by (d + 2) u (X + C)²/2; the guard is 4 (d + 2) u (X + C)². Far from the origin it
is larger than the distances, and all is left.
"""

from functools import partial
from typing import TypeAlias

import numpy as np
from llvmlite import ir

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.emitter import I32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import I64, Integer, Value
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.tiles import (
    COLUMNS,
    INFINITY,
    over_rows,
    splat,
    tiles_of,
    tournament,
    unequal,
)

UNIT = 2.0**-24  # of float32, relative
LEAST, MOST = 1e-30, 1e37  # of a guard, and of (X + C)²: nothing underflows, nothing overflows
# Panels whose sums are in registers at once, so that a broadcast value is used for each.
TOGETHER = {"neon": 1, "avx2": 1, "avx512": 2}


@jit()
def lift(centers: Array, largest: float, lifted: Array) -> float:
    """Write |c_j|²/2 and −c_j of centers (k, d) to lifted (d + 1, k); return the guard.

    `largest` is max |x_ij| of the samples. The guard is infinite where products cannot be trusted.
    """
    k, d = centers.shape
    most = 0.0
    for j in range(k):
        square = 0.0
        for f in range(d):
            c = np.float64(centers[j, f])
            square += c * c
            lifted[1 + f, j] = -c
        lifted[0, j] = square / 2
        most = max(most, square)
    reach = (np.sqrt(most) + largest * np.sqrt(np.float64(d))) ** 2
    guard = 4.0 * (d + 2) * UNIT * reach
    return guard if guard > LEAST and reach < MOST else np.inf


def add_screened(module: Module) -> None:
    """Emit screened(panels, count, d, centers, k, lifted, guard, before, labels, different, left).

    Labels and bits as by `short`, to which a panel is left where two q are within `guard` (1,), and
    `left` (1,) int64 counts it. lifted (d + 1, k) as by `lift`.
    """
    with module.function("screened", 11) as (e, panels, count, d, centers, k, lifted, *others):
        guard, before, labels, different, left = others
        rows, tiles, near = e.pointer(lifted), tiles_of(e, k), e.broadcast(e.pointer(guard))
        V, integers = COLUMNS // e.lanes, ir.VectorType(I32, e.lanes)

        def nearest_two(samples: list[Value]) -> list[Two]:
            """The two lowest q of some panels, a vector after the other."""
            places = [(panel, v * e.lanes) for panel in samples for v in range(V)]
            size = len(places)

            def compare(q: Integer, height: int, state: list[Value]) -> list[Value]:
                first, number = e.at(rows, q), state[-1]
                starts = [e.broadcast(first, p) for p in range(height) for _ in places]

                def step(j: Integer, sums: list[Value]) -> list[Value]:
                    columns = [e.load(panel, j * COLUMNS + v) for panel, v in places]
                    row = e.at(first, (j + 1) * k)
                    values = [e.broadcast(row, p) for p in range(height)]
                    pairs = ((column, value) for value in values for column in columns)
                    return [e.fma(*pair, s) for pair, s in zip(pairs, sums, strict=True)]

                sums = e.loop(0, d, starts, step)
                found: list[Value] = []
                for v, so_far in enumerate(_threes(state[:-1])):
                    here = [(s, None, splat(integers, p)) for p, s in enumerate(sums[v::size])]
                    low, second, p = tournament(here, partial(_merged, e))
                    found += _merged(e, so_far, (low, second, e.b.add(number, p)))
                return [*found, e.b.add(number, splat(integers, height))]

            none, zero = e.constant(INFINITY), ir.Constant(integers, None)
            state = over_rows(e, tiles, [none, none, zero] * size + [zero], compare)
            return _threes(state[:-1])

        def finish(t: Integer, samples: Value, found: list[Two]) -> None:
            """Write what is clear, or leave the panel."""
            clear: Value = ir.Constant(ir.IntType(1), 1)
            for low, second, _ in found:
                apart = e.b.fcmp_ordered(">", e.b.fsub(second, low), near)
                bits = e.b.bitcast(apart, ir.IntType(e.lanes))
                clear = e.b.and_(clear, e.b.icmp_signed("==", bits, ir.Constant(bits.type, -1)))
            with e.when(clear):
                at = [t * COLUMNS + v * e.lanes for v in range(V)]
                own = [label for *_, label in found]
                for label, i in zip(own, at, strict=True):
                    e.store(label, e.pointer(labels), i)
                new = unequal(e, own, [e.at(e.pointer(before), i) for i in at])
                e.store_one(new, e.pointer(different), t)
            with e.when(e.b.not_(clear)):
                here = t * (4 * COLUMNS)
                e.call(
                    "short", samples, 1, d, centers, k, before + here, labels + here,
                    different + 4 * t, 0,
                )  # fmt: skip
                number = e.pointer(left)
                e.b.store(e.b.add(e.b.load(number, typ=I64), I64(1)), number)

        def body(t: Integer, together: int) -> list[Value]:
            samples = [e.at(e.pointer(panels), (t + i) * (d * COLUMNS)) for i in range(together)]
            found = nearest_two(samples)
            for i, panel in enumerate(samples):
                finish(t + i, panel, found[i * V : (i + 1) * V])
            return []

        together = TOGETHER[module.vectors.name]
        whole = count // together * together
        e.loop(0, whole, [], lambda t, _: body(t, together), step=together)
        if together > 1:
            e.loop(whole, count, [], lambda t, _: body(t, 1))


# The lowest of some values in each lane, the second lowest (None: there is none), and the number of
# the lowest.
Two: TypeAlias = tuple[Value, Value | None, Value]


def _threes(values: list[Value]) -> list[Two]:
    """Return what a loop carries as triples."""
    return [(a, b, c) for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True)]


def _merged(e: Emitter, first: Two, second: Two) -> Two:
    """Return the two lowest of both."""
    nearer = e.b.fcmp_ordered("<", second[0], first[0])
    low, other = (
        e.b.select(nearer, *pair) for pair in ((second[0], first[0]), (first[0], second[0]))
    )
    for known in (first[1], second[1]):
        if known is not None:
            other = e.b.select(e.b.fcmp_ordered("<", known, other), known, other)
    return low, other, e.b.select(nearer, second[2], first[2])
