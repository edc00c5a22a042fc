"""The functions of CUDA's runtime that CuPy calls: memory, copies, streams, events, graphs."""

import ctypes

from .device import NAME, StandIn
from .errors import Code, Refused
from .functions import FLOAT, INT, POINTER, SIZE, UNSIGNED, Library, Texts, store, takes
from .kernels import (
    BLOCKS_EACH,
    CAPABILITY,
    MOST_BLOCKS,
    MOST_THREADS,
    MULTIPROCESSORS,
    REGISTERS_EACH,
    SHARED,
    SHARED_EACH,
    SHARED_OPTIN,
    SHARED_RESERVED,
    THREADS_EACH,
)
from .schedule import Event, Stream

VERSION = 13_000
BYTES = 80 << 30
ATTRIBUTES = {  # cudaDeviceAttr
    1: MOST_THREADS, 8: SHARED, 10: 32, 12: REGISTERS_EACH, 16: MULTIPROCESSORS, 39: THREADS_EACH,
    75: CAPABILITY[0], 76: CAPABILITY[1], 81: SHARED_EACH, 95: 1, 97: SHARED_OPTIN,
    106: BLOCKS_EACH, 111: SHARED_RESERVED,
}  # fmt: skip
PROPERTIES_BYTES = 1008  # of cudaDeviceProp, with some of its members by where they lie
PROPERTIES = {
    288: (SIZE, (BYTES,)), 296: (SIZE, (SHARED,)), 304: (INT, (REGISTERS_EACH, 32)),
    320: (INT, (MOST_THREADS, MOST_THREADS, MOST_THREADS, 64, *MOST_BLOCKS)),
    360: (INT, CAPABILITY), 384: (INT, (MULTIPROCESSORS,)), 672: (SIZE, (SHARED_OPTIN,)),
}  # fmt: skip
TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3  # cudaMemcpyKind
DIRECTIONS = {TO_DEVICE: "to the device", TO_HOST: "to the host", ON_DEVICE: "on the device"}
HOST, DEVICE = 1, 2  # cudaMemoryType; 0 is what CUDA does not know
NON_BLOCKING = 1
RELAXED = 2  # cudaStreamCaptureMode


