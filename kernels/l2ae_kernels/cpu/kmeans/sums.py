"""Sums of the samples of each cluster that do not depend on the order of the additions.

    s_j = Σ_{i: label i = j} round(x_i),   round to a multiple of u

u is a power of two so large that no sum of multiples of u ever needs more than the 53 bits of a
float64: every addition is exact. So a pass may add and subtract only the samples whose label
changed, in any order, on any number of threads, for any number of iterations: the sums are a
function of the labels, bit for bit. Plain float64 sums are not, and a table of partial sums for
fixed blocks of samples would have to be added up in every iteration.

Rounding moves a mean by at most u / 2 <= max|x| · n · 2^-51, about 1e-10 of the largest value for
a hundred thousand samples; a float32 center holds 6e-8.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.emitter import F32, F64, I32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import I64, Integer, Value
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.call import call, trailing_zeros
from l2ae_kernels.samples import BLOCK

EXACT = 2.0**51  # multiples of u that a sum may reach
WIDTH = 4  # features that are added at a time
LOOK = 16  # labels that are compared at a time; bits of a panel
FINITE = 0x7FFFFFFF  # the bits of a float32 without its sign: they are ordered as its size is


class Differences(NamedTuple):
    """What the labels that changed in a pass add to the sums, for each slot (part of the samples).

    A sum has a row in front, number −1, of the samples that had no label.
    """

    constant: Array  # (1,) that rounds, see above
    sums: Array  # (slots, R, 1 + k, padded(d)) float64
    counts: Array  # (slots, R, k) int64
    changed: Array  # (slots, R) int64


def differences(constant: Array, d: int, k: int, runs: int, slots: int) -> Differences:
    """Return zeros for the differences of samples of d features."""
    return Differences(
        constant,
        np.zeros((slots, runs, 1 + k, padded(d))),
        np.zeros((slots, runs, k), np.int64),
        np.zeros((slots, runs), np.int64),
    )


def rounding_constant(n: int, max_abs: float) -> Array:
    """Return C (1,): (v + C) − C is v rounded to a multiple of u; n samples, |v| <= max_abs.

    The n are all samples: so are the sums of parts of them multiples of one u.
    """
    if max_abs == 0 or not math.isfinite(max_abs):
        return np.zeros(1)
    u = 2.0 ** math.ceil(math.log2(n * max_abs)) / EXACT
    return np.full(1, 1.5 * 2.0**52 * u)  # the last bit of C is u


def padded(d: int) -> int:
    """Return the length of a row of sums: whole vectors."""
    return -(-d // WIDTH) * WIDTH


def add_move(module: Module) -> None:
    """Emit move(x, d, samples, before, after, count, constant, sums), a sample after the other.

    For each of `count` entries (int32): sample x[samples] leaves the sum `before` and joins the sum
    `after`. sums (k, padded(d)) float64 has a row −1. Reads d floats, changes 2·d sums.
    """
    with module.function("move", 8) as (e, x, d, samples, before, after, count, constant, sums):
        x, samples, before, after, constant, sums = map(
            e.pointer, (x, samples, before, after, constant, sums)
        )
        doubles = ir.VectorType(F64, WIDTH)
        C = e.b.load(constant, typ=F64)
        C = e.b.insert_element(ir.Constant(doubles, ir.Undefined), C, I32(0))
        C = e.b.shuffle_vector(C, C, ir.Constant(ir.VectorType(I32, WIDTH), None))
        row = (d + (WIDTH - 1)) // WIDTH * WIDTH
        whole = d // WIDTH * WIDTH

        with e.each(0, count) as i:  # short rows, far apart: fetched together, not one by one
            sample = e.b.sext(e.b.load(e.at(samples, i), align=4, typ=I32), I64)
            e.prefetch(e.at(x, d * sample))
        with e.each(0, count) as i:
            sample, old, new = (
                e.b.sext(e.b.load(e.at(a, i), align=4, typ=I32), I64)
                for a in (samples, before, after)
            )
            row_x = e.at(x, d * sample)
            leaves, joins = (
                e.b.gep(sums, [(row * cluster).value], source_etype=F64) for cluster in (old, new)
            )

            def part(j: Integer, rest: Integer | None) -> list[Value]:
                v = e.b.fpext(_load(e, row_x, j, rest), doubles)
                v = e.b.fsub(e.b.fadd(v, C), C)
                for start, change in ((joins, e.b.fadd), (leaves, e.b.fsub)):
                    at = e.b.gep(start, [j.value], source_etype=F64)
                    e.b.store(change(e.b.load(at, align=8, typ=doubles), v), at, align=8)
                return []

            e.loop(0, whole, [], lambda j, _: part(j, None), step=WIDTH)
            with e.when(d > whole):
                part(whole, d - whole)


def _load(e: Emitter, sample: Value, j: Integer, count: Integer | None) -> Value:
    """Load 4 floats from feature j on, or the first `count` of them and zeros."""
    floats = ir.VectorType(F32, WIDTH)
    if count is None:
        return e.b.load(e.at(sample, j), align=4, typ=floats)
    v = ir.Constant(floats, None)
    numbers = ir.Constant(ir.VectorType(I64, WIDTH), list(range(WIDTH)))
    lanes = e.b.insert_element(ir.Constant(numbers.type, ir.Undefined), count.value, I32(0))
    lanes = e.b.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(I32, WIDTH), None))
    mask = e.b.icmp_signed("<", numbers, lanes)
    return e._intrinsic("masked.load", floats, e.at(sample, j), I32(4), mask, v)


@jit()
def apply_assignment(
    kernel: int, x: Array, new: Array, labels: Array, moves: Array, to: Differences, slot: int,
    r: int,
) -> None:  # fmt: skip
    """Make the labels (m,) of samples x (m, d) in run r the new ones.

    What changed is added to the differences of the slot. moves (3, m) int32 is for work: samples,
    their old labels and their new ones.
    """
    changed = np.int64(0)  # 0 is a type of its own: `_move` would be compiled for it, too
    for start in range(0, len(x), LOOK):
        stop = min(len(x), start + LOOK)
        different = 0
        for i in range(start, stop):  # without a branch, so that it runs in lanes
            different |= labels[i] ^ new[i]
        if different:
            for i in range(start, stop):
                moves[0, changed], moves[1, changed], moves[2, changed] = i, labels[i], new[i]
                changed += labels[i] != new[i]
                labels[i] = new[i]
    _move(kernel, x, moves, changed, to, slot, r)


@jit()
def apply_assignment_panels(
    kernel: int, x: Array, new: Array, different: Array, labels: Array, moves: Array,
    to: Differences, slot: int, r: int,
) -> None:  # fmt: skip
    """As apply_assignment; different (⌈m/16⌉,) has a bit for each new label: others are skipped."""
    changed = np.int64(0)  # 0 is a type of its own: `_move` would be compiled for it, too
    for t in range((len(x) + LOOK - 1) // LOOK):
        start, bits = t * LOOK, np.int64(different[t])
        if start + LOOK > len(x):
            bits &= (1 << (len(x) - start)) - 1
        while bits:
            i = start + trailing_zeros(bits)
            moves[0, changed], moves[1, changed], moves[2, changed] = i, labels[i], new[i]
            labels[i] = new[i]
            changed += 1
            bits &= bits - 1  # without its lowest bit
    _move(kernel, x, moves, changed, to, slot, r)


@jit()
def _move(
    kernel: int, x: Array, moves: Array, changed: int, to: Differences, slot: int, r: int
) -> None:
    """Add the first `changed` moves to the differences."""
    counts, sums = to.counts[slot, r], to.sums[slot, r]
    to.changed[slot, r] += changed
    for m in range(changed):
        counts[moves[2, m]] += 1
        if moves[1, m] >= 0:
            counts[moves[1, m]] -= 1
    if changed:
        call(
            kernel,
            (
                x.ctypes.data, x.shape[1], moves[0].ctypes.data, moves[1].ctypes.data,
                moves[2].ctypes.data, changed, to.constant.ctypes.data, sums[1].ctypes.data,
            ),
        )  # fmt: skip


@jit()
def add_up(active: Array, to: Differences, sums: Array, counts: Array, changed: Array) -> None:
    """Add the differences of all slots to sums (R, k, d) and counts (R, k); every sum is exact."""
    _, k, d = sums.shape
    for r in active:
        changed[r] = to.changed[:, r].sum()
        for slot in range(len(to.sums)):
            for j in range(k):
                counts[r, j] += to.counts[slot, r, j]
                for f in range(d):
                    sums[r, j, f] += to.sums[slot, r, 1 + j, f]


@jit()
def inertia_around(middle: Array, centers: Array, sums: Array, counts: Array) -> float:
    """Return Σ_j n_j |c_j − m|² − 2 ⟨c_j − m, s_j − n_j m⟩ in float64; see restarts.py."""
    total = 0.0
    for j in range(len(centers)):
        for f in range(middle.size):
            c = centers[j, f] - middle[f]
            total += c * (counts[j] * c - 2 * (sums[j, f] - counts[j] * middle[f]))
    return total


@jit()
def max_abs_blocks(
    x: Array, bits: Array, middles: Array, max_abs: Array, scatter: Array, first: int, last: int
) -> None:
    """For blocks first … last − 1 of samples: the bits of max |x|, and Σ |x_i − m|².

    middles: m over and over, so that short samples make long loops; bits: x as int32.
    """
    flat, flat_bits, size = x.ravel(), bits.ravel(), middles.size
    for block in range(first, last):
        stop = min(flat.size, (block + 1) * BLOCK * x.shape[1])
        for i in range(block * BLOCK * x.shape[1], stop, size):
            part = flat[i : min(stop, i + size)]
            most, total = _max_abs_and_scatter(part, flat_bits[i:], middles)
            max_abs[block] = max(max_abs[block], most)
            scatter[block] += total


@jit(fastmath={"contract", "reassoc"})  # reassoc: partial sums, one a lane
def _max_abs_and_scatter(x: Array, bits: Array, middles: Array) -> Any:
    most, total = np.int32(0), 0.0
    for i in range(x.size):
        difference = np.float64(x[i]) - middles[i]
        total += difference * difference
        most = max(most, np.int32(bits[i] & FINITE))  # integers: a NaN is larger than any number
    return most, total
