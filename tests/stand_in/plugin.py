"""What pytest does on the stand-in: memory is poisoned, faults and overruns fail the test."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from .device import StandIn
from .install import Unavailable, install


class StandInPlugin:
    """CuPy on a stand-in device for all tests of a process.

    L2AE_STAND_IN_EAGER=1 does work at once: what then passes and fails without it lacks a wait.
    """

    NAME = "stand-in"

    def __init__(self) -> None:
        try:
            self.device = install(eager=os.environ.get("L2AE_STAND_IN_EAGER") == "1")
        except Unavailable as error:
            raise pytest.UsageError(f"L2AE_STAND_IN=1: {error}") from error
        self._hook = poisoning(self.device)
        self._hook.__enter__()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Do what a test has queued; its faults are the test's."""
        yield
        faults, overruns = self.device.mend(), self.device.overruns()
        if faults:
            pytest.fail(f"the device broke: {type(faults[0]).__name__}: {faults[0]}")
        if overruns:
            pytest.fail(f"something was written beside {overruns} blocks of memory")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what the tests have done with the device."""
        device = self.device
        kernels = len(device.launches)
        counted = ", ".join(f"{count} {what}" for what, count in sorted(device.counts.items()))
        terminalreporter.write_sep("-", "stand-in")
        terminalreporter.write_line(f"{counted or 'nothing'}; {kernels} kernels")
        for name, count in device.unknown.items():
            terminalreporter.write_line(f"not modelled: {name}, called {count} times")


def poisoning(device: StandIn) -> Any:
    """Return a hook of CuPy's pool: an array that it hands out holds no earlier numbers."""
    import cupy

    class Poisoning(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "poisoning"

        def malloc_postprocess(self, **block: int) -> None:
            stream = device.stream(cupy.cuda.get_current_stream().ptr)
            device.poison(block["mem_ptr"], block["mem_size"], stream)

    return Poisoning()
