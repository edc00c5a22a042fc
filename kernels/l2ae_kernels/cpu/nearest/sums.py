"""Sums of the points of each cluster that do not depend on the order of the additions.

    s_j = Σ_{i: label i = j} round(x_i),   round to a multiple of u

u is a power of two so large that no sum of multiples of u ever needs more than the 53 bits of a
float64: every addition is exact. So a pass may add and subtract only the points whose label
changed, in any order, on any number of threads, for any number of iterations: the sums are a
function of the labels, bit for bit. Plain float64 sums are not, and a table of partial sums for
fixed blocks of points would have to be added up in every iteration.

Rounding moves a mean by at most u / 2 <= max|x| · n · 2^-51, about 1e-10 of the largest value for
a hundred thousand points; a float32 center holds 6e-8.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.emit.emitter import F32, F64, I32, I64, Emitter, Module, Value
from l2ae_kernels.cpu.nearest.call import call

JIT: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
EXACT = 2.0**51  # multiples of u that a sum may reach
BLOCK = 1024  # points
WIDTH = 8  # features that are added at a time
LOOK = 16  # labels that are compared at a time


def rounding_constant(n: int, largest: float) -> Array:
    """Return C (1,): (v + C) − C is v rounded to a multiple of u; n points, |v| <= largest."""
    if largest == 0:
        return np.zeros(1)
    u = 2.0 ** math.ceil(math.log2(n * largest)) / EXACT
    return np.full(1, 1.5 * 2.0**52 * u)  # the last bit of C is u


def padded(d: int) -> int:
    """Return the length of a row of sums: whole vectors."""
    return -(-d // WIDTH) * WIDTH


def add_move(module: Module) -> None:
    """Emit move(x, d, points, before, after, count, constant, sums), a point after the other.

    For each of `count` entries (int32): point x[points] leaves the sum `before`, unless that is −1,
    and joins the sum `after`. sums (k, padded(d)) float64. Reads d floats, changes 2·d sums.
    """
    with module.function("move", 8) as (e, x, d, points, before, after, count, constant, sums):
        x, points, before, after, constant, sums = map(
            e.pointer, (x, points, before, after, constant, sums)
        )
        doubles = ir.VectorType(F64, WIDTH)
        C = e.b.load(constant, typ=F64)
        C = e.b.insert_element(ir.Constant(doubles, ir.Undefined), C, I32(0))
        C = e.b.shuffle_vector(C, C, ir.Constant(ir.VectorType(I32, WIDTH), None))
        row = e.mul(e.ratio(e.add(d, WIDTH - 1), WIDTH), WIDTH)
        whole = e.mul(e.ratio(d, WIDTH), WIDTH)

        def add(cluster: Value, point: Value, sign: str) -> None:
            start = e.b.gep(sums, [e.mul(cluster, row)], source_etype=F64)

            def part(j: Value, rest: Value | None) -> list[Value]:
                v = e.b.fpext(_load(e, point, j, rest), doubles)
                v = e.b.fsub(e.b.fadd(v, C), C)
                at = e.b.gep(start, [j], source_etype=F64)
                old = e.b.load(at, align=8, typ=doubles)
                e.b.store(e.b.fadd(old, v) if sign == "+" else e.b.fsub(old, v), at, align=8)
                return []

            e.loop(0, whole, [], lambda j, _: part(j, None), step=WIDTH)
            with e.when(e.index(d) > whole):
                part(whole, e.sub(d, whole))

        with e.each(0, count) as i:
            point, old, new = (
                e.b.sext(e.b.load(e.at(a, i.value), align=4, typ=I32), I64)
                for a in (points, before, after)
            )
            row_x = e.at(x, e.mul(point, d))
            add(new, row_x, "+")
            with e.when(e.index(old) > -1):
                add(old, row_x, "-")


def _load(e: Emitter, point: Value, j: Value, count: Value | None) -> Value:
    """Load 8 floats from feature j on, or the first `count` of them and zeros."""
    floats = ir.VectorType(F32, WIDTH)
    if count is None:
        return e.b.load(e.at(point, j), align=4, typ=floats)
    v = ir.Constant(floats, None)
    numbers = ir.Constant(ir.VectorType(I64, WIDTH), list(range(WIDTH)))
    spread = e.b.insert_element(ir.Constant(numbers.type, ir.Undefined), count, I32(0))
    spread = e.b.shuffle_vector(spread, spread, ir.Constant(ir.VectorType(I32, WIDTH), None))
    mask = e.b.icmp_signed("<", numbers, spread)
    return e._intrinsic("masked.load", floats, e.at(point, j), I32(4), mask, v)


@njit(**JIT)
def settle(
    kernel: int, x: Array, new: Array, labels: Array, moves: Array, constant: Array,
    sums: Array, counts: Array,
) -> int:  # fmt: skip
    """Let the labels (m,) of points x (m, d) be the new ones, and return how many changed.

    sums (k, padded(d)) and counts (k,) take the differences. moves (3, m) int32 is for work: which
    points go, from where, and where to.
    """
    changed = 0
    for start in range(0, len(x), LOOK):
        stop = min(len(x), start + LOOK)
        different = 0
        for i in range(start, stop):  # without a branch, so that it runs in lanes
            different |= labels[i] ^ new[i]
        if different:
            for i in range(start, stop):
                if labels[i] != new[i]:
                    moves[0, changed], moves[1, changed], moves[2, changed] = i, labels[i], new[i]
                    changed += 1
                    counts[new[i]] += 1
                    if labels[i] >= 0:
                        counts[labels[i]] -= 1
                    labels[i] = new[i]
    if changed:
        call(
            kernel,
            (
                x.ctypes.data, x.shape[1], moves[0].ctypes.data, moves[1].ctypes.data,
                moves[2].ctypes.data, changed, constant.ctypes.data, sums.ctypes.data,
            ),
        )  # fmt: skip
    return changed


@njit(fastmath={"contract", "reassoc"}, **JIT)  # reassoc: partial sums, one a lane
def survey_blocks(
    x: Array, middle: Array, largest: Array, scatter: Array, first: int, last: int
) -> None:
    """For blocks first … last − 1 of points: max |x| and Σ |x_i − middle|²."""
    for block in range(first, last):
        for i in range(block * BLOCK, min(len(x), (block + 1) * BLOCK)):
            most, total = x.dtype.type(0), 0.0
            for j in range(x.shape[1]):
                difference = np.float64(x[i, j]) - middle[j]
                total += difference * difference
                most = max(most, abs(x[i, j]))
            largest[block] = max(largest[block], most)
            scatter[block] += total
