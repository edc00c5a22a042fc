"""What a training step does between its products: Eq. 4 and its adjoint, Eq. 3, sums of shards."""

from l2ae_kernels.cpu.codegen.emitter import F32, F64, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.microkernels.program import Arguments

# z, u, du, dz (samples, D); inverse (samples,) holds 1/n; eps2 is one float, ε²
NORMALIZE = Arguments("z u inverse samples D eps2")
NORMALIZE_ADJOINT = Arguments("u inverse du dz samples D")
# y and x (samples, rows, columns) and d with strides; `scale` is one float, `loss` one double, or,
# with `loss_sample` 1, one for each sample
SQUARED_ERROR = Arguments(
    "y x x_sample x_row d d_sample d_row samples rows columns total scale loss loss_sample"
)
REDUCE = Arguments("shards shard count sum chunk")


def add_normalize(module: Module) -> None:
    """Emit normalize(arguments, m): n = √(|z|² + ε²), u = z / n."""
    with module.function("normalize", 2) as (e, address, _):
        a = NORMALIZE.read(e, address)
        z, u, inverse = (e.pointer(p) for p in (a.z, a.u, a.inverse))
        with e.each(0, a.samples) as n:
            row = n * a.D
            square = _dot(e, a.D, e.at(z, row), e.at(z, row))
            root = e.sqrt(e.b.fadd(square, e.load_one(e.pointer(a.eps2))))
            factor = e.b.fdiv(F32(1.0), root)
            e.store_one(factor, inverse, n)
            with e.each(0, a.D) as j:
                e.store_one(e.b.fmul(e.load_one(z, row + j), factor), u, row + j)


def add_normalize_adjoint(module: Module) -> None:
    """Emit normalize_adjoint(arguments, m): dz = (du − u ⟨u, du⟩) / n."""
    with module.function("normalize_adjoint", 2) as (e, address, _):
        a = NORMALIZE_ADJOINT.read(e, address)
        u, inverse, du, dz = (e.pointer(p) for p in (a.u, a.inverse, a.du, a.dz))
        with e.each(0, a.samples) as n:
            row = n * a.D
            inner = _dot(e, a.D, e.at(u, row), e.at(du, row))
            factor = e.load_one(inverse, n)
            with e.each(0, a.D) as j:
                along = e.b.fmul(e.load_one(u, row + j), inner)
                across = e.b.fsub(e.load_one(du, row + j), along)
                e.store_one(e.b.fmul(across, factor), dz, row + j)


def add_squared_error(module: Module) -> None:
    """Emit squared_error(arguments, m): loss += Σ (y − x)², d = scale (y − x); see Eq. 3.

    Samples from `total` on do not exist: their d is 0, and so is all that they add to gradients.
    A row is summed in float32, rows are summed in float64.
    """
    with module.function("squared_error", 2) as (e, address, m):
        a = SQUARED_ERROR.read(e, address)
        y, x, d, scale = (e.pointer(p) for p in (a.y, a.x, a.d, a.scale))
        exist = a.total - m * a.samples
        with e.each(0, a.samples) as n, e.each(0, a.rows) as r:
            factor = e.splat(e.b.select(exist > n, e.load_one(scale), F32(0.0)))
            keep = e.splat(e.b.select(exist > n, F32(1.0), F32(0.0)))
            y_row = e.at(y, (n * a.rows + r) * a.columns)
            x_row = e.at(x, n * a.x_sample + r * a.x_row)
            d_row = e.at(d, n * a.d_sample + r * a.d_row)

            def vector(i: Integer, sums: list[Value], mask: Value | None = None) -> list[Value]:
                residual = e.b.fsub(e.load(y_row, i, mask), e.load(x_row, i, mask))
                e.store(e.b.fmul(factor, residual), d_row, i, mask)
                return [e.fma(e.b.fmul(keep, residual), residual, sums[0])]

            sums = e.over_vectors(a.columns, [e.zero], vector)
            row_sum = e.b.fpext(e.sum_of_lanes(sums[0]), F64)
            loss = e.pointer(a.loss + n * a.loss_sample * 8)
            e.b.store(e.b.fadd(e.b.load(loss, typ=F64), row_sum), loss)


def add_reduce(module: Module) -> None:
    """Emit reduce(arguments, m): chunk m of sum = Σ over shards, in order; shards become 0."""
    with module.function("reduce", 2) as (e, address, m):
        a = REDUCE.read(e, address)
        shards, out = e.pointer(a.shards), e.pointer(a.sum)
        first = m * a.chunk
        length = a.chunk.min(a.shard - first)

        def vector(i: Integer, _: list[Value], mask: Value | None = None) -> list[Value]:
            at = first + i

            def add_shard(k: Integer, sums: list[Value]) -> list[Value]:
                offset = k * a.shard + at
                value = e.load(shards, offset, mask)
                e.store(e.zero, shards, offset, mask)
                return [e.b.fadd(sums[0], value)]

            e.store(e.loop(0, a.count, [e.zero], add_shard)[0], out, at, mask)
            return []

        e.over_vectors(length, [], vector)


def _dot(e: Emitter, length: Integer, a: Value, b: Value) -> Value:
    """Emit ⟨a, b⟩ of two runs of `length` floats, as a scalar."""

    def vector(i: Integer, sums: list[Value], mask: Value | None = None) -> list[Value]:
        return [e.fma(e.load(a, i, mask), e.load(b, i, mask), sums[0])]

    return e.sum_of_lanes(e.over_vectors(length, [e.zero], vector)[0])
