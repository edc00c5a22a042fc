"""Batch norm and its adjoint for a training step: micro-batches of rows of C floats.

μ and v are those of all R rows of a batch. So a pass over all micro-batches leaves sums of each
alone, of n rows, and one call between two passes makes of these what the next pass needs:

    batch_moments      m = Σ x/n,  S = Σ (x − m)²                            of a micro-batch
    batch_statistics   μ = Σ n m/R,  v = Σ (S + n (m − μ)²)/R,  σ = √(v + ε)       of all of them
    batch_norm         y = act(γ x̂ + β),  x̂ = (x − μ)/σ

    batch_sums         Σ dy,  Σ (x − μ) dy                                   of a micro-batch
    batch_gradients    dβ = Σ dy,  dγ = Σ x̂ dy                                     of all of them
    batch_norm_adjoint dx = γ (dy − (dβ + x̂ dγ)/R)/σ

S is the sum around the mean of the micro-batch, and v adds what the means differ by: no digit of v
is lost where |μ| ≫ σ, as Σ x² − R μ² would lose it. Sums of a micro-batch are in float32, those of
all in float64. The gate of the activation is in dy already.

The moments copy x, and the sums copy dy, to where those of the whole batch are kept; that may be
where they are.
Rows of samples that do not exist, behind the last one of a batch, are no part of any sum; y and dx
are 0 there, and so is all that they add to gradients.
"""

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import F32, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.batch_rows import (
    Channels,
    float64,
    kept_at,
    over_channels,
    own_at,
    part_at,
    rows_of,
    sum_of_parts,
    sum_over_rows,
    wide,
)  # fmt: skip
from l2ae_kernels.cpu.microkernels.program import FLOAT, Arguments

# `total` samples are a batch, `samples` a micro-batch; a sample has `rows` rows of C floats.
_SIZES = "samples rows C total"
# Of a micro-batch: x, y, dy, dx (samples, rows, C), `batch` floats before those of the next. Of
# all: all_x and all_dy, these; parts (micro-batches, 2, C); statistics (3, C): μ, 1/σ and γ/σ.
# eps, rest (1 − momentum) and slope are one float, all others (C,).
BATCH_MOMENTS = Arguments(f"x batch all_x parts {_SIZES}")
BATCH_STATISTICS = Arguments(f"parts statistics gamma eps running_mean running_var rest {_SIZES}")
BATCH_NORM = Arguments(f"all_x y batch statistics beta slope {_SIZES}")
BATCH_SUMS = Arguments(f"dy batch all_x all_dy statistics parts {_SIZES}")
BATCH_GRADIENTS = Arguments(f"parts statistics dgamma dbeta {_SIZES}")
BATCH_NORM_ADJOINT = Arguments(f"all_x all_dy dx batch statistics dgamma dbeta {_SIZES}")
KERNELS = {
    "batch_moments": BATCH_MOMENTS,
    "batch_statistics": BATCH_STATISTICS,
    "batch_norm": BATCH_NORM,
    "batch_sums": BATCH_SUMS,
    "batch_gradients": BATCH_GRADIENTS,
    "batch_norm_adjoint": BATCH_NORM_ADJOINT,
}


def add_batch_norms(module: Module) -> None:
    """Emit all kernels of batch norm; each takes the address of its arguments and a micro-batch."""
    for add in (_moments, _statistics, _normalize, _sums, _gradients, _adjoint):
        add(module)


def _moments(module: Module) -> None:
    """Emit batch_moments(arguments, m): x is copied to all_x, m and S are written to a part."""
    with module.function("batch_moments", 2) as (e, address, m):
        a = BATCH_MOMENTS.read(e, address)
        x, all_x, part = own_at(e, a, a.x, m), kept_at(e, a, a.all_x, m), part_at(e, a, m)
        rows = rows_of(a, m)
        count = e.splat(e.b.sitofp(rows.value, F32))

        def channels(c: Channels) -> None:
            def add(r: Integer, sums: list[Value]) -> list[Value]:
                row = c.load(x, r * a.C)
                c.store(row, all_x, r * a.C)
                return [e.b.fadd(s, v) for s, v in zip(sums, row, strict=True)]

            mean = [e.b.fdiv(s, count) for s in sum_over_rows(e, rows, c.zeros, add)]

            def add_square(r: Integer, sums: list[Value]) -> list[Value]:
                row = zip(c.load(x, r * a.C), mean, strict=True)
                differences = [e.b.fsub(v, center) for v, center in row]
                return [e.fma(d, d, s) for s, d in zip(sums, differences, strict=True)]

            c.store(mean, part)
            c.store(sum_over_rows(e, rows, c.zeros, add_square), part, a.C)

        over_channels(e, a.C, channels)


