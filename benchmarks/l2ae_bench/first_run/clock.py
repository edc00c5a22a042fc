"""Seconds of a call on a device: alone, in a graph, and until Python has queued it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from l2ae_kernels.cuda.device import Device

WARM_UP = 3
Call = Callable[[], Any]


@dataclass(frozen=True)
class Clock:
    """Events of CUDA tell the time; in the emulator, which has none, the host's clock."""

    device: Device

    def alone(self, call: Call, repeats: int) -> float:
        """Return the least seconds of one call."""
        for _ in range(WARM_UP):
            call()
        return min(self._once(call) for _ in range(repeats))

    def in_graph(self, call: Call, calls: int, repeats: int) -> float:
        """Return the least seconds of one of so many calls in a graph."""
        call()  # which compiles
        with self.device.capture() as graph:
            for _ in range(calls):
                call()
        return self.alone(graph.launch, repeats) / calls

    def queued(self, call: Call, calls: int) -> float:
        """Return the seconds in which Python queues one call; the device may still be at work."""
        call()
        self.device.synchronize()
        began = perf_counter()
        for _ in range(calls):
            call()
        taken = (perf_counter() - began) / calls
        self.device.synchronize()
        return taken

    def _once(self, call: Call) -> float:
        if self.device.emulated:
            began = perf_counter()
            call()
            return perf_counter() - began
        cuda = self.device.array_module.cuda
        first, last = cuda.Event(), cuda.Event()
        first.record()
        call()
        last.record()
        last.synchronize()
        return float(cuda.get_elapsed_time(first, last)) / 1e3
