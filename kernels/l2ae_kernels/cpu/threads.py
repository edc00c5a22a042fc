"""Threads for the CPU kernels: a kernel is compiled once, without them, and called on ranges.

    in_ranges(kernel, items, work, *arguments)  calls  kernel(*arguments, first, last)

for contiguous ranges of 0 … items − 1, one on the calling thread and the others on a team. Kernels
release the GIL. A kernel's result must not depend on where the ranges are cut; then it does not
depend on the number of threads either. Whatever interrupts the call, Ctrl-C or an error in a range,
no thread is at work when it is left (team.py). A kernel that calls other kernels calls them on one
thread.

Why not Numba's `prange`: its threads wait at every barrier by spinning, which on a busy machine
made a training step many times slower; it takes more than twice as long to compile; and it wakes
all threads for work of a few microseconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from numba import config
from numba.core.dispatcher import Dispatcher

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.team import Region, team

# The cores of this process, or what the environment variable NUMBA_NUM_THREADS says.
MOST: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
WORTH_A_THREAD = 1 << 21  # multiply-adds, about 30 µs: the price of a range on another thread

_threads: ContextVar[int] = ContextVar("threads of the CPU kernels", default=MOST)


def get_threads() -> int:
    """Return how many threads the kernels use that are called from here."""
    return _threads.get()


def use_threads(count: int) -> None:
    """Let the kernels called from here on use `count` threads; ValueError when out of range.

    It is a context variable: a thread that is started later begins with all cores again, unless its
    work is run in a copy of this context, as in executor.submit(copy_context().run, function).
    """
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


def available(count: int) -> int:
    """Return how many of `count` threads there are, with the calling one: 1 at least.

    With NUMBA_DISABLE_JIT=1 kernels hold the GIL and cannot meet at barriers: one thread does all.
    """
    if count <= 1 or config.DISABLE_JIT:  # type: ignore[attr-defined]
        return 1
    return 1 + team().grow(count - 1)


def in_ranges(kernel: Callable[..., Any], items: int, work: int, *arguments: Any) -> None:
    """Call the kernel on ranges that cover 0 … items − 1; `work` is the number of multiply-adds."""
    count = available(min(get_threads(), items, 1 + work // WORTH_A_THREAD))
    if count == 1:
        kernel(*arguments, 0, items)
    else:
        run_region(kernel, arguments, items, count)


def run_region(
    kernel: Callable[..., Any], arguments: tuple[Any, ...], items: int, count: int,
    stop: Array | None = None,
) -> None:  # fmt: skip
    """Call the kernel on `count` ranges; see Region."""
    if isinstance(kernel, Dispatcher) and not kernel.overloads:
        # Here, where Ctrl-C is heard, and not on all threads one after the other.
        kernel.compile(tuple(map(kernel.typeof_pyval, (*arguments, 0, items))))
    region = Region(kernel, arguments, items, count, stop)
    region.context.run(_threads.set, 1)  # for the kernels that this one calls
    region.run()
