"""When queued work is done: streams, events and captures, without CuPy."""

from collections.abc import Callable

import pytest

from .errors import Code, Refused
from .schedule import Event, Schedule, Stream


class Log(list[str]):
    """What was done, in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()

    def stream(self, blocking: bool = False) -> Stream:
        made = Stream(blocking)
        self.schedule.streams[100 + len(self.schedule.streams)] = made
        return made

    def queue(self, stream: Stream, *names: str) -> None:
        for name in names:
            self.schedule.queue(stream, name, lambda name=name: self.append(name))


@pytest.fixture
def log() -> Log:
    return Log()


def refused(code: Code, call: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code


def test_nothing_is_done_before_somebody_waits(log: Log) -> None:
    a, b = log.stream(), log.stream()
    log.queue(a, "a1", "a2")
    log.queue(b, "b1")
    assert log == []
    log.schedule.synchronize(a)
    assert log == ["a1", "a2"]
    log.schedule.synchronize_all()
    assert log == ["a1", "a2", "b1"]


def test_an_eager_device_waits_for_nobody(log: Log) -> None:
    log.schedule.eager = True
    log.queue(log.stream(), "a1")
    assert log == ["a1"]


def test_an_event_is_the_work_before_it(log: Log) -> None:
    a, b, event = log.stream(), log.stream(), Event()
    log.queue(a, "a1")
    log.schedule.record(event, a)
    log.queue(a, "a2")
    log.schedule.wait(b, event)
    log.queue(b, "b1")
    log.schedule.synchronize(b)
    assert log == ["a1", "b1"]
    log.schedule.record(event, a)  # again, elsewhere
    log.schedule.synchronize_event(event)
    assert log == ["a1", "b1", "a2"]


def test_an_event_that_was_not_recorded_is_done(log: Log) -> None:
    a, event = log.stream(), Event()
    log.queue(a, "a1")
    log.schedule.wait(a, event)
    log.schedule.synchronize_event(event)
    assert log == []


def test_the_legacy_stream_and_blocking_ones_wait_for_each_other(log: Log) -> None:
    blocking, free, legacy = log.stream(blocking=True), log.stream(), log.schedule.legacy
    log.queue(blocking, "blocking 1")
    log.queue(free, "free")
    log.queue(legacy, "legacy")
    log.queue(blocking, "blocking 2")
    log.schedule.synchronize(legacy)
    assert log == ["blocking 1", "legacy"]
    log.queue(legacy, "legacy 2")
    log.queue(blocking, "blocking 3")
    log.schedule.synchronize(blocking)
    assert log[2:] == ["blocking 2", "legacy 2", "blocking 3"]


def test_a_graph_does_what_was_captured_as_often_as_it_is_launched(log: Log) -> None:
    a, b, fork, join = log.stream(), log.stream(), Event(), Event()
    log.queue(b, "before")
    log.schedule.begin_capture(a, relaxed=True)
    log.queue(a, "a1")
    log.schedule.record(fork, a)
    log.schedule.wait(b, fork)  # b takes part
    log.queue(b, "b1")
    log.schedule.record(join, b)
    log.queue(a, "a2")
    log.schedule.wait(a, join)
    log.queue(a, "a3")
    graph = log.schedule.end_capture(a)
    log.schedule.synchronize_all()
    assert log == ["before"]
    log.clear()
    log.queue(a, "first")
    for _ in range(2):
        log.schedule.launch(graph, a)
    log.schedule.synchronize(a)
    once = ["a1", "a2", "b1", "a3"]
    assert log == ["first", *once, *once]


def test_launches_of_one_graph_follow_each_other_in_two_streams(log: Log) -> None:
    a, b = log.stream(), log.stream()
    log.schedule.begin_capture(a, relaxed=True)
    log.queue(a, "graph")
    graph = log.schedule.end_capture(a)
    log.queue(a, "a1")
    log.schedule.launch(graph, a)
    log.schedule.launch(graph, b)
    log.schedule.synchronize(b)
    assert log == ["a1", "graph", "graph"]


def test_what_a_capture_cannot_hold_ends_it(log: Log) -> None:
    a, other = log.stream(), log.stream()
    event, elsewhere = Event(), Event()
    log.schedule.record(elsewhere, other)
    for code, call in (
        (Code.STREAM_CAPTURE_UNSUPPORTED, lambda: log.schedule.synchronize(a)),
        (Code.CAPTURED_EVENT, lambda: log.schedule.synchronize_event(event)),
        (Code.STREAM_CAPTURE_ISOLATION, lambda: log.schedule.wait(a, elsewhere)),
        (Code.STREAM_CAPTURE_UNSUPPORTED, log.schedule.refuse_while_any_is_captured),
    ):
        log.schedule.begin_capture(a, relaxed=True)
        log.schedule.record(event, a)
        refused(code, call)
        refused(Code.STREAM_CAPTURE_INVALIDATED, lambda: log.schedule.end_capture(a))
        assert a.capture is None


def test_a_stream_that_took_part_in_a_capture_has_to_be_joined(log: Log) -> None:
    a, b, fork = log.stream(), log.stream(), Event()
    log.schedule.begin_capture(a, relaxed=True)
    log.schedule.record(fork, a)
    log.schedule.wait(b, fork)
    log.queue(b, "b1")
    refused(Code.STREAM_CAPTURE_UNMATCHED, lambda: log.schedule.end_capture(b))
    refused(Code.STREAM_CAPTURE_UNJOINED, lambda: log.schedule.end_capture(a))
    refused(Code.STREAM_CAPTURE_ISOLATION, lambda: log.schedule.wait(b, fork))  # it is over


def test_the_legacy_stream_is_not_captured_nor_used_beside_a_blocking_one(log: Log) -> None:
    legacy, blocking = log.schedule.legacy, log.stream(blocking=True)
    refused(Code.STREAM_CAPTURE_UNSUPPORTED, lambda: log.schedule.begin_capture(legacy, True))
    log.schedule.begin_capture(blocking, relaxed=True)
    refused(Code.STREAM_CAPTURE_IMPLICIT, lambda: log.queue(legacy, "legacy"))
    refused(Code.STREAM_CAPTURE_INVALIDATED, lambda: log.schedule.end_capture(blocking))


def test_memory_is_allocated_beside_a_relaxed_capture_alone(log: Log) -> None:
    a = log.stream()
    for relaxed in (True, False):
        log.schedule.begin_capture(a, relaxed)
        if relaxed:
            log.schedule.refuse_while_any_is_captured(unless_relaxed=True)
            log.schedule.end_capture(a)
        else:
            refused(
                Code.STREAM_CAPTURE_UNSUPPORTED,
                lambda: log.schedule.refuse_while_any_is_captured(unless_relaxed=True),
            )


def test_ten_thousand_works_are_done(log: Log) -> None:
    log.queue(log.stream(), *map(str, range(10_000)))
    log.schedule.synchronize_all()
    assert log == [str(i) for i in range(10_000)]