def _statistics(module: Module) -> None:
    """Emit batch_statistics(arguments, 0): μ, 1/σ and γ/σ; the running statistics move."""
    with module.function("batch_statistics", 2) as (e, address, _):
        a = BATCH_STATISTICS.read(e, address)
        parts, statistics, gamma = (e.pointer(p) for p in (a.parts, a.statistics, a.gamma))
        running = e.pointer(a.running_mean), e.pointer(a.running_var)
        eps, rest = wide(e, e.broadcast(e.pointer(a.eps))), e.broadcast(e.pointer(a.rest))
        all_rows = float64(e, a.total * a.rows)

        def channels(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            def part(m: Integer, which: int) -> Value:
                return wide(e, e.load(parts, (m * 2 + which) * a.C + i, mask))

            def add_mean(m: Integer, sums: list[Value]) -> list[Value]:
                return [e.fma(float64(e, rows_of(a, m)), part(m, 0), sums[0])]

            mean = e.b.fdiv(sum_of_parts(e, a, 1, add_mean)[0], all_rows)

            def add_square(m: Integer, sums: list[Value]) -> list[Value]:
                d = e.b.fsub(part(m, 0), mean)
                between = e.b.fmul(float64(e, rows_of(a, m)), e.b.fmul(d, d))
                return [e.b.fadd(sums[0], e.b.fadd(part(m, 1), between))]

            variance = e.b.fdiv(sum_of_parts(e, a, 1, add_square)[0], all_rows)
            one = ir.Constant(variance.type, [1.0] * e.lanes)
            inverse = e.b.fdiv(one, e.sqrt(e.b.fadd(variance, eps)))
            scale = e.b.fmul(wide(e, e.load(gamma, i, mask)), inverse)
            for k, value in enumerate((mean, inverse, scale)):
                e.store(e.b.fptrunc(value, e.vector), statistics, k * a.C + i, mask)
            for to, value in zip(running, (mean, variance), strict=True):
                before = e.load(to, i, mask)
                step = e.b.fmul(rest, e.b.fsub(e.b.fptrunc(value, e.vector), before))
                e.store(e.b.fadd(before, step), to, i, mask)
            return []

        e.over_vectors(a.C, [], channels)


def _normalize(module: Module) -> None:
    """Emit batch_norm(arguments, m): y of the x that is kept."""
    with module.function("batch_norm", 2) as (e, address, m):
        a = BATCH_NORM.read(e, address)
        x, y, beta = kept_at(e, a, a.all_x, m), own_at(e, a, a.y, m), e.pointer(a.beta)
        statistics, slope = e.pointer(a.statistics), e.broadcast(e.pointer(a.slope))

        def channels(c: Channels) -> None:
            mean, scale = c.load(statistics), c.load(statistics, 2 * a.C)
            numbers = [*zip(mean, scale, c.load(beta), strict=True)]

            def row(r: Integer, _: list[Value]) -> list[Value]:
                results = []
                for x_c, (center, factor, b) in zip(c.load(x, r * a.C), numbers, strict=True):
                    v = e.fma(factor, e.b.fsub(x_c, center), b)
                    results.append(e.where_positive(v, v, e.b.fmul(slope, v)))
                c.store(results, y, r * a.C)
                return []

            e.loop(0, rows_of(a, m), [], row)
            c.clear(y, rows_of(a, m), a)

        over_channels(e, a.C, channels)


def _sums(module: Module) -> None:
    """Emit batch_sums(arguments, m): dy is copied to all_dy, its sums are written to a part."""
    with module.function("batch_sums", 2) as (e, address, m):
        a = BATCH_SUMS.read(e, address)
        x, all_dy = (kept_at(e, a, p, m) for p in (a.all_x, a.all_dy))
        dy, statistics, part = own_at(e, a, a.dy, m), e.pointer(a.statistics), part_at(e, a, m)

        def channels(c: Channels) -> None:
            mean = c.load(statistics)

            def add(r: Integer, sums: list[Value]) -> list[Value]:
                row = c.load(dy, r * a.C)
                c.store(row, all_dy, r * a.C)
                of_dy, of_products = sums[: len(row)], sums[len(row) :]
                from_mean = [
                    e.b.fsub(v, center) for v, center in zip(c.load(x, r * a.C), mean, strict=True)
                ]
                return [
                    *(e.b.fadd(s, d) for s, d in zip(of_dy, row, strict=True)),
                    *(e.fma(v, d, s) for v, d, s in zip(from_mean, row, of_products, strict=True)),
                ]

            sums = sum_over_rows(e, rows_of(a, m), c.zeros * 2, add)
            c.store(sums[: len(mean)], part)
            c.store(sums[len(mean) :], part, a.C)

        over_channels(e, a.C, channels)


def _gradients(module: Module) -> None:
    """Emit batch_gradients(arguments, 0): dγ and dβ are written."""
    with module.function("batch_gradients", 2) as (e, address, _):
        a = BATCH_GRADIENTS.read(e, address)
        parts, inverse = e.pointer(a.parts), e.pointer(a.statistics + a.C * FLOAT)
        dgamma, dbeta = e.pointer(a.dgamma), e.pointer(a.dbeta)

        def channels(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            def add(m: Integer, sums: list[Value]) -> list[Value]:
                values = (wide(e, e.load(parts, (m * 2 + k) * a.C + i, mask)) for k in (0, 1))
                return [e.b.fadd(s, v) for s, v in zip(sums, values, strict=True)]

            of_dy, of_products = sum_of_parts(e, a, 2, add)
            along = e.b.fmul(of_products, wide(e, e.load(inverse, i, mask)))
            e.store(e.b.fptrunc(of_dy, e.vector), dbeta, i, mask)
            e.store(e.b.fptrunc(along, e.vector), dgamma, i, mask)
            return []

        e.over_vectors(a.C, [], channels)


def _adjoint(module: Module) -> None:
    """Emit batch_norm_adjoint(arguments, m): dx of the x and dy that are kept."""
    with module.function("batch_norm_adjoint", 2) as (e, address, m):
        a = BATCH_NORM_ADJOINT.read(e, address)
        x, dy = (kept_at(e, a, p, m) for p in (a.all_x, a.all_dy))
        dx, statistics = own_at(e, a, a.dx, m), e.pointer(a.statistics)
        dgamma, dbeta = e.pointer(a.dgamma), e.pointer(a.dbeta)
        all_rows = e.splat(e.b.sitofp((a.total * a.rows).value, F32))

        def channels(c: Channels) -> None:
            mean, inverse, scale = (c.load(statistics, k * a.C) for k in range(3))
            shift = [e.b.fdiv(d, all_rows) for d in c.load(dbeta)]
            along = [
                e.b.fdiv(e.b.fmul(d, factor), all_rows)
                for d, factor in zip(c.load(dgamma), inverse, strict=True)
            ]
            numbers = [*zip(mean, scale, shift, along, strict=True)]

            def row(r: Integer, _: list[Value]) -> list[Value]:
                results, both = [], (c.load(x, r * a.C), c.load(dy, r * a.C))
                for x_c, d, (center, factor, s, k) in zip(*both, numbers, strict=True):
                    taken = e.fma(k, e.b.fsub(x_c, center), s)  # what no row can change
                    results.append(e.b.fmul(factor, e.b.fsub(d, taken)))
                c.store(results, dx, r * a.C)
                return []

            e.loop(0, rows_of(a, m), [], row)
            c.clear(dx, rows_of(a, m), a)

        over_channels(e, a.C, channels)
