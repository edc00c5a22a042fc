"""A thread team whose threads meet at barriers inside one Numba kernel.

`threads.in_ranges` starts a range on a thread and waits for it, which costs some 30 µs: as much as
short work itself. A kernel with barriers is started once on every thread; a barrier costs about
one.

A thread that waits polls a counter, and after some microseconds yields its core at every poll
(sched_yield), so that on a busy machine it does not hold up the thread that it waits for.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.call import call
from l2ae_kernels.cpu.threads import available, get_threads, run_region

POLLS = 2000  # of the counter before the core is yielded
STOP = 8  # where in `state`: in another cache line than the counter


class Barrier(NamedTuple):
    """Where `size` threads meet: `state` counts all arrivals, ever, and says when one will not."""

    size: int
    state: Array  # (16,) int64
    yield_core: int  # address of a function without arguments, 0 for none


def run_team(kernel: Callable[..., Any], items: int, *arguments: Any) -> None:
    """Call kernel(*arguments, barrier, first, last) for ranges of items, all at the same time.

    As `in_ranges`, on as many threads as are in use. One team runs at a time in a process; another
    caller waits. Where one thread fails, or Ctrl-C comes, the others stop at their next barrier.
    """
    size = available(min(items, get_threads()))
    barrier = Barrier(size, np.zeros(16, np.int64), _sched_yield())
    if size == 1:
        kernel(*arguments, barrier, 0, items)
    else:
        run_region(kernel, (*arguments, barrier), items, size, barrier.state[STOP:])


@cache
def _sched_yield() -> int:
    """Address of the system's call that lets another thread have the core."""
    if os.name != "posix":
        return 0
    function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@jit()
def wait(barrier: Barrier) -> bool:
    """Wait until all threads of the team are here; what they wrote before is seen afterwards.

    False when one of them will not come: then the kernel has to return.
    """
    if barrier.size == 1:
        return True
    counter = barrier.state.ctypes.data
    here = atomic_add(counter, 1)
    full = (here // barrier.size + 1) * barrier.size
    polls = 0
    while atomic_load(counter) < full:
        if atomic_load(counter + STOP * 8) != 0:
            return False
        polls += 1
        if polls > POLLS and barrier.yield_core != 0:
            call(barrier.yield_core, ())
    return True


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
