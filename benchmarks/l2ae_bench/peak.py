"""What this machine can do: multiply-adds in registers, and the largest product of its BLAS.

    gflop-fma     independent sums in registers, nothing read from memory: the ceiling of a kernel
    gflop-sgemm   NumPy's product of two square matrices: what a library makes of it

Both are given as milliseconds for 10⁹ floating-point operations.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from l2ae_bench.comparison import OURS, Comparison, Contender, Measurement, compare
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors, get_vectors
from l2ae_kernels.cpu.threads import WORTH_A_THREAD, in_ranges

CHAINS = 14  # independent sums: two units that each take four cycles need eight
STEPS = 1 << 16  # multiply-adds of each chain in one item
ITEMS = 64  # that the threads share
SIDE = 1536  # of the square matrices


def rows(threads: int, repeats: int) -> list[Measurement]:
    """Time both; no FMA loop where there are no vectors to emit for."""
    found = []
    for workload, (contender, flop) in contenders().items():
        row = compare(workload, threads, Comparison({OURS: contender}), repeats)
        found.append(Measurement(workload, threads, round(row.ours_ms * 1e9 / flop, 6), {}))
    return found


def contenders() -> dict[str, tuple[Contender, float]]:
    """Return what to time, and how many floating-point operations it makes."""
    rng = np.random.default_rng(0)
    A, B = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    found: dict[str, tuple[Contender, float]] = {}
    vectors = get_vectors()
    if vectors is not None:
        sums = np.empty(CHAINS * vectors.lanes, np.float32)
        loop = partial(in_ranges, fma_loop(vectors), ITEMS, ITEMS * WORTH_A_THREAD)
        flop = 2.0 * ITEMS * STEPS * CHAINS * vectors.lanes
        found["gflop-fma"] = (lambda: loop(sums.ctypes.data), flop)
    found["gflop-sgemm"] = (partial(np.matmul, A, B, out=np.empty_like(A)), 2.0 * SIDE**3)
    return found


@cache
def fma_loop(vectors: Vectors) -> Callable[[int, int, int], None]:
    """Return a function of (address, first, last) that makes STEPS steps of every chain an item.

    A chain is s ← (s + 1)/2. The sums go to the address, so that none can be left out.
    """
    module = Module(vectors)
    with module.function("fma_loop", 3) as (e, address, first, last):
        half, out = e.constant(0.5), e.pointer(address)

        def step(_: Integer, sums: list[Value]) -> list[Value]:
            return [e.fma(half, s, half) for s in sums]

        start = [e.constant(float(i)) for i in range(CHAINS)]
        for i, s in enumerate(e.loop(0, (last - first) * STEPS, start, step)):
            e.store(s, out, i * e.lanes)
    function: Callable[[int, int, int], None] = Library(str(module.ir)).function("fma_loop", 3)
    return function
