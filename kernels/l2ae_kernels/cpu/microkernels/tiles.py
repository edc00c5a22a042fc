"""The innermost loops. A tile of sums, rows × columns vectors, stays in registers all the while.

A step of `product_tile` loads one row of vectors of w and, for each row of the tile, one value of x
that is broadcast over all lanes:

    for k:  w_0 … w_V−1 = w[k]                    V loads, 64 bytes with AVX2
            for p:  a = x[p, k]                   P loads of one float
                    s[p, v] += a · w_v            P·V multiply-adds

With 6 × 2 vectors of 8 lanes that is 12 multiply-adds for 8 loads: a core with two units for each
has nothing to wait for. A GEMM of BLAS does the same; here the values x[p, k] need no copying into
columns first, since a window of an NHWC image is a few runs of consecutive values.
"""

from math import gcd
from typing import Any

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import F32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.adam import Adam, Moments

LINE = 16  # floats of a line of the caches
F32_ZERO = ir.Constant(F32, 0.0)


def product_tile(
    module: Module, rows: int, vectors: int, masked: bool, gated: bool, *, far: bool = False
) -> str:
    """Emit y = finish(start + x w) for `rows` samples and `vectors` · lanes columns.

    x of a sample is `runs` runs of `run` values, x_run apart; w is packed: run after run, w_run
    apart, a row of the tile's columns for each value. `start` is b or what y held before.

        finish(s) = s where it is positive, slope · s elsewhere          (not gated: an activation)
        finish(s) = s where gate is positive, slope · s elsewhere        (gated: its adjoint)

    `masked`: only the first `lanes` lanes of the last vector exist in start, gate and y.
    `far`: y and gate are not in the first-level cache; they are fetched while the products are
    summed, and `start` is added last.
    """
    P, V = rows, vectors
    name = f"product_{P}_{V}{'_masked' * masked}{'_gated' * gated}{'_far' * far}"
    if module.has(name):
        return name
    e: Emitter
    with module.function(name, 14, exported=False) as (e, *numbers):
        x, x_sample, runs, x_run, run, w, w_run = numbers[:7]
        start, start_sample, y, y_sample, gate, slope, lanes = numbers[7:]
        x, w, start, y, gate, slope = map(e.pointer, (x, w, start, y, gate, slope))
        masks = e.masks(V, lanes, masked)
        at = [p * x_sample for p in range(P)]  # first value of every sample

        def one_run(i: Integer, sums: list[Value]) -> list[Value]:
            x_i, w_i = e.at(x, i * x_run), e.at(w, i * w_run)
            samples = [e.at(x_i, at[p]) for p in range(P)]

            def step(k: Integer, sums: list[Value]) -> list[Value]:
                w_k = [e.load(w_i, k * (V * e.lanes) + v * e.lanes) for v in range(V)]
                broadcast = (e.broadcast(samples[p], k) for p in range(P))
                products = ((a, w) for a in broadcast for w in w_k)
                return [e.fma(a, w, s) for (a, w), s in zip(products, sums, strict=True)]

            return e.loop(0, run, sums, step)

        offsets = [(p, v * e.lanes, masks[v]) for p in range(P) for v in range(V)]

        def load_start() -> list[Value]:
            return [e.load(start, p * start_sample + c, mask) for p, c, mask in offsets]

        if far:
            for pointer in (y, gate) if gated else (y,):
                for p in range(P):
                    for line in range(0, V * e.lanes, LINE):
                        e.prefetch(pointer, p * y_sample + line)
                    e.prefetch(pointer, p * y_sample + ((V - 1) * e.lanes - 1) + lanes)
            sums = e.loop(0, runs, [e.zero] * len(offsets), one_run)
            sums = [e.b.fadd(s, first) for s, first in zip(sums, load_start(), strict=True)]
        else:
            sums = e.loop(0, runs, load_start(), one_run)
        factor = e.broadcast(slope)
        for s, (p, c, mask) in zip(sums, offsets, strict=True):
            offset = p * y_sample + c
            sign = e.load(gate, offset, mask) if gated else s
            e.store(e.where_positive(sign, s, e.b.fmul(factor, s)), y, offset, mask)
    return name


