"""Numba's `njit` with the machine code on disk, keyed by the sources of all CPU kernels.

Numba keeps a function under a hash of the file that it stands in. A kernel that calls a function of
another file holds a copy of its code, and would keep it when that file changes: after an update of
this package, or in the hands of whoever works on it. So the key takes in every file.
"""

import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

from l2ae_kernels.cpu.sources import digest

COMMON: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}

if hasattr(os, "register_at_fork"):
    # A child that is born while another thread compiles would inherit the lock taken, for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel: compiled at its first call, without the GIL, as in C where it divides."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**COMMON, **options)(function)
        index = dispatcher._cache._cache_file  # there is no public way to add to its key
        index._source_stamp = (index._source_stamp, digest())
        return dispatcher

    return decorate