class Runtime(Library):
    """What replaces the runtime inside of CuPy. Handles are numbers, results go to addresses."""

    def __init__(self, device: StandIn) -> None:
        super().__init__(device)
        texts = Texts(device, lambda code: "cudaError" + code.name.title().replace("_", ""))
        by_code = ctypes.CFUNCTYPE(POINTER, INT)  # these two return addresses, not codes
        self._pointers["cudaGetErrorName"] = by_code(texts.name)
        self._pointers["cudaGetErrorString"] = by_code(texts.description)

    # --- the device

    @takes(POINTER)
    def cudaGetDeviceCount(self, count: int) -> None:
        store(count, INT, 1)

    @takes(POINTER)
    def cudaGetDevice(self, index: int) -> None:
        store(index, INT, 0)

    @takes(INT)
    def cudaSetDevice(self, index: int) -> None:
        if index != 0:
            raise Refused(Code.INVALID_DEVICE)

    @takes(POINTER, INT, INT)
    def cudaDeviceGetAttribute(self, value: int, attribute: int, index: int) -> None:
        self.cudaSetDevice(index)
        store(value, INT, ATTRIBUTES.get(attribute, 0))

    @takes(POINTER, INT)
    def cudaGetDeviceProperties(self, properties: int, index: int) -> None:
        self.cudaSetDevice(index)
        ctypes.memset(properties, 0, PROPERTIES_BYTES)
        ctypes.memmove(properties, NAME.encode(), len(NAME))
        for offset, (kind, values) in PROPERTIES.items():
            for i, value in enumerate(values):
                store(properties + offset + i * ctypes.sizeof(kind), kind, value)

    @takes(POINTER)
    def cudaRuntimeGetVersion(self, version: int) -> None:
        store(version, INT, VERSION)

    @takes(POINTER)
    def cudaDriverGetVersion(self, version: int) -> None:
        store(version, INT, VERSION)

    @takes()
    def cudaGetLastError(self) -> None:
        """No error is kept beside those that are returned."""

    @takes()
    def cudaDeviceSynchronize(self) -> None:
        self.device.counts["waits for the device"] += 1
        self.device.schedule.refuse_while_any_is_captured()
        self.device.schedule.synchronize_all()
        self.device.refuse_when_broken()

    # --- memory

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
        if kind not in DIRECTIONS or to is None or source is None:
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

    # --- streams

    @takes(POINTER)
    def cudaStreamCreate(self, handle: int) -> None:
        self.cudaStreamCreateWithFlags(handle, 0)

    @takes(POINTER, UNSIGNED)
    def cudaStreamCreateWithFlags(self, handle: int, flags: int) -> None:
        stream = Stream(blocking=not flags & NON_BLOCKING)
        store(handle, SIZE, self.device.keep(self.device.schedule.streams, stream))

    @takes(POINTER, UNSIGNED, INT)
    def cudaStreamCreateWithPriority(self, handle: int, flags: int, _priority: int) -> None:
        self.cudaStreamCreateWithFlags(handle, flags)

    @takes(POINTER)
    def cudaStreamDestroy(self, handle: int) -> None:
        stream = self.device.stream(handle)
        if stream.capture is None and stream.last is not None:  # its work is still to be done
            self.device.schedule.left.append(stream.last)
        del self.device.schedule.streams[handle]

    @takes(POINTER, POINTER)
    def cudaStreamGetFlags(self, handle: int | None, flags: int) -> None:
        store(flags, UNSIGNED, 0 if self.device.stream(handle).blocking else NON_BLOCKING)

    @takes(POINTER)
    def cudaStreamQuery(self, handle: int | None) -> None:
        stream = self.device.stream(handle)
        self.device.schedule.refuse_while_captured(stream)
        self.device.refuse_when_broken()
        if stream.last is not None and not stream.last.done:
            raise Refused(Code.NOT_READY)

    @takes(POINTER)
    def cudaStreamSynchronize(self, handle: int | None) -> None:
        self.device.counts["waits for a stream"] += 1
        self.device.schedule.synchronize(self.device.stream(handle))
        self.device.refuse_when_broken()

    @takes(POINTER, POINTER, UNSIGNED)
    def cudaStreamWaitEvent(self, handle: int | None, event: int, _flags: int) -> None:
        self.device.refuse_when_broken()
        self.device.schedule.wait(self.device.stream(handle), self._event(event))

    # --- events

    @takes(POINTER)
    def cudaEventCreate(self, handle: int) -> None:
        store(handle, SIZE, self.device.keep(self.device.events, Event()))

    @takes(POINTER, UNSIGNED)
    def cudaEventCreateWithFlags(self, handle: int, _flags: int) -> None:
        self.cudaEventCreate(handle)

    @takes(POINTER)
    def cudaEventDestroy(self, handle: int) -> None:
        del self.device.events[handle]

    def _event(self, handle: int) -> Event:
        if handle not in self.device.events:
            raise Refused(Code.INVALID_RESOURCE_HANDLE)
        return self.device.events[handle]

    @takes(POINTER, POINTER)
    def cudaEventRecord(self, handle: int, stream: int | None) -> None:
        self.device.refuse_when_broken()
        self.device.schedule.record(self._event(handle), self.device.stream(stream))

    @takes(POINTER)
    def cudaEventSynchronize(self, handle: int) -> None:
        self.device.counts["waits for an event"] += 1
        self.device.schedule.synchronize_event(self._event(handle))
        self.device.refuse_when_broken()

    @takes(POINTER)
    def cudaEventQuery(self, handle: int) -> None:
        event = self._event(handle)
        self.device.refuse_when_broken()
        if event.recorded is not None and not event.recorded.done:
            raise Refused(Code.NOT_READY)

    @takes(POINTER, POINTER, POINTER)
    def cudaEventElapsedTime(self, milliseconds: int, first: int, second: int) -> None:
        times = [self._event(handle) for handle in (first, second)]
        if any(event.recorded is None for event in times):
            raise Refused(Code.INVALID_RESOURCE_HANDLE)
        if any(not event.recorded.done for event in times if event.recorded):
            raise Refused(Code.NOT_READY)
        store(milliseconds, FLOAT, 1e3 * (times[1].time - times[0].time))

    # --- graphs

    @takes(POINTER, INT)
    def cudaStreamBeginCapture(self, handle: int | None, mode: int) -> None:
        self.device.refuse_when_broken()
        self.device.schedule.begin_capture(self.device.stream(handle), relaxed=mode == RELAXED)

    @takes(POINTER, POINTER)
    def cudaStreamIsCapturing(self, handle: int | None, status: int) -> None:
        capture = self.device.stream(handle).capture
        store(status, INT, 0 if capture is None else 2 if capture.broken else 1)

    @takes(POINTER, POINTER)
    def cudaStreamEndCapture(self, handle: int | None, graph: int) -> None:
        made = self.device.schedule.end_capture(self.device.stream(handle))
        store(graph, SIZE, self.device.keep(self.device.graphs, made))

    @takes(POINTER, POINTER, ctypes.c_ulonglong)
    def cudaGraphInstantiate(self, executable: int, graph: int, _flags: int) -> None:
        made = self.device.graphs[graph].copy()
        store(executable, SIZE, self.device.keep(self.device.graphs, made))

    @takes(POINTER, POINTER)
    def cudaGraphUpload(self, _executable: int, _stream: int | None) -> None:
        """Nothing has to be moved."""

    @takes(POINTER, POINTER)
    def cudaGraphLaunch(self, executable: int, stream: int | None) -> None:
        self.device.refuse_when_broken()
        self.device.counts["graphs"] += 1
        self.device.schedule.launch(self.device.graphs[executable], self.device.stream(stream))

    @takes(POINTER)
    def cudaGraphDestroy(self, graph: int) -> None:
        del self.device.graphs[graph]

    @takes(POINTER)
    def cudaGraphExecDestroy(self, executable: int) -> None:
        del self.device.graphs[executable]
