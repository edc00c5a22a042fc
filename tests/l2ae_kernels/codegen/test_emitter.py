"""The emitter's language, run by the machine code that it becomes, for every set of vectors."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen.assembly import Processor, compile_function
from l2ae_kernels.cpu.codegen.emitter import F64, Module
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import AVX2, AVX512, NEON, SETS
from l2ae_kernels.cpu.microkernels.dense_tile import shapes
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.tiles import product_tile, weight_tile

SET = pytest.mark.parametrize("vectors", SETS.values(), ids=list(SETS))


def build(vectors, arguments, body):
    """Compile one function whose body is `body(e, *arguments)`."""
    module = Module(vectors)
    with module.function("f", arguments) as (e, *values):
        body(e, *values)
    return Library(str(module.ir)).function("f", arguments)


def at(array):
    return array.ctypes.data


@SET
@pytest.mark.parametrize("count", [0, 1, 3, 4, 8, 15, 16, 17, 40])
def test_vectors_with_a_masked_rest_touch_nothing_else(vectors, count):
    def saxpy(e, n, a, x, y):
        a, x, y = map(e.pointer, (a, x, y))

        def vector(i, _, mask=None):
            e.store(e.fma(e.broadcast(a), e.load(x, i, mask), e.load(y, i, mask)), y, i, mask)
            return []

        e.over_vectors(n, [], vector)

    rng = np.random.default_rng(0)
    a, x, y = (rng.standard_normal(n).astype("f4") for n in (1, count, count + 20))
    expected = y.copy()
    expected[:count] += a * x
    build(vectors, 4, saxpy)(count, at(a), at(x), at(y))
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert np.array_equal(y[count:], expected[count:])


@SET
def test_carried_values_sums_and_doubles(vectors):
    def total(e, n, x, out):
        x, out = e.pointer(x), e.pointer(out)
        (s,) = e.loop(0, n, [e.zero], lambda i, s: [e.b.fadd(s[0], e.load(x, i))], step=e.lanes)
        e.b.store(e.b.fpext(e.sum_of_lanes(s), F64), out)

    x, out = np.arange(48, dtype="f4"), np.zeros(1)
    build(vectors, 3, total)(48, at(x), at(out))
    assert out[0] == 48 * 47 / 2
    build(vectors, 3, total)(0, at(x), at(out))
    assert out[0] == 0


@SET
def test_integers_calculate_as_in_python(vectors):
    cases = [(7, 3), (3, 7), (12, 4), (0, 5)]

    def calculate(e, a, b, out):
        a, b, out = a, b, e.pointer(out)
        results = [
            a + b, a - b, 2 - a, a * b, a // b, a % b, a.min(b), a.max(b),
            a.unless(a > b, 99), a.unless(a.equals(b), 98),
        ]  # fmt: skip
        for i, result in enumerate(results):
            e.b.store(result.value, e.at(out, 2 * i))  # an i64 is as long as two floats

    f, out = build(vectors, 3, calculate), np.zeros(10, np.int64)
    for a, b in cases:
        f(a, b, at(out))
        expected = [a + b, a - b, 2 - a, a * b, a // b, a % b, min(a, b), max(a, b)]
        assert list(out) == [*expected, 99 if a > b else a, 98 if a == b else a]


@SET
def test_loops_and_conditions(vectors):
    """y[i, j] = 1 where i > j, over a 5 × 3 grid, visited with a step of 2 along i."""

    def fill(e, rows, columns, y):
        y = e.pointer(y)
        with e.each(0, rows, 2) as i, e.each(0, columns) as j, e.when(i > j):
            e.store_one(e.b.fadd(e.load_one(y, i * columns + j), e.load_one(y, 15)), y, i * 3 + j)

    y = np.zeros(16, "f4")
    y[15] = 1
    build(vectors, 3, fill)(5, 3, at(y))
    grid = y[:15].reshape(5, 3)
    assert np.array_equal(grid, [[i > j and i % 2 == 0 for j in range(3)] for i in range(5)])


@SET
def test_activation_keeps_nan(vectors):
    def relu(e, x, y):
        v = e.load(e.pointer(x))
        e.store(e.where_positive(v, v, e.b.fmul(e.constant(0.5), v)), e.pointer(y))

    x = np.full(vectors.lanes, -2, "f4")
    x[:3] = np.nan, 3, 0
    y = np.zeros_like(x)
    build(vectors, 2, relu)(at(x), at(y))
    np.testing.assert_array_equal(y, np.where(x > 0, x, x / 2))
    assert np.isnan(y[0])


def test_unknown_functions_are_named():
    with pytest.raises(ValueError, match="no function 'absent'"):
        library(next(iter(SETS.values()))).function("absent", 2)


@pytest.mark.parametrize(
    ("vectors", "cpu"),
    [
        (AVX512, "znver4"), (AVX512, "icelake-server"), (AVX512, "sapphirerapids"),
        (AVX2, "haswell"), (NEON, "cortex-a76"),
    ],
)  # fmt: skip
def test_sums_of_the_largest_tile_stay_in_registers(vectors, cpu):
    """Code for other processors can be made and read, if not run."""
    for shape in shapes(vectors):
        product = partial(product_tile, masked=False, gated=False)
        assert not stack_in_innermost_loops(product, shape, cpu)
        for adam in (False, True):
            assert not stack_in_innermost_loops(
                partial(weight_tile, masked=False, adam=adam), shape, cpu
            )


def test_a_tile_that_is_too_large_would_be_seen():
    for shape, cpu in ((replace(AVX2, rows=9), "haswell"), (replace(AVX512, rows=8), "znver4")):
        assert stack_in_innermost_loops(
            partial(product_tile, masked=False, gated=False), shape, cpu
        )


def stack_in_innermost_loops(tile, shape, cpu):
    """How often the innermost loops of a tile that multiply write to the stack or read there."""
    module = Module(shape)
    name = tile(module, shape.rows, shape.columns)
    compiled = compile_function(exported(module, name), name, Processor.of(shape.name, cpu))
    loops = [loop for loop in compiled.loops if loop.fma >= shape.rows * shape.columns]
    assert loops
    return sum(loop.spills + loop.reloads for loop in loops)


def exported(module, name):
    """Call a function from one that can be called, so that it is not left out."""
    tile = module.ir.globals[name]
    with module.function("f", len(tile.args)) as (e, *arguments):
        e.call(name, *arguments)
    return module
