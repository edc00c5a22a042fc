"""Numba's `njit` with the machine code on disk, keyed by the sources of all CPU kernels.

Numba keeps a function under a hash of the file that it stands in. A kernel that calls a function of
another file holds a copy of its code, and would keep it when that file changes: after an update of
this package, or after an edit. So the key takes in every file.

Numba's own files have no checksum, and two processes that compile at once can leave a list of them
that names the code of another signature. So every signature has a file of its own here, named by
its key (checked_files.py). The folder is the one that Numba would take: NUMBA_CACHE_DIR where it is
set, else `__pycache__` beside the source, else one in the user's cache directory. Where none of
them can be written, kernels are compiled anew in every process, and nothing else happens.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy.ma  # noqa: F401 - Numba imports it at a first call, when another thread may fork
from numba import config
from numba.core import serialize
from numba.core.caching import FunctionCache

from l2ae_kernels import (
    checked_files,
    forks,  # noqa: F401 - a fork waits for what is compiled
)
from l2ae_kernels.cpu.sources import digest

COMMON: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
NAME = 32  # hexadecimal digits of a hash in the name of a file


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel: compiled at its first call, without the GIL, as in C where it divides.

    With NUMBA_DISABLE_JIT=1 it stays a function of Python.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel: Any = numba.njit(**COMMON, **options)(function)
        if not config.DISABLE_JIT:  # type: ignore[attr-defined]
            try:
                kernel._cache = KernelCache(function)  # there is no public way to choose a cache
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
        return kernel

    return decorate


class KernelCache(FunctionCache):
    """The compiled signatures of one kernel; RuntimeError where no folder can be written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = self._impl.locator.get_source_stamp(), digest()
        self.sources = _name(stamp, numba.__version__, llvmlite.__version__)

    def path(self, signature: Any, codegen: Any) -> Path:
        """Return where the code of a signature lies."""
        name = _name(self._index_key(signature, codegen))  # type: ignore[no-untyped-call]
        return self._folder() / f"{self._impl.filename_base}.{self.sources}.{name}.l2ae"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled signature, None where it is not there or damaged."""
        target_context.refresh()
        content = checked_files.read(self.path(sig, target_context.codegen()))
        if content is None:
            return None
        return self._impl.rebuild(target_context, serialize.loads(content))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled signature, and remove what other sources have left of this kernel."""
        if not self._impl.check_cachable(data):
            return
        content = serialize.dumps(self._impl.reduce(data))
        checked_files.write(self.path(sig, data.codegen), content)
        self.flush(self.sources)

    def flush(self, but: str = "") -> None:
        """Remove the code of this kernel, but not that of the sources `but`."""
        base = self._impl.filename_base
        for path in self._folder().glob(f"{base}.*.l2ae"):
            if path.name.split(".")[-3] != but:
                try:
                    path.unlink()
                except OSError:
                    return  # another process was faster, or it is not ours

    def _folder(self) -> Path:
        return Path(self._impl.locator.get_cache_path())


def _name(*key: Any) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:NAME]
