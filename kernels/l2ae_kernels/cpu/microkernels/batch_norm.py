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

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import F32, F64, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Offset, Value
from l2ae_kernels.cpu.microkernels.program import FLOAT, Arguments
from l2ae_kernels.cpu.microkernels.split import column_panels

CHUNK = 64  # rows that are summed up before they are added to a sum of many rows, which rounds less

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
        x, all_x, part = _own(e, a, a.x, m), _micro_batch(e, a, a.all_x, m), _part(e, a, m)
        rows = _rows(a, m)
        count = e.splat(e.b.sitofp(rows.value, F32))

        def channels(c: Channels) -> None:
            def add(r: Integer, sums: list[Value]) -> list[Value]:
                row = c.load(x, r * a.C)
                c.store(row, all_x, r * a.C)
                return [e.b.fadd(s, v) for s, v in zip(sums, row, strict=True)]

            mean = [e.b.fdiv(s, count) for s in _sum(e, rows, c.zeros, add)]

            def add_square(r: Integer, sums: list[Value]) -> list[Value]:
                row = zip(c.load(x, r * a.C), mean, strict=True)
                differences = [e.b.fsub(v, center) for v, center in row]
                return [e.fma(d, d, s) for s, d in zip(sums, differences, strict=True)]

            c.store(mean, part)
            c.store(_sum(e, rows, c.zeros, add_square), part, a.C)

        _over_channels(e, a.C, channels)


