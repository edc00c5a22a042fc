"""Dense layers by AMX: where sums are exact they are equal, else as near as the parts allow."""

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen import amx_permission
from l2ae_kernels.cpu.codegen.vectors import AMX, AVX512
from l2ae_kernels.cpu.microkernels import amx_dense
from l2ae_kernels.cpu.microkernels.calls import dense
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.program import Program, address
from l2ae_kernels.cpu.numba.optim import adam_numbers
from l2ae_kernels.cpu.step.dense_weights import (
    Addresses,
    WeightGradient,
    gradient_workspace,
    kernel,
    tile_floats,
)
from l2ae_kernels.cpu.step.memory import aligned
from l2ae_kernels.stages import AdamSettings

pytestmark = pytest.mark.skipif(
    bool(amx_permission.missing()), reason=f"AMX: {amx_permission.missing()}"
)
NAMES = pytest.mark.parametrize("name", AMX)
ONE = np.ones(1, np.float32)
SIZES = [  # samples, inputs, outputs: around tiles, blocks and groups, and beyond
    (1, 1, 1), (16, 32, 16), (17, 33, 17), (31, 31, 15), (33, 64, 32), (5, 100, 129), (40, 513, 10),
    (257, 40, 33), (300, 1030, 140), (64, 2, 256),
]  # fmt: skip


def product(vectors, x, W, b, slope, gate=None, *, transposed=False):
    """y = finish(x W + b); NaN is where the kernel has written nothing."""
    (N, I), O = x.shape, len(b)
    y = np.full((N, O), np.nan, np.float32)
    slope = np.array([slope], np.float32)
    W = np.ascontiguousarray(W.T if transposed else W)
    workspace = aligned(amx_dense.workspace_floats(vectors.parts or 1))
    workspace[:] = np.nan
    call = dense(
        N, I, O, address(x), address(W), address(b), address(y), transposed=transposed,
        one=address(ONE), slope=address(slope), gate=0 if gate is None else address(gate),
        workspace=address(workspace),
    )  # fmt: skip
    call = call._replace(kernel=kernel(call.kernel, vectors.parts))
    Program(library(vectors), [call]).run(0, 1)
    return y


class Gradients:
    """dW and db of x (N, I) and dy (N, O), or Adam with them."""

    def __init__(self, vectors, x, dy):
        self.library, self.x, self.dy = library(vectors), x, dy
        (N, I), O = x.shape, dy.shape[1]
        self.dW, self.db = np.full((I, O), np.nan, np.float32), np.full(O, np.nan, np.float32)
        tiles = aligned(tile_floats(I, N, vectors.parts))
        tiles[:] = np.nan
        weights = WeightGradient(
            address(tiles), address(dy), address(ONE), N, I, O, vectors.outputs, vectors.parts
        )
        workspace = aligned(gradient_workspace(vectors))
        workspace[:] = np.nan
        for first in range(0, N, 64):  # as threads do
            rows = x[first : first + 64]
            self.run(weights.tiles(address(rows), len(rows), first), workspace)
        self.weights, self.workspace, self.tiles = weights, workspace, tiles

    def run(self, calls, workspace):
        program = Program(self.library, calls)
        program.run_calls(0, len(program.calls), address(workspace))

    def write(self):
        self.run(self.weights.calls(Addresses(address(self.dW), address(self.db))), self.workspace)
        return self.dW, self.db

    def adam(self, step):
        """W, b and their moments after a step of Adam from numbers of a fixed seed."""
        rng = np.random.default_rng(1)
        shapes = [self.dW.shape, self.db.shape] * 3
        arrays = [rng.random(shape, dtype=np.float32) for shape in shapes]
        numbers = np.zeros(7, np.float32)
        numbers[:] = adam_numbers(AdamSettings(variant="torch"), step)
        W, m, v = (Addresses(*map(address, arrays[i : i + 2])) for i in (0, 2, 4))
        sums = Addresses(address(self.dW), address(self.db))
        self.run(self.weights.adam_calls(sums, W, m, v, address(numbers)), self.workspace)
        return arrays


