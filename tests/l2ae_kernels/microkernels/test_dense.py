"""The dense products, and how their gradients are divided among threads."""

from itertools import pairwise
from threading import Lock

import numpy as np
import pytest

from l2ae_kernels.cpu.codegen.vectors import SETS, best
from l2ae_kernels.cpu.microkernels.calls import dense
from l2ae_kernels.cpu.microkernels.dense_gradients import DENSE_GRADIENT
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.program import Program, address
from l2ae_kernels.cpu.step.dense_weights import Addresses, WeightGradient, in_ranges_of_work
from l2ae_kernels.cpu.threads import MOST, threads

WORK = 1 << 40  # enough for any number of threads

pytestmark = pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")


def product(lanes, x, W, b, slope, gate=None, *, transposed):
    """y = finish(x W + b), of W (I, O) or, transposed, of its transpose."""
    (N, I), O = x.shape, len(b)
    y = np.full((N, O), np.nan, np.float32)
    slope, one = np.array([slope], np.float32), np.ones(1, np.float32)
    W = np.ascontiguousarray(W.T) if transposed else np.ascontiguousarray(W)
    gated = 0 if gate is None else address(gate)
    call = dense(
        N, I, O, address(x), address(W), address(b), address(y), transposed=transposed,
        one=address(one), slope=address(slope), gate=gated,
    )  # fmt: skip
    Program(library(SETS[lanes]), [call]).run(0, 1)
    return y


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("lanes", SETS)
def test_no_bit_of_a_column_depends_on_the_others(lanes, transposed):
    """With more outputs than inputs, groups of outputs come before the blocks of inputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((29, 600), dtype=np.float32)
    W = rng.standard_normal((600, 709), dtype=np.float32)
    b = rng.standard_normal(709, dtype=np.float32)
    gate = rng.standard_normal((29, 709), dtype=np.float32)
    wide = product(lanes, x, W, b, 0.25, gate, transposed=transposed)
    some = slice(100, 677)
    some_gate = np.ascontiguousarray(gate[:, some])
    few = product(lanes, x, W[:, some], b[some], 0.25, some_gate, transposed=transposed)
    np.testing.assert_array_equal(wide[:, some], few)
    sums = x.astype("f8") @ W + b
    expected = np.where(gate > 0, sums, 0.25 * sums)
    # a rounding for each product, for each block that is added, and some more
    bound = (600 + 10) * 2.0**-24 * (np.abs(x).astype("f8") @ np.abs(W) + np.abs(b))
    assert (np.abs(wide - expected) <= bound).all()


def gradient_calls(sizes, together):
    return [
        call
        for I, O in sizes
        for call in WeightGradient(0, 0, 0, 32, I, O, together).calls(Addresses(0, 0))
    ]


@pytest.mark.parametrize("count", range(1, MOST + 1))
def test_threads_get_ranges_of_about_equal_work(count):
    """Each call once; no thread has more than its share and one call."""
    calls = gradient_calls([(784, 500), (500, 2000), (2000, 10), (10, 2000), (500, 784)], 512)
    ranges, lock = [], Lock()

    def run(first, last):
        with lock:
            ranges.append((first, last))

    with threads(count):
        in_ranges_of_work(run, calls, WORK)
    ranges.sort()
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(calls)
    assert all(end == begin for (_, end), (begin, _) in pairwise(ranges))
    rows, columns = map(DENSE_GRADIENT.names.index, ("rows", "columns"))
    work = [int(call.row[rows] * call.row[columns]) for call in calls]
    shares = [sum(work[first:last]) for first, last in ranges]
    assert max(shares) <= sum(work) / count + max(work)
