"""Graphs: launches and fills that are recorded once and queued again as a whole, `Device.capture`.

    with device.capture() as graph:
        products.dense(x, W, b, y)
    graph.launch()                            any number of times, each in order with what is queued

A replay finds every array where it was when it was recorded. So the graph keeps what its launches
read and write:

* arrays that were there before stay allocated as long as the graph;
* memory of arrays made inside comes from a pool that the graph alone takes from. Two of them may
  share memory where one is gone before the other is made, as outside of a capture, but an array
  that is made later, by anybody, lies elsewhere.

What an array made inside holds is undefined when a replay begins; the emulator poisons it.

Launches that need not wait for each other go to a branch, inside a capture or not:

    beside = device.branch()
    with beside:
        ...                                   begins behind what is queued, and runs beside
    ...                                       what comes here,
    beside.join()                             up to here

Two `with` of one branch are in order. Nothing may be allocated in it: memory that is free again
belongs to the stream that it was taken for.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.launch import Launch

NOTHING = "launch: nothing was captured, the capture has not ended or has failed"


def poison(x: Array) -> None:
    """Set every byte of x to 0xFF: NaN, or −1."""
    x.view(np.ndarray).reshape(-1).view(np.uint8)[:] = 0xFF


class CapturedGraph:
    """A graph of CUDA, captured by CuPy from a stream of its own. device: a `Device`."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._cupy = cupy = device.array_module
        with device.current():
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.cuda.MemoryPool()
        self._blocks: set[int] = set()  # addresses in the pool
        self._arrays: list[Array] = []  # of launches, from elsewhere
        self._graph: Any = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Capture what is queued in the current stream, which is the graph's own inside.

        CuPy captures in the relaxed mode, in which this thread may allocate memory for the pool and
        load modules meanwhile: neither is an operation of the stream.
        """
        with self._cupy.cuda.using_allocator(self._allocate), self._stream:
            self._stream.begin_capture()
            try:
                yield
                self._graph = self._stream.end_capture()
            finally:
                if self._graph is None:
                    self._abandon()

    def _allocate(self, size: int) -> Any:
        pointer = self._pool.malloc(size)
        self._blocks.add(pointer.mem.ptr)
        return pointer

    def _abandon(self) -> None:
        # what cannot be captured has ended it already, and is reported here once more
        with suppress(self._cupy.cuda.runtime.CUDARuntimeError):
            self._stream.end_capture()

    def add(self, launch: Launch) -> None:
        """Queue a launch, and keep its arrays."""
        for a in launch.arguments:
            if isinstance(a, self._cupy.ndarray) and a.data.mem.ptr not in self._blocks:
                self._arrays.append(a)
        launch.run()

    def launch(self) -> None:
        """Queue all that was captured, in the current stream of the device."""
        if self._graph is None:
            raise RuntimeError(NOTHING)
        with self._device.current():
            self._graph.launch()


class StreamBranch:
    """A stream of CUDA beside the current one. device: a `Device`."""

    def __init__(self, device: Any) -> None:
        self._cuda = device.array_module.cuda
        with device.current():
            self._stream = self._cuda.Stream(non_blocking=True)
        self._began = False

    def __enter__(self) -> None:
        self._stream.wait_event(self._event(self._cuda.get_current_stream()))
        self._stream.__enter__()
        self._began = True

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(*error)

    def join(self) -> None:
        """Let what is queued from now on wait for the branch."""
        if self._began:
            self._cuda.get_current_stream().wait_event(self._event(self._stream))
        self._began = False

    def _event(self, stream: Any) -> Any:
        return stream.record(self._cuda.Event(disable_timing=True))


class EmulatedBranch:
    """Launches that are done at once, or as late as they may: when they are joined.

    recording: a `Recording`, of which it is the branch inside. late: a launch beside it that counts
    on a branch which is not joined is then seen; else one in the branch that counts on what comes
    after.
    """

    def __init__(self, recording: Any, *, late: bool) -> None:
        self._recording, self._late = recording, late
        self._waiting: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        self._recording.branch = self
        if self._recording.graph is not None:
            self._recording.graph.branches.add(self)

    def __exit__(self, *error: object) -> None:
        self._recording.branch = None

    def add(self, run: Callable[[], None]) -> None:
        """Do a launch of the branch, or keep it."""
        if self._late:
            self._waiting.append(run)
        else:
            run()

    def join(self) -> None:
        """Do all that is kept, in order."""
        waiting, self._waiting = self._waiting, []
        for run in waiting:
            run()
        if self._recording.graph is not None:
            self._recording.graph.branches.discard(self)


class EmulatedGraph:
    """The list of what was recorded: launches and fills.

    `Device.empty` is a fill, too: an array made inside is poisoned in every replay. So a launcher
    that counts on what the host, or an earlier replay, wrote to it is seen.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []
        self._complete = False
        self.branches: set[EmulatedBranch] = set()  # that are not joined

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Take the graph for complete when no exception ends the block, and all is joined."""
        yield
        if self.branches:
            raise RuntimeError("capture: a branch is not joined")
        self._complete = True

    def add(self, launch: Launch) -> None:
        """Record a launch."""
        self._steps.append(launch.run)

    def made(self, x: Array, fill: Callable[[], None]) -> None:
        """Record how x, a new array, is filled; until the first replay it is poisoned."""
        poison(x)
        self._steps.append(fill)

    def launch(self) -> None:
        """Run all that was recorded."""
        if not self._complete:
            raise RuntimeError(NOTHING)
        for run in self._steps:
            run()


Graph: TypeAlias = CapturedGraph | EmulatedGraph
Branch: TypeAlias = StreamBranch | EmulatedBranch


class Recording(threading.local):
    """The graph that this thread captures, if any, and the emulator's branch that it queues in."""

    graph: Graph | None = None
    branch: EmulatedBranch | None = None
