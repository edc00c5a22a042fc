"""A thread team, and parallel regions that end before their caller continues.

Ctrl-C raises KeyboardInterrupt between any two instructions of Python on the main thread: after a
range was queued, in a `finally`, in a wait for other threads. If the call returned then, threads
would write to arrays that the caller uses, or wait at a barrier for ever. So a region is one call
of machine code, `region` below, which KeyboardInterrupt cannot interrupt:

    call lead(), on the calling thread     queue the other ranges, compute the first
    if it raised, set the stop flag        threads that wait at a barrier return
    empty the list of ranges               no thread can take one any more
    acquire the semaphore of each range    that a thread has taken; without the GIL
    raise what lead() raised

A thread that is busy elsewhere, or did not start, takes no range; the caller computes it then.
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
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.machine_code import Library

# Of Python's C interface, in the order in which `region` finds their addresses.
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
# region(call, arguments, remaining, count, semaphores, stop, lock, api): as above. `remaining` is
# the list of ranges that no thread has taken, from the end; the thread that took range i releases
# semaphore i. `stop` is the address of an int64, `lock` that of a lock to hold; both may be 0.
IR = f"""
define ptr @region(ptr %call, ptr %arguments, ptr %remaining, i64 %count, ptr %semaphores,
                  ptr %stop, ptr %lock, ptr %api) {{
enter:
{LOADS}
  %alone = icmp ne ptr %lock, null
  br i1 %alone, label %acquire, label %lead
acquire:
  %thread0 = call ptr %PyEval_SaveThread()
  call i32 %PyThread_acquire_lock(ptr %lock, i32 1)
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
  %open = call i64 %PyList_Size(ptr %remaining)
  call i32 %PyList_SetSlice(ptr %remaining, i64 0, i64 %open, ptr null)
  %thread = call ptr %PyEval_SaveThread()
  br label %next
next:
  %i = phi i64 [%open, %close], [%after, %wait]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %wait, label %over
wait:
  %at = getelementptr ptr, ptr %semaphores, i64 %i
  %semaphore = load ptr, ptr %at
  call i32 %PyThread_acquire_lock(ptr %semaphore, i32 1)
  %after = add i64 %i, 1
  br label %next
over:
  call void %PyEval_RestoreThread(ptr %thread)
  br i1 %alone, label %release, label %leave
release:
  call void %PyThread_release_lock(ptr %lock)
  br label %leave
leave:
  ret ptr %result
}}
"""
QUEUE = 1000  # entries after which all threads are busy for long: the caller computes alone
_address, _object = ctypes.c_void_p, ctypes.py_object
# PYFUNCTYPE: the call keeps the GIL, and raises what is raised inside.
_SIGNATURE = ctypes.PYFUNCTYPE(
    _object, _object, _object, _object, ctypes.c_int64, _address, _address, _address, _address
)
_release: Any = ctypes.PYFUNCTYPE(None, _address)(("PyThread_release_lock", ctypes.pythonapi))
_new_lock: Any = ctypes.PYFUNCTYPE(_address)(("PyThread_allocate_lock", ctypes.pythonapi))
_take: Any = ctypes.PYFUNCTYPE(ctypes.c_int, _address, ctypes.c_int)(
    ("PyThread_acquire_lock", ctypes.pythonapi)
)


@cache
def _region_code() -> tuple[Callable[..., Any], Array]:
    """Return `region` and the table of the functions that it calls."""
    library = Library(IR)
    functions = [ctypes.cast(getattr(ctypes.pythonapi, name), _address).value for name in API]
    function: Any = _SIGNATURE(library.address("region"))
    function.library = library  # the code lives as long as the function
    return function, np.array(functions, np.int64)


class Team:
    """The threads of this process that take ranges, started when they are first needed.

    They are daemons: the process ends without waiting for them.
    """

    def __init__(self) -> None:
        self.regions: SimpleQueue[Region] = SimpleQueue()
        self.threads: list[Thread] = []
        self.semaphores: list[Array] = []  # that no region uses
        self.lock = _new_lock()  # of regions whose threads wait for each other

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

    def take_semaphores(self, count: int) -> Array:
        """Return the addresses of `count` semaphores at 0, which go to `semaphores` after use.

        None is ever freed: the thread that released it may not have returned from the call.
        """
        while self.semaphores:
            semaphores = self.semaphores.pop()
            if len(semaphores) >= count:
                return semaphores
        semaphores = np.array([_new_lock() for _ in range(count)], np.int64)
        for semaphore in semaphores.tolist():
            _take(semaphore, 0)
        return semaphores


def _let_others_compile() -> None:
    """Release the lock that Ctrl-C can leave with this thread, within Numba's `with`.

    A thread of the team that compiles would wait for it, and this one for that thread.
    """
    while global_compiler_lock.is_locked():  # by this thread
        global_compiler_lock.release()


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
    when a range fails. Where it is given, threads meet at barriers, and no two such regions run at
    the same time: each could have a thread that the other one waits for.
    """

    def __init__(
        self, kernel: Callable[..., Any], arguments: tuple[Any, ...], items: int, count: int,
        stop: Array | None = None,
    ) -> None:  # fmt: skip
        self.kernel, self.arguments, self.stop = kernel, arguments, stop
        self.cuts = [items * i // count for i in range(count + 1)]
        self.remaining = list(range(1, count))
        self.done: list[int] = []
        self.errors: list[BaseException] = []
        self.context = copy_context()
        self.semaphores: list[int] = []

    def run(self) -> None:
        """Return when all ranges are done; whatever it raises, no thread computes any more."""
        here, others = team(), len(self.remaining)
        code, api = _region_code()
        semaphores = here.take_semaphores(others)
        self.semaphores = semaphores.tolist()
        stop, lock = (0, 0) if self.stop is None else (self.stop.ctypes.data, here.lock)
        try:
            code(
                self.context.run, (self._lead, here.regions, others), self.remaining, others,
                semaphores.ctypes.data, stop, lock, api.ctypes.data,
            )  # fmt: skip
            here.semaphores.append(semaphores)
            if self.errors:
                raise self.errors[0]
            for i in range(1, others + 1):
                if i not in self.done:  # no thread took it, and none can any more
                    self.context.run(self._call, i)
        finally:
            del self.kernel, self.arguments  # it stays in the queue until a thread is free

    def _lead(self, regions: "SimpleQueue[Region]", others: int) -> None:
        """On the calling thread: queue the other ranges and compute the first."""
        _let_others_compile()
        if self.stop is not None or regions.qsize() < QUEUE:
            for _ in range(others):
                regions.put(self)
        try:
            self._call(0)
        finally:
            _let_others_compile()

    def help(self) -> None:
        """On a thread of the team: compute a range, if one is left."""
        try:
            i = self.remaining.pop()
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
            _release(self.semaphores[i - 1])

    def _call(self, i: int) -> None:
        self.kernel(*self.arguments, self.cuts[i], self.cuts[i + 1])
