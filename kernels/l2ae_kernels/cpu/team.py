"""A team of threads, and parallel regions that are over when their caller goes on.

Ctrl-C raises KeyboardInterrupt between any two steps of Python on the main thread: after a range
was handed over, in a `finally`, while others are waited for. If the caller left then, threads would
write to arrays that it uses, or wait for one that never comes. So a region is one call of machine
code, `guard` below, that Python cannot step into:

    call lead(), on the calling thread        hand the other ranges over, do the first
    if it raised, tell all who wait to stop   whatever it raised, and wherever
    close the region                          no thread can take a range any more
    wait for the threads that have one        without the GIL, and deaf to Ctrl-C
    raise what lead() raised

A thread that is busy elsewhere, or did not start, takes no range; the caller does it itself then.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.emit.machine_code import Library

# Of Python's C interface, in the order in which `guard` finds their addresses.
API = (
    "PyObject_Call",
    "PyList_Size",
    "PyList_SetSlice",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyThread_acquire_lock",
    "PyThread_release_lock",
)
LOADS = "\n".join(
    f"  %at{i} = getelementptr ptr, ptr %api, i64 {i}\n  %{name} = load ptr, ptr %at{i}"
    for i, name in enumerate(API)
)
# guard(call, arguments, left, count, bells, stop, turn, api): the region, as above. `left` is the
# list of ranges that nobody has taken, from the end; the thread that takes range i releases bell i.
# `stop` is the address of an int64, `turn` a lock to hold meanwhile; both may be 0.
IR = f"""
define ptr @guard(ptr %call, ptr %arguments, ptr %left, i64 %count, ptr %bells, ptr %stop,
                  ptr %turn, ptr %api) {{
enter:
{LOADS}
  %one_at_a_time = icmp ne ptr %turn, null
  br i1 %one_at_a_time, label %take_turn, label %lead
take_turn:
  %thread0 = call ptr %PyEval_SaveThread()
  call i32 %PyThread_acquire_lock(ptr %turn, i32 1)
  call void %PyEval_RestoreThread(ptr %thread0)
  br label %lead
lead:
  %result = call ptr %PyObject_Call(ptr %call, ptr %arguments, ptr null)
  %failed = icmp eq ptr %result, null
  %stops = icmp ne ptr %stop, null
  %must_stop = and i1 %failed, %stops
  br i1 %must_stop, label %tell, label %close
tell:
  store atomic i64 1, ptr %stop seq_cst, align 8
  br label %close
close:
  %open = call i64 %PyList_Size(ptr %left)
  call i32 %PyList_SetSlice(ptr %left, i64 0, i64 %open, ptr null)
  %thread = call ptr %PyEval_SaveThread()
  br label %next
next:
  %i = phi i64 [%open, %close], [%after, %wait]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %wait, label %over
wait:
  %at = getelementptr ptr, ptr %bells, i64 %i
  %bell = load ptr, ptr %at
  call i32 %PyThread_acquire_lock(ptr %bell, i32 1)
  %after = add i64 %i, 1
  br label %next
over:
  call void %PyEval_RestoreThread(ptr %thread)
  br i1 %one_at_a_time, label %give_turn, label %leave
give_turn:
  call void %PyThread_release_lock(ptr %turn)
  br label %leave
leave:
  ret ptr %result
}}
"""
_address, _object = ctypes.c_void_p, ctypes.py_object
# PYFUNCTYPE: the call keeps the GIL, and raises what is raised inside.
_GUARD = ctypes.PYFUNCTYPE(
    _object, _object, _object, _object, ctypes.c_int64, _address, _address, _address, _address
)
_ring: Any = ctypes.PYFUNCTYPE(None, _address)(("PyThread_release_lock", ctypes.pythonapi))
_new_lock: Any = ctypes.PYFUNCTYPE(_address)(("PyThread_allocate_lock", ctypes.pythonapi))
_take: Any = ctypes.PYFUNCTYPE(ctypes.c_int, _address, ctypes.c_int)(
    ("PyThread_acquire_lock", ctypes.pythonapi)
)


@cache
def _guard() -> tuple[Callable[..., Any], Array]:
    """Return `guard` and the table of the functions that it calls."""
    library = Library(IR)
    functions = [ctypes.cast(getattr(ctypes.pythonapi, name), _address).value for name in API]
    guard: Any = _GUARD(library.address("guard"))
    guard.library = library  # the code lives as long as the function
    return guard, np.array(functions, np.int64)


class Team:
    """The threads of this process that take ranges, started when they are first needed.

    They are daemons: none holds up the end of the process.
    """

    def __init__(self) -> None:
        self.regions: SimpleQueue[Region] = SimpleQueue()
        self.threads: list[Thread] = []
        self.bells: list[Array] = []  # that no region uses
        self.turn = _new_lock()  # of regions whose threads wait for each other

    def grow(self, wanted: int) -> int:
        """Start threads until there are `wanted`; return how many there are, `wanted` at most.

        Fewer where the system lets no more start: the same numbers come out, only later.
        """
        if sys.is_finalizing():
            return 0
        while len(self.threads) < wanted:
            thread = Thread(target=_work, args=(self.regions,), name="l2ae", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # "can't start new thread"
                break
            self.threads.append(thread)
        return min(wanted, len(self.threads))

    def take_bells(self, count: int) -> Array:
        """Return the addresses of `count` locks, all of them taken; they are given back to bells.

        A lock is never freed: who released it may still be at it.
        """
        while self.bells:
            bells = self.bells.pop()
            if len(bells) >= count:
                return bells
        bells = np.array([_new_lock() for _ in range(count)], np.int64)
        for bell in bells.tolist():
            _take(bell, 0)
        return bells


def _work(regions: "SimpleQueue[Region]") -> None:
    while True:
        regions.get().help()


@cache
def team() -> Team:
    """Return the team of this process; a child begins with a new one, as it has no threads."""
    return Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team.cache_clear)


class Region:
    """kernel(*arguments, first, last) for `count` ranges that cover 0 … items − 1.

    All see the caller's context variables, each in a copy of its own. `stop` (1,) int64 becomes 1
    when a range fails; where it is given, its threads wait for each other, and no two such regions
    run at the same time: each could hold a thread that the other one waits for.
    """

    def __init__(
        self, kernel: Callable[..., Any], arguments: tuple[Any, ...], items: int, count: int,
        stop: Array | None = None,
    ) -> None:  # fmt: skip
        self.kernel, self.arguments, self.stop = kernel, arguments, stop
        self.cuts = [items * i // count for i in range(count + 1)]
        self.left = list(range(1, count))
        self.done: list[int] = []
        self.errors: list[BaseException] = []
        self.context = copy_context()
        self.bells: list[int] = []

    def run(self) -> None:
        """Return when all ranges are done, or raise when none is at work any more."""
        here, others = team(), len(self.left)
        guard, api = _guard()
        bells = here.take_bells(others)
        self.bells = bells.tolist()
        stop, turn = (0, 0) if self.stop is None else (self.stop.ctypes.data, here.turn)
        guard(
            self.context.run, (self._lead, here.regions, others), self.left, others,
            bells.ctypes.data, stop, turn, api.ctypes.data,
        )  # fmt: skip
        here.bells.append(bells)
        if self.errors:
            raise self.errors[0]
        for i in range(1, others + 1):
            if i not in self.done:  # nobody came for it, and nobody can any more
                self.context.run(self._call, i)

    def _lead(self, regions: "SimpleQueue[Region]", others: int) -> None:
        """On the calling thread."""
        for _ in range(others):
            regions.put(self)
        self._call(0)

    def help(self) -> None:
        """On a thread of the team: do a range, if one is left."""
        try:
            i = self.left.pop()
        except IndexError:
            return
        try:
            self.context.copy().run(self._call, i)
            self.done.append(i)
        except BaseException as error:  # noqa: BLE001  # the caller raises it
            self.errors.append(error)
            if self.stop is not None:
                self.stop[0] = 1
        finally:
            _ring(self.bells[i - 1])

    def _call(self, i: int) -> None:
        self.kernel(*self.arguments, self.cuts[i], self.cuts[i + 1])
