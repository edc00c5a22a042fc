"""Streams, events and graphs of the stand-in: which work comes before which, and when it is done.

Work that is queued is done as late as streams, events and synchronisations allow: when somebody
waits for it, together with all that has to come before it and nothing else. What a missing wait
lets happen too early or too late then happens so every time. `eager` does each work at once.

    stream       work in the order it was queued
    event        a place in a stream; another stream may wait for it, and so may the host
    stream 0     the legacy one waits for the other blocking streams, and they for it
    capture      work of one stream, and of those that wait for its events, is kept and not done;
                 a graph does it as often as it is launched, with the arguments it was captured with
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .errors import Code, Refused

LEGACY, PER_THREAD = 0, 2  # as cudaStream_t; 1 is the legacy stream too


@dataclass(eq=False)
class Work:
    """Something that a stream does, and what has to be done before."""

    name: str
    action: Callable[[], object] | None
    before: tuple["Work", ...]
    done: bool = False


@dataclass(eq=False)
class Capture:
    """The work of streams between begin and end, none of which is ever done itself."""

    origin: "Stream"
    relaxed: bool  # the mode in which memory may be allocated meanwhile
    work: list[Work] = field(default_factory=list)
    joined: list["Stream"] = field(default_factory=list)
    broken: bool = False
    ended: bool = False


@dataclass(eq=False)
class Stream:
    """A queue, by its last work; and while it is captured, by the last that was captured."""

    blocking: bool
    last: Work | None = None
    capture: Capture | None = None
    captured: Work | None = None


@dataclass(eq=False)
class Event:
    """A place in a stream, once recorded; `capture` when that is one of a captured stream."""

    recorded: Work | None = None
    capture: Capture | None = None
    time: float = 0.0  # when it was done, in seconds


@dataclass(eq=False)
class Graph:
    """Captured work, each after what it names; launches of one graph follow each other."""

    work: list[Work]
    end: Work | None  # what comes after all other work
    last: Work | None = None

    def copy(self) -> "Graph":
        """Return one whose launches are apart."""
        return Graph(self.work, self.end)


class Schedule:
    """All streams of the device, and the rules by which their work is done."""

    def __init__(self, eager: bool = False) -> None:
        self.eager = eager
        self.legacy = Stream(blocking=True)
        self.left: list[Work] = []  # the last of streams that are gone
        self.streams = {LEGACY: self.legacy, 1: self.legacy, PER_THREAD: Stream(blocking=True)}

    # --- queueing

    def queue(
        self,
        stream: Stream,
        name: str,
        action: Callable[[], object] | None,
        after: Iterable[Work] = (),
    ) -> Work:
        """Put work behind what the stream has, and behind `after`."""
        if stream.capture is not None:
            own = () if stream.captured is None else (stream.captured,)
            stream.captured = Work(name, action, (*own, *after))
            stream.capture.work.append(stream.captured)
            return stream.captured
        self._refuse_implicit_order(stream)
        work = stream.last = Work(name, action, (*self._in_order(stream), *after))
        if self.eager:
            self.finish(work)
        return work

    def _in_order(self, stream: Stream) -> tuple[Work, ...]:
        """Return the work that the next of a stream has to follow."""
        others: list[Stream] = []
        if stream is self.legacy:
            others = [s for s in self.streams.values() if s.blocking and s.capture is None]
        elif stream.blocking:
            others = [self.legacy]
        lasts = (s.last for s in (stream, *others))
        return tuple(dict.fromkeys(w for w in lasts if w is not None and not w.done))

    def _refuse_implicit_order(self, stream: Stream) -> None:
        """The legacy stream must not be used while a stream is captured that waits for it."""
        if stream is not self.legacy:
            return
        for other in self.streams.values():
            if other.blocking and other.capture is not None:
                other.capture.broken = True
                raise Refused(Code.STREAM_CAPTURE_IMPLICIT)

    # --- waiting

    def finish(self, work: Work | None) -> None:
        """Do a work after all that comes before it."""
        waiting = [] if work is None else [work]
        while waiting:
            last = waiting[-1]
            first = next((w for w in last.before if not w.done), None)
            if first is not None and not last.done:
                waiting.append(first)
                continue
            waiting.pop()
            if not last.done:
                last.done, last.before = True, ()  # what came before is let go
                action, last.action = last.action, None
                if action is not None:
                    action()

    def synchronize(self, stream: Stream) -> None:
        """Wait for all work of a stream."""
        self.refuse_while_captured(stream)
        self._refuse_implicit_order(stream)
        self.finish(stream.last)

    def synchronize_all(self) -> None:
        """Wait for all work that is queued."""
        for stream in self.streams.values():
            self.finish(stream.last)
        while self.left:
            self.finish(self.left.pop())

    # --- events

    def record(self, event: Event, stream: Stream) -> None:
        """Let an event be the place that a stream has reached."""

        def done() -> None:
            event.time = time.perf_counter()

        event.recorded = self.queue(stream, "record", done)
        event.capture = stream.capture

    def wait(self, stream: Stream, event: Event) -> None:
        """Let what a stream gets from now on follow an event; one not recorded is no place."""
        if event.recorded is None:
            return
        if event.capture is not None and not event.capture.ended and stream.capture is None:
            stream.capture = event.capture  # it takes part from now on
            event.capture.joined.append(stream)
        if stream.capture is not event.capture:
            if stream.capture is not None:
                stream.capture.broken = True
            raise Refused(Code.STREAM_CAPTURE_ISOLATION)
        self.queue(stream, "wait", None, (event.recorded,))

    def synchronize_event(self, event: Event) -> None:
        """Wait for the work before an event; one that was not recorded is done."""
        if event.capture is not None:
            event.capture.broken = True
            raise Refused(Code.CAPTURED_EVENT)
        self.finish(event.recorded)

    # --- graphs

    @staticmethod
    def refuse_while_captured(stream: Stream) -> None:
        """What a capture cannot hold ends it: waits of the host, copies that wait."""
        if stream.capture is not None:
            stream.capture.broken = True
            raise Refused(Code.STREAM_CAPTURE_UNSUPPORTED)

    def refuse_while_any_is_captured(self, unless_relaxed: bool = False) -> None:
        """What is not allowed while any stream is captured: to wait for the device."""
        for stream in self.streams.values():
            if stream.capture is not None and not (unless_relaxed and stream.capture.relaxed):
                self.refuse_while_captured(stream)

    def begin_capture(self, stream: Stream, relaxed: bool) -> None:
        """Keep from now on what a stream gets; the legacy one cannot be captured."""
        if stream is self.legacy:
            raise Refused(Code.STREAM_CAPTURE_UNSUPPORTED)
        if stream.capture is not None:
            raise Refused(Code.ILLEGAL_STATE)
        stream.capture = Capture(stream, relaxed)

    def end_capture(self, stream: Stream) -> Graph:
        """Return the work that was kept."""
        capture = stream.capture
        if capture is None:
            raise Refused(Code.ILLEGAL_STATE)
        if stream is not capture.origin:
            raise Refused(Code.STREAM_CAPTURE_UNMATCHED)
        end = stream.captured
        reached = _all_before(end)
        joined = all(s.captured in reached for s in capture.joined)
        for each in (stream, *capture.joined):
            each.capture = each.captured = None
        capture.ended = True
        if capture.broken:
            raise Refused(Code.STREAM_CAPTURE_INVALIDATED)
        if not joined:
            raise Refused(Code.STREAM_CAPTURE_UNJOINED)
        return Graph(capture.work, end)

    def launch(self, graph: Graph, stream: Stream) -> None:
        """Queue the work of a graph, behind what the stream has and its launch before."""
        self.refuse_while_captured(stream)
        earlier = () if graph.last is None else (graph.last,)
        start = self.queue(stream, "start of a graph", None, earlier)
        copies: dict[Work, Work] = {}
        for work in graph.work:
            before = tuple(copies[b] for b in work.before) or (start,)
            copies[work] = Work(work.name, work.action, before)
        end = () if graph.end is None else (copies[graph.end],)
        graph.last = self.queue(stream, "end of a graph", None, end)


def _all_before(work: Work | None) -> set[Work]:
    """Return a work and all that comes before it."""
    found: set[Work] = set()
    waiting = [] if work is None else [work]
    while waiting:
        last = waiting.pop()
        if last not in found:
            found.add(last)
            waiting += last.before
    return found
