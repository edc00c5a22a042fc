"""What this machine can do: multiply-adds, the largest product of its BLAS, reads and writes.

    gflop-fma     independent sums in registers, nothing read from memory: the ceiling of a kernel
    gflop-sgemm   NumPy's product of two square matrices: what a library makes of it
    triad-SIZE    a = b + s c over arrays of SIZE bytes together, from those that stay in the
                  first cache to those that no cache holds (as in STREAM: 12 bytes an element)

All are given as milliseconds for 10⁹ floating-point operations, or bytes.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median

import numpy as np

from l2ae_bench.comparison import OURS, Contender, Measurement, measure
from l2ae_bench.work import FMA, GIGA, SGEMM, Work, triad_name
from l2ae_kernels.cpu.codegen.emitter import Module
from l2ae_kernels.cpu.codegen.integer import Integer, Value
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors, get_vectors
from l2ae_kernels.cpu.threads import WORTH_A_THREAD, in_ranges

CHAINS = 14  # independent sums: two units that each take four cycles need eight
STEPS = 1 << 14  # multiply-adds of each chain in one item: a call is shorter than a slice of time
ITEMS = 64  # that the threads share
SIDE = 1536  # of the square matrices
LINE = 16  # floats that a thread takes at a time: no two threads write to one line
SIZES = tuple(1 << power for power in (*range(14, 25, 2), 25, 26))  # 16 KiB … 64 MiB
MEMORY = 1 << 29  # at least, for memory; STREAM asks for arrays of four times the caches each
MOST_MEMORY = 1 << 31
CALL = 1 << 24  # bytes that a call of a triad moves at least: small arrays are passed many times
SECONDS = 0.05  # of timed calls in a repeat
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


def rows(threads: int, repeats: int) -> list[Measurement]:
    """Time all; only the BLAS where there are no vectors to emit for.

    The fastest repeat is the ceiling: it is what the machine can do, whatever else is at work. The
    spread goes on to the median.
    """
    return [
        _row(
            workload, threads, measure({OURS: call}, repeats, threads, seconds=SECONDS)[OURS], work
        )
        for workload, (call, work) in contenders().items()
    ]


def _row(workload: str, threads: int, seconds: list[float], work: Work) -> Measurement:
    scale = GIGA / work.amount
    fastest, middle = (round(1e3 * scale * s, 6) for s in (min(seconds), median(seconds)))
    return Measurement(workload, threads, fastest, {}, ours_spread=(fastest, middle),
                       work=work.times(scale))  # fmt: skip


def contenders() -> dict[str, tuple[Contender, Work]]:
    """Return what to time, and what each does."""
    rng = np.random.default_rng(0)
    A, B = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    found: dict[str, tuple[Contender, Work]] = {}
    vectors = get_vectors()
    if vectors is not None:
        sums = np.empty(CHAINS * vectors.lanes, np.float32)
        loop = partial(in_ranges, fma_loop(vectors), ITEMS, ITEMS * WORTH_A_THREAD)
        work = Work(2.0 * ITEMS * STEPS * CHAINS * vectors.lanes, 0.0)
        found[FMA] = (lambda: loop(sums.ctypes.data), work)
    product = Work(2.0 * SIDE**3, 3.0 * A.nbytes)
    found[SGEMM] = (partial(np.matmul, A, B, out=np.empty_like(A)), product)
    if vectors is not None:
        for size in (*SIZES, memory_size()):
            found[triad_name(size)] = _triad(vectors, size)
    return found


def memory_size() -> int:
    """Return the bytes of arrays that no cache holds, a power of two."""
    try:
        last = int(CACHE.read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):  # another system, or none that says
        last = 0
    needed = max(MEMORY, 12 * last)
    return int(min(1 << (needed - 1).bit_length(), MOST_MEMORY))


def _triad(vectors: Vectors, size: int) -> tuple[Contender, Work]:
    lines = size // (3 * 4 * LINE)
    arrays = [np.full(lines * LINE, value, np.float32) for value in (0.0, 1.0, 2.0)]
    passes = max(1, CALL // size)
    loop = partial(in_ranges, triad_loop(vectors), lines, 64 * WORTH_A_THREAD)

    def call() -> None:
        loop(*(a.ctypes.data for a in arrays), passes)

    elements = float(passes * lines * LINE)
    return call, Work(2 * elements, 12 * elements, "bytes")


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


@cache
def triad_loop(vectors: Vectors) -> Callable[..., None]:
    """Return a function of (a, b, c, passes, first, last): a = b + 3 c over lines, so many times.

    a, b, c are addresses of float32 arrays, first and last count lines of LINE floats.
    """
    module = Module(vectors)
    with module.function("triad_loop", 6) as (e, *addresses, passes, first, last):
        a, b, c = map(e.pointer, addresses)
        three = e.constant(3.0)
        with e.each(0, passes), e.each(first * LINE, last * LINE, LINE) as i:
            for k in range(0, LINE, e.lanes):
                e.store(e.fma(three, e.load(c, i + k), e.load(b, i + k)), a, i + k)
    function: Callable[..., None] = Library(str(module.ir)).function("triad_loop", 6)
    return function
