"""The stand-in: a device with memory, streams and kernels, of which `driver` and `runtime` tell.

Work that fails while it is done breaks the device, as a fault on a GPU does: nothing is done after
it, and every call that launches, copies or waits returns an error until `mend`.
"""

import ctypes
import gc
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from l2ae_kernels.emulator.errors import CompileError, EmulatorError

from .errors import Code, Refused
from .kernels import Function, Module
from .memory import POISON, Memory
from .schedule import Event, Graph, Schedule, Stream, Work

NAME = "stand-in"
FAULTS = (EmulatorError, CompileError, ValueError)  # that the emulator tells of a launch


Entry = TypeVar("Entry")


class StandIn:
    """All of its state.

    counts: launches, copies, waits, allocations so far. launches: by kernel. unknown: functions of
    CUDA that were called and are not modelled.
    """

    def __init__(self, eager: bool = False, order: str = "shuffled") -> None:
        self._lock = threading.RLock()
        self.schedule = Schedule(eager)
        self.memory, self.pinned = Memory(), Memory()
        self.order = order
        self._handles = itertools.count(0x1000, 16)
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, Graph] = {}
        self.modules: dict[int, Module] = {}
        self.functions: dict[int, Function] = {}
        self.counts: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.faults: list[Exception] = []
        self.libraries: tuple[object, ...] = ()  # whose functions CuPy calls

    @contextmanager
    def call(self) -> Iterator[None]:
        """Allow one call of CUDA at a time, and none in the middle of it.

        A garbage collection would make those of what it frees: streams, events, memory.
        """
        with self._lock:
            collects = gc.isenabled()
            gc.disable()
            try:
                yield
            finally:
                if collects:
                    gc.enable()

    def keep(self, table: dict[int, Entry], entry: Entry) -> int:
        """Put an object into a table, and return the number that CuPy knows it by."""
        handle = next(self._handles)
        table[handle] = entry
        return handle

    def queue(
        self,
        stream: Stream,
        name: str,
        action: Callable[[], object] | None,
        after: Iterable[Work] = (),
    ) -> Work:
        """Queue work whose fault breaks the device."""
        self.refuse_when_broken()
        return self.schedule.queue(stream, name, action and self.guarded(action), after)

    def guarded(self, action: Callable[[], object]) -> Callable[[], object]:
        """Return an action that keeps its fault, and is nothing on a broken device."""

        def act() -> None:
            if self.faults:
                return
            try:
                action()
            except FAULTS as fault:
                self.faults.append(fault)

        return act

    def refuse_when_broken(self) -> None:
        """Return the fault of earlier work to whoever asks for more."""
        if self.faults:
            raise Refused(Code.LAUNCH_FAILURE)

    def stream(self, handle: int | None) -> Stream:
        """Return the stream of a number; 0 is the legacy one."""
        if (handle or 0) not in self.schedule.streams:
            raise Refused(Code.INVALID_RESOURCE_HANDLE)
        return self.schedule.streams[handle or 0]

    def launch(
        self,
        function: Function,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        dynamic: int,
        stream: Stream,
        values: list[bytes],
        cooperative: bool,
    ) -> None:
        """Queue a kernel."""
        function.check(grid, block, dynamic, cooperative)
        self.queue(
            stream, function.name, lambda: function.run(grid, block, dynamic, values, cooperative)
        )
        self.launches[function.name] += 1
        self.counts["cooperative launches" if cooperative else "launches"] += 1

    def poison(self, address: int, size: int, stream: Stream) -> None:
        """Fill memory that is handed out again, once the stream has done with it."""
        if stream.capture is None and not self.faults:
            self.queue(stream, "poison", lambda: ctypes.memset(address, POISON, size))

    def overruns(self) -> int:
        """Return how many blocks of memory something was written beside."""
        with self.call():
            return sum(b.overrun() for memory in (self.memory, self.pinned) for b in memory)

    def mend(self) -> list[Exception]:
        """Do all that is queued, return the faults, and forget them."""
        with self.call():
            self.schedule.synchronize_all()
            faults, self.faults = self.faults, []
        return faults