def _statistics(module: Module) -> None:
    """Emit batch_statistics(arguments, 0): μ, 1/σ and γ/σ; the running statistics move."""
    with module.function("batch_statistics", 2) as (e, address, _):
        a = BATCH_STATISTICS.read(e, address)
        parts, statistics, gamma = (e.pointer(p) for p in (a.parts, a.statistics, a.gamma))
        running = e.pointer(a.running_mean), e.pointer(a.running_var)
        eps, rest = _wide(e, e.broadcast(e.pointer(a.eps))), e.broadcast(e.pointer(a.rest))
        all_rows = _float64(e, a.total * a.rows)

        def channels(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            def part(m: Integer, which: int) -> Value:
                return _wide(e, e.load(parts, (m * 2 + which) * a.C + i, mask))

            def add_mean(m: Integer, sums: list[Value]) -> list[Value]:
                return [e.fma(_float64(e, _rows(a, m)), part(m, 0), sums[0])]

            mean = e.b.fdiv(_sum_of_parts(e, a, 1, add_mean)[0], all_rows)

            def add_square(m: Integer, sums: list[Value]) -> list[Value]:
                d = e.b.fsub(part(m, 0), mean)
                between = e.b.fmul(_float64(e, _rows(a, m)), e.b.fmul(d, d))
                return [e.b.fadd(sums[0], e.b.fadd(part(m, 1), between))]

            variance = e.b.fdiv(_sum_of_parts(e, a, 1, add_square)[0], all_rows)
            one = ir.Constant(variance.type, [1.0] * e.lanes)
            inverse = e.b.fdiv(one, e.sqrt(e.b.fadd(variance, eps)))
            scale = e.b.fmul(_wide(e, e.load(gamma, i, mask)), inverse)
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
        x, y, beta = _micro_batch(e, a, a.all_x, m), _own(e, a, a.y, m), e.pointer(a.beta)
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

            e.loop(0, _rows(a, m), [], row)
            c.clear(y, _rows(a, m), a)

        _over_channels(e, a.C, channels)


def _sums(module: Module) -> None:
    """Emit batch_sums(arguments, m): dy is copied to all_dy, its sums are written to a part."""
    with module.function("batch_sums", 2) as (e, address, m):
        a = BATCH_SUMS.read(e, address)
        x, all_dy = (_micro_batch(e, a, p, m) for p in (a.all_x, a.all_dy))
        dy, statistics, part = _own(e, a, a.dy, m), e.pointer(a.statistics), _part(e, a, m)

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

            sums = _sum(e, _rows(a, m), c.zeros * 2, add)
            c.store(sums[: len(mean)], part)
            c.store(sums[len(mean) :], part, a.C)

        _over_channels(e, a.C, channels)


def _gradients(module: Module) -> None:
    """Emit batch_gradients(arguments, 0): dγ and dβ are written."""
    with module.function("batch_gradients", 2) as (e, address, _):
        a = BATCH_GRADIENTS.read(e, address)
        parts, inverse = e.pointer(a.parts), e.pointer(a.statistics + a.C * FLOAT)
        dgamma, dbeta = e.pointer(a.dgamma), e.pointer(a.dbeta)

        def channels(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            def add(m: Integer, sums: list[Value]) -> list[Value]:
                values = (_wide(e, e.load(parts, (m * 2 + k) * a.C + i, mask)) for k in (0, 1))
                return [e.b.fadd(s, v) for s, v in zip(sums, values, strict=True)]

            of_dy, of_products = _sum_of_parts(e, a, 2, add)
            along = e.b.fmul(of_products, _wide(e, e.load(inverse, i, mask)))
            e.store(e.b.fptrunc(of_dy, e.vector), dbeta, i, mask)
            e.store(e.b.fptrunc(along, e.vector), dgamma, i, mask)
            return []

        e.over_vectors(a.C, [], channels)


def _adjoint(module: Module) -> None:
    """Emit batch_norm_adjoint(arguments, m): dx of the x and dy that are kept."""
    with module.function("batch_norm_adjoint", 2) as (e, address, m):
        a = BATCH_NORM_ADJOINT.read(e, address)
        x, dy = (_micro_batch(e, a, p, m) for p in (a.all_x, a.all_dy))
        dx, statistics = _own(e, a, a.dx, m), e.pointer(a.statistics)
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

            e.loop(0, _rows(a, m), [], row)
            c.clear(dx, _rows(a, m), a)

        _over_channels(e, a.C, channels)


@dataclass(frozen=True)
class Channels:
    """Neighbouring channels, a few vectors side by side."""

    e: Emitter
    at: list[Integer]  # the first channel of each vector
    masks: list[Value | None]

    @property
    def zeros(self) -> list[Value]:
        """A vector of zeros for each vector."""
        return [self.e.zero] * len(self.at)

    def load(self, pointer: Value, row: Offset = 0) -> list[Value]:
        """Load these channels of the row that begins at float `row`."""
        return [
            self.e.load(pointer, at + row, mask)
            for at, mask in zip(self.at, self.masks, strict=True)
        ]

    def store(self, values: list[Value], pointer: Value, row: Offset = 0) -> None:
        """Store them."""
        for value, at, mask in zip(values, self.at, self.masks, strict=True):
            self.e.store(value, pointer, at + row, mask)

    def clear(self, y: Value, first: Integer, a: SimpleNamespace) -> None:
        """Let the rows from `first` on, to the end of a micro-batch, be 0."""

        def row(r: Integer, _: list[Value]) -> list[Value]:
            self.store(self.zeros, y, r * a.C)
            return []

        self.e.loop(first, a.samples * a.rows, [], row)


def _over_channels(e: Emitter, C: Integer, body: Callable[[Channels], None]) -> None:
    """Emit `body` for all C channels, as many vectors at a time as a tile has."""
    for panel in column_panels(e, C, e.index(0)):
        at = [panel.column + v * e.lanes for v in range(panel.vectors)]
        body(Channels(e, at, e.masks(panel.vectors, panel.lanes, panel.masked)))


def _rows(a: SimpleNamespace, m: Integer) -> Integer:
    """Rows of micro-batch m: fewer than of others, where the batch ends within it."""
    rows: Integer = a.samples.min(a.total - m * a.samples) * a.rows
    return rows


def _micro_batch(e: Emitter, a: SimpleNamespace, address: Integer, m: Integer) -> Value:
    """Where micro-batch m begins in what is kept of the batch."""
    return e.pointer(address + m * a.samples * a.rows * a.C * FLOAT)


def _own(e: Emitter, a: SimpleNamespace, address: Integer, m: Integer) -> Value:
    """Where micro-batch m begins in a buffer of the pass."""
    return e.pointer(address + m * a.batch * FLOAT)


def _part(e: Emitter, a: SimpleNamespace, m: Integer) -> Value:
    """Where the two sums of micro-batch m begin."""
    return e.pointer(a.parts + m * 2 * a.C * FLOAT)


def _sum(
    e: Emitter, rows: Integer, zeros: list[Value],
    add: Callable[[Integer, list[Value]], list[Value]],
) -> list[Value]:  # fmt: skip
    """Emit sums over the rows, CHUNK at a time: add(r, sums) adds those of row r."""

    def chunk(first: Integer, totals: list[Value]) -> list[Value]:
        sums = e.loop(first, (first + CHUNK).min(rows), zeros, add)
        return [e.b.fadd(total, s) for total, s in zip(totals, sums, strict=True)]

    return e.loop(0, rows, zeros, chunk, step=CHUNK)


def _sum_of_parts(
    e: Emitter, a: SimpleNamespace, sums: int, add: Callable[[Integer, list[Value]], list[Value]]
) -> list[Value]:
    """Emit sums in float64 over the parts of all micro-batches, in order."""
    zero = ir.Constant(ir.VectorType(F64, e.lanes), [0.0] * e.lanes)
    return e.loop(0, (a.total + a.samples - 1) // a.samples, [zero] * sums, add)


def _wide(e: Emitter, v: Value) -> Value:
    """A vector in float64."""
    return e.b.fpext(v, ir.VectorType(F64, e.lanes))


def _float64(e: Emitter, n: Integer) -> Value:
    """A vector of which every lane is n."""
    return e.splat(e.b.sitofp(n.value, F64))
