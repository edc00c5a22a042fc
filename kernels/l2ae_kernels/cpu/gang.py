"""A gang of threads that meet at barriers inside one Numba kernel.

`threads.in_ranges` hands a range to a thread and waits for it, which costs some 30 µs: as much as
short work itself. A gang is handed over once and meets at a barrier, which costs about one.

A thread that waits looks at a counter, and after some microseconds gives its core away at every
look (sched_yield), so that on a busy machine it does not hold up the thread that it waits for.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.nearest.call import call
from l2ae_kernels.cpu.threads import in_ranges

LOOKS = 2000  # at the counter before the core is given away
EVERY = 1 << 62  # multiply-adds: work that is always worth a thread

_one_at_a_time = Lock()  # two gangs could each hold a thread that the other one waits for


class Barrier(NamedTuple):
    """Where `size` threads meet. `arrived` counts all arrivals, ever; its line is its own."""

    size: int
    arrived: Array  # (16,) int64
    give_way: int  # address of a function without arguments, 0 for none


def run_gang(kernel: Callable[..., Any], size: int, *arguments: Any) -> None:
    """Call kernel(*arguments, barrier, t, t + 1) on `size` threads t, all at the same time.

    One gang runs at a time in a process; another caller waits. `size` is at most the number of
    threads in use (`threads.get_threads`).
    """
    barrier = Barrier(size, np.zeros(16, np.int64), _give_way())
    if size == 1:
        kernel(*arguments, barrier, 0, 1)
        return
    with _one_at_a_time:
        in_ranges(kernel, size, EVERY, *arguments, barrier)


@cache
def _give_way() -> int:
    """Address of the system's call that lets another thread have the core."""
    if os.name != "posix":
        return 0
    function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@njit(nogil=True, cache=True)
def wait(barrier: Barrier) -> None:
    """Wait until all threads of the gang are here; what they wrote before is seen afterwards."""
    if barrier.size == 1:
        return
    counter = barrier.arrived.ctypes.data
    here = atomic_add(counter, 1)
    wanted = (here // barrier.size + 1) * barrier.size
    looks = 0
    while atomic_load(counter) < wanted:
        looks += 1
        if looks > LOOKS and barrier.give_way != 0:
            call(barrier.give_way, ())


def _atomic_add(typing_context: Any, address: Any, value: Any) -> Any:
    """atomic_add(address, value): add to an int64 and return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, values[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


atomic_add: Any = intrinsic(_atomic_add)


def _atomic_load(typing_context: Any, address: Any) -> Any:
    """atomic_load(address): an int64, after which earlier writes of other threads are seen."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.int64), generate


atomic_load: Any = intrinsic(_atomic_load)
