"""Functions of CUDA's runtime: memory, copies and fills."""

import ctypes

from .errors import Code, Refused
from .functions import INT, POINTER, SIZE, UNSIGNED, Library, store, takes
from .schedule import Stream

BYTES = 80 << 30
TO_DEVICE, TO_HOST, ON_DEVICE, BY_ADDRESS = 1, 2, 3, 4  # cudaMemcpyKind
DIRECTIONS = {TO_DEVICE: "to the device", TO_HOST: "to the host", ON_DEVICE: "on the device"}
HOST, DEVICE = 1, 2  # cudaMemoryType; 0 is what CUDA does not know


class MemoryFunctions(Library):
    """Addresses are the host's, of blocks that `Memory` has."""

    @takes(POINTER, SIZE)
    def cudaMalloc(self, address: int, size: int) -> None:
        self.device.refuse_when_broken()
        self.device.schedule.refuse_while_any_is_captured(unless_relaxed=True)
        self.device.counts["allocations"] += 1
        store(address, SIZE, self.device.memory.allocate(size))

    @takes(POINTER)
    def cudaFree(self, address: int | None) -> None:
        self.device.schedule.synchronize_all()
        if address and self.device.memory.free(address) is None:
            raise Refused(Code.INVALID_VALUE)

    @takes(POINTER, SIZE, UNSIGNED)
    def cudaHostAlloc(self, address: int, size: int, _flags: int) -> None:
        self.device.refuse_when_broken()
        self.device.counts["allocations of pinned memory"] += 1
        store(address, SIZE, self.device.pinned.allocate(size))

    @takes(POINTER)
    def cudaFreeHost(self, address: int | None) -> None:
        self.device.schedule.synchronize_all()
        if address and self.device.pinned.free(address) is None:
            raise Refused(Code.INVALID_VALUE)

    @takes(POINTER, POINTER)
    def cudaMemGetInfo(self, free: int, total: int) -> None:
        store(free, SIZE, BYTES - sum(block.size for block in self.device.memory))
        store(total, SIZE, BYTES)

    @takes(POINTER, POINTER)
    def cudaPointerGetAttributes(self, attributes: int, address: int | None) -> None:
        kind = 0
        if address is not None:
            kind = DEVICE if self.device.memory.holds(address) else 0
            kind = HOST if self.device.pinned.holds(address) else kind
        store(attributes, INT, kind)
        store(attributes + 4, INT, 0)
        store(attributes + 8, SIZE, address or 0)
        store(attributes + 16, SIZE, address or 0)

    # --- copies

    @takes(POINTER, POINTER, SIZE, INT)
    def cudaMemcpy(self, to: int | None, source: int | None, size: int, kind: int) -> None:
        self._copy(to, source, size, kind, self.device.schedule.legacy, waits=True)

    @takes(POINTER, POINTER, SIZE, INT, POINTER)
    def cudaMemcpyAsync(
        self, to: int | None, source: int | None, size: int, kind: int, stream: int | None
    ) -> None:
        self._copy(to, source, size, kind, self.device.stream(stream), waits=False)

    def _copy(
        self, to: int | None, source: int | None, size: int, kind: int, stream: Stream, waits: bool
    ) -> None:
        """Queue a copy. One of pageable memory is over for the host when the call returns.

        To the device it then has read its source; from it the stream has done all before.
        """
        if size == 0:
            return
        device = self.device
        if to is None or source is None:
            raise Refused(Code.INVALID_VALUE)
        if kind == BY_ADDRESS:
            kind = TO_HOST if not device.memory.holds(to) else ON_DEVICE
            kind = TO_DEVICE if not device.memory.holds(source) else kind
        if kind not in DIRECTIONS:
            raise Refused(Code.INVALID_VALUE)
        for address, on_host in ((to, kind == TO_HOST), (source, kind == TO_DEVICE)):
            if not on_host and not device.memory.holds(address, size):
                raise Refused(Code.INVALID_VALUE)
        pinned = device.pinned.holds(source if kind == TO_DEVICE else to, size)
        at_once = kind != ON_DEVICE and (waits or not pinned)
        if at_once:
            device.schedule.refuse_while_captured(stream)
        if kind == TO_DEVICE and at_once:
            content = ctypes.string_at(source, size)
            device.queue(stream, "copy to the device", lambda: ctypes.memmove(to, content, size))
        else:
            device.queue(stream, "copy", lambda: ctypes.memmove(to, source, size))
        device.counts[f"copies {DIRECTIONS[kind]}"] += 1
        if kind == TO_HOST and at_once:
            device.schedule.synchronize(stream)
            device.refuse_when_broken()

    @takes(POINTER, INT, SIZE)
    def cudaMemset(self, address: int, value: int, size: int) -> None:
        self._set(address, value, size, self.device.schedule.legacy)

    @takes(POINTER, INT, SIZE, POINTER)
    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int | None) -> None:
        self._set(address, value, size, self.device.stream(stream))

    def _set(self, address: int, value: int, size: int, stream: Stream) -> None:
        if size and not self.device.memory.holds(address, size):
            raise Refused(Code.INVALID_VALUE)
        self.device.queue(stream, "set", lambda: ctypes.memset(address, value, size))
        self.device.counts["sets of memory"] += 1
