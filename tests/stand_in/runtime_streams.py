"""Functions of CUDA's runtime: streams, events and graphs."""

import ctypes

from .errors import Code, Refused
from .functions import FLOAT, INT, POINTER, SIZE, UNSIGNED, Library, store, takes
from .schedule import Event, Stream

NON_BLOCKING = 1  # a flag of cudaStreamCreateWithFlags
RELAXED = 2  # cudaStreamCaptureMode


class StreamFunctions(Library):
    """What they mean is told by `Schedule`."""

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
