"""Calls of CUDA, one at a time, without CuPy."""

import ctypes
import gc
import weakref
from collections.abc import Callable

import pytest

from .device import StandIn
from .errors import Code
from .runtime import Runtime


class Circle:
    """Garbage that only a collection finds; what it holds is released then."""

    def __init__(self, release: Callable[[], object]) -> None:
        self.circle = self
        weakref.finalize(self, release)


def collect() -> None:
    """Make so many objects that a collection comes, where any is allowed."""
    for _ in range(3):
        assert [[] for _ in range(5000)]


@pytest.fixture
def own() -> StandIn:
    return StandIn()


def test_a_stream_that_is_collected_while_another_works(own: StandIn) -> None:
    runtime = Runtime(own)
    handles = [ctypes.c_size_t() for _ in range(3)]
    for handle in handles:
        assert runtime.pointer("cudaStreamCreate")(ctypes.addressof(handle)) == Code.SUCCESS
    destroy = runtime.pointer("cudaStreamDestroy")
    seen: list[bool] = []

    def work() -> None:
        collect()
        seen.append(handles[1].value in own.schedule.streams)

    for handle in handles:
        own.queue(own.stream(handle.value), "work", work)
    gc.collect()  # so that none is due before the call
    Circle(lambda: destroy(handles[1].value))
    assert runtime.pointer("cudaDeviceSynchronize")() == Code.SUCCESS
    assert seen == [True] * 3  # within the call: after it any object may begin a collection
    gc.collect()
    assert handles[1].value not in own.schedule.streams
    assert own.mend() == []


def test_memory_that_is_collected_while_all_is_looked_at(
    own: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(own)
    addresses = [own.memory.allocate(64) for _ in range(3)]
    free = runtime.pointer("cudaFree")
    overrun = type(next(iter(own.memory))).overrun
    seen: list[bool] = []

    def looked_at(block: object) -> bool:
        collect()
        seen.append(own.memory.holds(addresses[1]))
        return overrun(block)  # type: ignore[arg-type]

    monkeypatch.setattr("tests.stand_in.memory.Block.overrun", looked_at)
    gc.collect()
    Circle(lambda: free(addresses[1]))
    assert own.overruns() == 0
    assert seen == [True] * 3
    gc.collect()
    assert not own.memory.holds(addresses[1])


def test_garbage_is_collected_again_after_a_call(own: StandIn) -> None:
    assert gc.isenabled()
    with own.call(), own.call():
        assert not gc.isenabled()
    assert gc.isenabled()
