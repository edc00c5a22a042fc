"""The kernels of long samples: lanes are 16 centers, rows are samples, read where they lie."""

from llvmlite import ir

from l2ae_kernels.cpu.codegen.emitter import I32, Emitter, Module
from l2ae_kernels.cpu.codegen.integer import I64, Integer, Value
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS, INFINITY, ROWS, squared_distances


def add_long(module: Module) -> None:
    """Emit long(x, d, list, count, packed, nearest, second, labels), lanes are 16 centers.

    For the samples x[list[0 … count − 1]], where count is a multiple of the rows of a tile: the
    two lowest squared distances to the centers packed (d, 16), and the column of the lowest, int32;
    NaN counts as infinite.
    Per sample: reads d floats, per tile 16·d of the centers; writes 3 numbers.
    """
    with module.function("long", 8) as (e, x, d, samples, count, packed, nearest, second, labels):
        x, samples, packed = map(e.pointer, (x, samples, packed))
        nearest, second, labels = map(e.pointer, (nearest, second, labels))
        most = ROWS[e.module.vectors.name]

        def tile(i: Integer, _: list[Value]) -> list[Value]:
            rows = [_row(e, x, d, samples, i + p) for p in range(most)]
            after = (i + most).min(count - most)
            coming = tuple(_row(e, x, d, samples, after + p) for p in range(most))
            for p, sums in enumerate(squared_distances(e, rows, packed, d, coming)):
                sums = [_lower(e, s, e.constant(INFINITY)) for s in sums]  # NaN is not lower
                low, next_low = _two_lowest(e, sums)
                e.store_one(low, nearest, i + p)
                e.store_one(next_low, second, i + p)
                e.store_one(_first_equal(e, sums, low), labels, i + p)
            return []

        e.loop(0, count, [], tile, step=most)


def add_long_all(module: Module) -> None:
    """Emit long_all(x, d, list, count, packed, out): all distances, out (count, 16)."""
    with module.function("long_all", 6) as (e, x, d, samples, count, packed, out):
        x, samples, packed, out = map(e.pointer, (x, samples, packed, out))
        most = ROWS[e.module.vectors.name]

        def tile(i: Integer, _: list[Value]) -> list[Value]:
            rows = [_row(e, x, d, samples, i + p) for p in range(most)]
            for p, sums in enumerate(squared_distances(e, rows, packed, d)):
                for v, s in enumerate(sums):
                    e.store(s, out, (i + p) * COLUMNS + v * e.lanes)
            return []

        e.loop(0, count, [], tile, step=most)


def _row(e: Emitter, x: Value, d: Value, samples: Value, i: Value) -> Value:
    """Return the pointer to row samples[i] of x; the list is int32."""
    number = e.b.load(e.at(samples, i), align=4, typ=I32)
    return e.at(x, d * e.b.sext(number, I64))


def _two_lowest(e: Emitter, sums: list[Value]) -> tuple[Value, Value]:
    """Return the lowest and the second lowest of all lanes; of two equals both."""
    low, high = sums[0], e.constant(INFINITY)
    for s in sums[1:]:
        high = _lower(e, high, _higher(e, low, s))
        low = _lower(e, low, s)
    step = e.lanes // 2
    while step:
        rotated = ir.Constant(
            ir.VectorType(I32, e.lanes), [(i + step) % e.lanes for i in range(e.lanes)]
        )
        other, other_high = (e.b.shuffle_vector(v, v, rotated) for v in (low, high))
        high = _lower(e, _lower(e, high, other_high), _higher(e, low, other))
        low = _lower(e, low, other)
        step //= 2
    return e.b.extract_element(low, I32(0)), e.b.extract_element(high, I32(0))


def _first_equal(e: Emitter, sums: list[Value], value: Value) -> Value:
    """Return the first column (i32) that has this value, which is there."""
    wanted, found = e.splat(value), I32(0)
    for v, s in enumerate(sums):
        equal = e.b.bitcast(e.b.fcmp_ordered("==", s, wanted), ir.IntType(e.lanes))
        bits = e.b.zext(equal, I32)
        found = e.b.or_(found, e.b.shl(bits, I32(v * e.lanes)))
    return e.b.cttz(found, ir.Constant(ir.IntType(1), 1))


def _lower(e: Emitter, a: Value, b: Value) -> Value:
    return e.b.select(e.b.fcmp_ordered("<", a, b), a, b)


def _higher(e: Emitter, a: Value, b: Value) -> Value:
    return e.b.select(e.b.fcmp_ordered(">", a, b), a, b)