def whole_numbers(rng, *shape):
    """Numbers that a bfloat16 has, whose products and sums a float32 has."""
    return rng.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@NAMES
def test_exact_products_are_equal(name, size, transposed):
    (N, I, O), rng = size, np.random.default_rng(0)
    x, W, b, gate = (whole_numbers(rng, *shape) for shape in ((N, I), (I, O), (O,), (N, O)))
    sums = x.astype("f8") @ W + b
    y = product(AMX[name], x, W, b, 0.5, transposed=transposed)
    np.testing.assert_array_equal(y, np.where(sums > 0, sums, 0.5 * sums))
    y = product(AMX[name], x, W, b, 0.5, gate, transposed=transposed)
    np.testing.assert_array_equal(y, np.where(gate > 0, sums, 0.5 * sums))


@pytest.mark.parametrize("size", [*SIZES, (600, 17, 20)], ids=str)
@NAMES
def test_exact_gradients_are_equal_and_so_is_adam(name, size):
    (N, I, O), rng = size, np.random.default_rng(0)
    x, dy = whole_numbers(rng, N, I), whole_numbers(rng, N, O)
    dW, db = Gradients(AMX[name], x, dy).write()
    np.testing.assert_array_equal(dW, x.T.astype("f8") @ dy)
    np.testing.assert_array_equal(db, dy.astype("f8").sum(0))
    ours, theirs = (Gradients(v, x, dy).adam(3) for v in (AMX[name], AVX512))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def error(y, exact, scale):
    return float(np.sqrt(np.mean(((y - exact) / scale) ** 2)))


def errors(vectors, rng):
    """The errors of y, dx and dW, relative to a sum of as many random terms."""
    x, W, dy = (rng.standard_normal(s, dtype="f4") for s in ((200, 600), (600, 150), (200, 150)))
    wide, W8, dy8 = x.astype("f8"), W.astype("f8"), dy.astype("f8")
    y = product(vectors, x, W, np.zeros(150, "f4"), 1.0)
    dx = product(vectors, dy, W.T, np.zeros(600, "f4"), 1.0, transposed=True)
    dW, _ = Gradients(vectors, x, dy).write()
    return [
        error(y, wide @ W8, np.sqrt(600)),
        error(dx, dy8 @ W8.T, np.sqrt(150)),
        error(dW, wide.T @ dy8, np.sqrt(200)),
    ]


def test_three_products_keep_sixteen_bits_and_six_are_as_near_as_float32():
    three, six, float32 = (
        errors(vectors, np.random.default_rng(0)) for vectors in (*AMX.values(), AVX512)
    )
    assert max(three) < 2.0**-17
    assert all(s < f for s, f in zip(six, float32, strict=True))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@NAMES
def test_what_is_not_finite_reaches_its_own_sums_alone(name, odd):
    rng = np.random.default_rng(0)
    x, W, dy = whole_numbers(rng, 40, 50), whole_numbers(rng, 50, 20), whole_numbers(rng, 40, 20)
    x[3, 7] = odd
    W[W == 0] = 1
    y = product(AMX[name], x, W, np.zeros(20, "f4"), 1.0)
    assert not np.isfinite(y[3]).any()
    assert np.isfinite(np.delete(y, 3, axis=0)).all()
    dW, _ = Gradients(AMX[name], x, dy).write()
    assert not np.isfinite(dW[7]).any()
    assert np.isfinite(np.delete(dW, 7, axis=0)).all()


@NAMES
def test_numbers_of_any_size(name):
    """Parts of a number are as far below it as it is itself from 1."""
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((33, 70), dtype="f4"), rng.standard_normal((70, 20), dtype="f4")
    y = product(AMX[name], x, W, np.zeros(20, "f4"), 1.0)
    for scale in (2.0**-90, 2.0**90):
        s = np.float32(scale)
        np.testing.assert_array_equal(product(AMX[name], x * s, W, np.zeros(20, "f4"), 1.0), y * s)
