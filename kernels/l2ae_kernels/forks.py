"""Locks that a fork waits for: a child inherits those that another thread holds, taken for ever.

importing       held while a module of this package is imported at its first use
compiler lock   Numba's, held while a kernel is compiled; there once Numba is imported

`concurrent.futures.thread` has such a lock, too. It is imported here, before any fork: one that
began before the import would release in the end what it never took.
"""

import concurrent.futures.thread  # noqa: F401 - see below
import os
import sys
from threading import RLock
from typing import Any

importing = RLock()
_held: list[Any] = []  # the compiler lock, from before a fork until after it


def _before() -> None:
    importing.acquire()
    numba = sys.modules.get("numba.core.compiler_lock")
    lock = getattr(numba, "global_compiler_lock", None)  # None while that module is imported
    if lock is not None:
        lock.acquire()
        _held.append(lock)


def _after() -> None:
    while _held:
        _held.pop().release()
    importing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
