"""Threads for the CPU kernels: a kernel is compiled once, without them, and called on ranges.

    in_ranges(kernel, items, work, *arguments)  calls  kernel(*arguments, first, last)

for contiguous ranges of 0 … items − 1, one on the calling thread and the others on a pool. Kernels
release the GIL. A kernel's result must not depend on where the ranges are cut; then it does not
depend on the number of threads either.

Why not Numba's `prange`: its threads wait at every barrier by spinning, which on a busy machine
made a training step many times slower; it takes more than twice as long to compile; and it wakes
all threads for work of a few microseconds.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from numba import config

# The cores of this process, or what the environment variable NUMBA_NUM_THREADS says.
MOST: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
WORTH_A_THREAD = 1 << 21  # multiply-adds, about 30 µs: what it costs to hand over a range

_threads: ContextVar[int] = ContextVar("threads of the CPU kernels", default=MOST)


def get_threads() -> int:
    """Return how many threads the kernels use that are called from here."""
    return _threads.get()


def use_threads(count: int) -> None:
    """Let the kernels called from here on use `count` threads; ValueError when out of range."""
    if not 1 <= count <= MOST:
        raise ValueError(f"threads: {count} is not between 1 and {MOST}, the cores of this process")
    _threads.set(count)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use `count` threads inside a `with` block; ValueError when out of range."""
    before = get_threads()
    use_threads(count)
    try:
        yield
    finally:
        use_threads(before)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, MOST - 1), thread_name_prefix="l2ae")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=_pool.cache_clear
    )  # a child has none of its parent's threads


def in_ranges(kernel: Callable[..., Any], items: int, work: int, *arguments: Any) -> None:
    """Call the kernel on ranges that cover 0 … items − 1; `work` is the number of multiply-adds."""
    count = min(get_threads(), items, 1 + work // WORTH_A_THREAD)
    if count <= 1:
        kernel(*arguments, 0, items)
        return
    cuts = [items * i // count for i in range(count + 1)]
    others = [_pool().submit(kernel, *arguments, cuts[i], cuts[i + 1]) for i in range(1, count)]
    try:
        kernel(*arguments, cuts[0], cuts[1])
    finally:
        for future in others:  # also when interrupted: nothing may write to the arrays any more
            future.result()