def gradient_tile(module: Module, rows: int, vectors: int, masked: bool) -> str:
    """Emit dW += Σ x dy for `rows` inputs and `vectors` · lanes outputs, over many positions.

    The sums are a tile of dW. A step takes one position: a row of vectors of dy, and `rows` values
    of x that lie side by side, each broadcast over all lanes. Positions lie on three axes (samples,
    heights, widths, in any order), each with a length and its strides in x and in dy, which is
    packed.
    """
    R, V = rows, vectors
    name = f"gradient_{R}_{V}{'_masked' * masked}"
    if module.has(name):
        return name
    e: Emitter
    with module.function(name, 14, exported=False) as (e, x, dy, *numbers):
        axes, (dW, dW_row, lanes) = (numbers[0:3], numbers[3:6], numbers[6:9]), numbers[9:]
        dW = e.pointer(dW)
        masks = e.masks(V, lanes, masked)

        def over(axes: Any, x: Value, dy: Value, sums: list[Value]) -> list[Value]:
            if not axes:
                return position(x, dy, sums)
            (length, x_step, dy_step), *inner = axes

            def body(i: Integer, sums: list[Value]) -> list[Value]:
                return over(inner, e.at(x, i * x_step), e.at(dy, i * dy_step), sums)

            return e.loop(0, length, sums, body)

        def position(x: Value, dy: Value, sums: list[Value]) -> list[Value]:
            dy_v = [e.load(dy, v * e.lanes) for v in range(V)]
            broadcast = (e.broadcast(x, r) for r in range(R))
            products = ((a, d) for a in broadcast for d in dy_v)
            return [e.fma(a, d, s) for (a, d), s in zip(products, sums, strict=True)]

        tile = [(r, v) for r in range(R) for v in range(V)]
        offsets = [(r * dW_row + v * e.lanes, masks[v]) for r, v in tile]
        for offset, _ in offsets:  # dW comes from far away: it is fetched while the sums are made
            e.prefetch(dW, offset, write=True)
        sums = over(axes, e.pointer(x), e.pointer(dy), [e.zero] * len(tile))
        for s, (offset, mask) in zip(sums, offsets, strict=True):
            e.store(e.b.fadd(e.load(dW, offset, mask), s), dW, offset, mask)
    return name


