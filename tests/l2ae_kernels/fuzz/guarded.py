"""Arrays that end where a page begins that nobody may touch, with known bytes in front.

A read or a write behind the last byte ends the process with a signal; a write before the first one
is seen by `intact`.
"""

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PAGE = mmap.PAGESIZE
CANARY = 0xA5
FRONT = 256  # bytes that are looked at
_protect = ctypes.CDLL(None, use_errno=True).mprotect


def guarded_bytes(size: int) -> tuple[Array, Array]:
    """Return `size` bytes in front of a page that cannot be touched, and the bytes before them."""
    pages = -(-(size + FRONT) // PAGE) * PAGE
    memory = np.frombuffer(mmap.mmap(-1, pages + PAGE), np.uint8)
    last = ctypes.c_void_p(memory.ctypes.data + pages)
    if _protect(last, ctypes.c_size_t(PAGE), 0):  # neither read nor write
        raise OSError(ctypes.get_errno(), "mprotect")
    front = memory[pages - size - FRONT : pages - size]
    front[:] = CANARY
    # a slice of no bytes would begin where `memory` does
    return np.ndarray((size,), np.uint8, memory, offset=pages - size), front


class Memory:
    """The guarded arrays of one call."""

    def __init__(self) -> None:
        self.fronts: list[Array] = []
        self.read: list[tuple[Array, bytes]] = []  # what may not change, and what it held

    def copy(self, a: Array, layout: str = "plain", *, keep: bool = True) -> Array:
        """Return a guarded copy of a, in one of LAYOUTS; `keep`: it may not change."""
        view, whole = LAYOUTS[layout](a, self._bytes)
        view[...] = a
        if keep:
            self.read.append((whole, whole.tobytes()))
        if layout == "locked":
            view.flags.writeable = False
        return np.matrix(view, copy=False) if layout == "matrix" and a.ndim == 2 else view

    def intact(self) -> bool:
        """Whether the bytes before all arrays, and what was only to be read, are as they were."""
        fronts = all((front == CANARY).all() for front in self.fronts)
        return fronts and all(whole.tobytes() == held for whole, held in self.read)

    def _bytes(self, size: int) -> Array:
        memory, front = guarded_bytes(size)
        self.fronts.append(front)
        return memory


Make = Callable[[int], Array]


def _plain(a: Array, make: Make) -> tuple[Array, Array]:
    whole = make(a.nbytes)
    return whole.view(a.dtype).reshape(a.shape), whole


def _fortran(a: Array, make: Make) -> tuple[Array, Array]:
    view, whole = _plain(a.T, make)
    return view.T, whole


def _reversed(a: Array, make: Make) -> tuple[Array, Array]:
    view, whole = _plain(a, make)
    return (view[::-1] if a.ndim else view), whole


def _gaps(a: Array, make: Make) -> tuple[Array, Array]:
    if not a.ndim:
        return _plain(a, make)
    wide = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view, whole = _plain(wide, make)
    return view[..., 1::2], whole


def _odd(a: Array, make: Make) -> tuple[Array, Array]:
    whole = make(a.nbytes + 1)
    return whole[:-1].view(a.dtype).reshape(a.shape), whole


LAYOUTS: dict[str, Callable[[Array, Make], tuple[Array, Array]]] = {
    "plain": _plain,
    "fortran": _fortran,
    "reversed": _reversed,
    "gaps": _gaps,
    "odd address": _odd,
    "locked": _plain,
    "matrix": _plain,
}
