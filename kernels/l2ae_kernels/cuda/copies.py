"""Copies of large arrays to a GPU: in pieces, through little pinned memory.

CuPy copies an array through pinned memory of its size, rounded up to a power of two, and keeps that
for the next one: 5 GB of samples would lock 8 GB of the host for as long as the program runs. Here
two slots alternate: while the copy from one is on its way, a processor fills the other.
"""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array

PIECE = 1 << 23  # bytes of a slot: what is smaller goes in one piece, as CuPy does it
SLOTS = 2


class PinnedSlots:
    """Slots of `size` bytes, used in turn. They go back to CuPy's pool when this is gone."""

    def __init__(self, cupy: Any, size: int, count: int = SLOTS) -> None:
        pinned = [cupy.cuda.alloc_pinned_memory(size) for _ in range(count)]
        self._slots = [np.frombuffer(memory, np.uint8, size) for memory in pinned]
        self._copied = [cupy.cuda.Event(disable_timing=True) for _ in range(count)]
        self._cupy, self._turn = cupy, 0

    def send(self, part: Array, to: Array) -> None:
        """Queue a copy of bytes of the host to a device, in the current stream.

        It waits until the slot is free: until the last copy but SLOTS has been made.
        """
        slot, copied = self._slots[self._turn][: part.size], self._copied[self._turn]
        copied.synchronize()  # an event that was not recorded is done
        np.copyto(slot, part)
        to.set(slot)  # type: ignore[attr-defined]
        copied.record(self._cupy.cuda.get_current_stream())
        self._turn = (self._turn + 1) % len(self._slots)

    def wait(self) -> None:
        """Wait until no copy reads a slot."""
        for copied in self._copied:
            copied.synchronize()


def copy_in_pieces(cupy: Any, host: Array, to: Array) -> None:
    """Copy an array of the host to one of a GPU, both C-contiguous; it is there on return."""
    source, target = (a.reshape(-1).view(np.uint8) for a in (host, to))
    slots = PinnedSlots(cupy, PIECE)
    for first in range(0, source.size, PIECE):
        slots.send(source[first : first + PIECE], target[first : first + PIECE])
    slots.wait()
