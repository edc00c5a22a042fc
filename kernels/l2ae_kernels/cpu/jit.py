"""Numba's `njit` with the machine code on disk, keyed by the sources of all CPU kernels.

Numba keeps a function under a hash of the file that it stands in. A kernel that calls a function of
another file holds a copy of its code, and would keep it when that file changes: after an update of
this package, or in the hands of whoever works on it. So the key takes in every file.
"""

from collections.abc import Callable
from typing import Any

import numba

from l2ae_kernels.cpu.sources import digest

COMMON: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel: compiled at its first call, without the GIL, as in C where it divides."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**COMMON, **options)(function)
        index = dispatcher._cache._cache_file  # there is no public way to add to its key
        index._source_stamp = (index._source_stamp, digest())
        return dispatcher

    return decorate