def weight_tile(module: Module, rows: int, vectors: int, masked: bool, *, adam: bool) -> str:
    """Emit g = Σ x dy over `samples` for `rows` inputs and `vectors` · lanes outputs of a dense
    layer.

    A sample has its `rows` values of x side by side, `x_step` after those of the sample before; dy
    is a packed panel. Sums start at 0, or at `start` where samples were `seen` (1) before.

    With `adam` the loop over samples is cut into pieces. In each, up to 64 bytes of p, m and v,
    which lie like `start`, are fetched; and where there is a tile to the `left` (1), a whole one
    whose sums lie at its place in g, Adam is applied to as much of it. So its divisions and roots,
    and the memory, take their time beside the multiply-adds.
    """
    R, V = rows, vectors
    name = f"weight_{R}_{V}{'_masked' * masked}{'_adam' * adam}"
    if module.has(name):
        return name
    e: Emitter
    with module.function(name, 15 if adam else 10, exported=False) as (e, *numbers):
        x, x_step, dy, samples, seen, start, row, g, g_row, lanes, *rest = numbers
        x, dy, start, g = map(e.pointer, (x, dy, start, g))
        masks = e.masks(V, lanes, masked)

        def sample(n: Integer, sums: list[Value]) -> list[Value]:
            dy_n = [e.load(dy, n * (V * e.lanes) + v * e.lanes) for v in range(V)]
            x_n = e.at(x, n * x_step)
            broadcast = (e.broadcast(x_n, r) for r in range(R))
            products = ((a, d) for a in broadcast for d in dy_n)
            return [e.fma(a, d, s) for (a, d), s in zip(products, sums, strict=True)]

        tile = [(r, v) for r in range(R) for v in range(V)]

        def load_start(_: Integer, __: list[Value]) -> list[Value]:
            return [e.load(start, r * row + v * e.lanes, masks[v]) for r, v in tile]

        # `start` is not touched where no samples were seen
        sums = e.loop(0, seen, [e.zero] * len(tile), load_start)
        first = e.index(0)  # of the samples that no piece takes
        if adam:
            left, *moments, adam_numbers = rest
            to = Moments(*map(e.pointer, moments))
            columns = module.vectors.columns  # of the tile to the left
            line = gcd(columns, LINE // e.lanes)  # vectors of a piece
            steps = samples // (R * columns // line)
            first = steps * (R * columns // line)

            def piece(i: Integer, sums: list[Value]) -> list[Value]:
                r, column = i * line // columns, i * line % columns * e.lanes  # a place in a tile
                for pointer in to:  # dy fills the first-level cache where vectors are wide
                    e.prefetch(pointer, r * row + column, level=2)
                with e.when(left > 0):
                    step = Adam(e, e.pointer(adam_numbers))
                    for v in range(line):
                        at = column + (v - columns) * e.lanes
                        step.apply(e.load(g, r * g_row + at), to, r * row + at)
                return e.loop(i * steps, (i + 1) * steps, sums, sample)

            sums = e.loop(0, R * columns // line, sums, piece)
        for s, (r, v) in zip(e.loop(first, samples, sums, sample), tile, strict=True):
            e.store(s, g, r * g_row + v * e.lanes, masks[v])
    return name


def dot_tile(module: Module, rows: int, gated: bool) -> str:
    """Emit y = finish(b + x · w) for `rows` samples and one output, lanes along the sum.

    For few channels, where most lanes of `product_tile` would be empty. Runs, slope, gate and
    finish as there; w is one value a step.
    """
    P = rows
    name = f"dot_{P}{'_gated' * gated}"
    if module.has(name):
        return name
    e: Emitter
    with module.function(name, 12, exported=False) as (e, *numbers):
        x, x_sample, runs, x_run, run, w, w_run, b, y, y_sample, gate, slope = numbers
        x, w, b, y, gate, slope = map(e.pointer, (x, w, b, y, gate, slope))
        at = [p * x_sample for p in range(P)]
        whole = run // e.lanes * e.lanes
        rest = e.mask_first(run - whole)

        def one_run(i: Integer, sums: list[Value]) -> list[Value]:
            x_i, w_i = e.at(x, i * x_run), e.at(w, i * w_run)
            samples = [e.at(x_i, at[p]) for p in range(P)]

            def step(k: Integer, sums: list[Value], mask: Value | None = None) -> list[Value]:
                w_k = e.load(w_i, k, mask)
                return [e.fma(e.load(samples[p], k, mask), w_k, sums[p]) for p in range(P)]

            sums = e.loop(0, whole, sums, step, step=e.lanes)
            return e.loop(whole, run, sums, lambda k, sums: step(k, sums, rest), step=e.lanes)

        sums = e.loop(0, runs, [e.zero] * P, one_run)
        for p, s in enumerate(sums):
            total = e.b.fadd(e.load_one(b), e.sum_of_lanes(s))
            scaled = e.b.fmul(e.load_one(slope), total)
            offset = p * y_sample
            sign = e.load_one(gate, offset) if gated else total
            positive = e.b.fcmp_ordered(">", sign, F32_ZERO)
            e.store_one(e.b.select(positive, total, scaled), y, offset)
    return name
