"""What pytest does on the stand-in: memory is poisoned, faults and overruns fail the test."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .device import StandIn
from .install import Unavailable, install


class StandInPlugin:
    """CuPy on a stand-in device for all tests of a process, where there is such a CuPy.

    L2AE_STAND_IN_EAGER=1 does work at once: what passes with it and fails without lacks a wait.
    """

    NAME = "stand-in"

    def __init__(self) -> None:
        self.device: StandIn | None = None
        self.reason = ""
        self._counts: Counter[str] = Counter()  # of all processes
        try:
            self.device = install(eager=os.environ.get("L2AE_STAND_IN_EAGER") == "1")
        except Unavailable as error:
            self.reason = f"no stand-in: {error}"
            return
        self._hook = poisoning(self.device)
        self._hook.__enter__()

    def pytest_report_header(self) -> str:
        """Say whether CuPy is on the stand-in."""
        return self.reason or "stand-in: CuPy has a device that the CPU poses as"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Do what a test has queued; its faults are the test's."""
        yield
        if self.device is None:
            return
        faults, overruns = self.device.mend(), self.device.overruns()
        if faults:
            pytest.fail(f"the device broke: {type(faults[0]).__name__}: {faults[0]}")
        if overruns:
            pytest.fail(f"something was written beside {overruns} blocks of memory")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Count what was done in this process; a worker of xdist sends it."""
        if self.device is None:
            return
        self._counts += self.device.counts
        for name, count in self.device.unknown.items():
            self._counts[f"calls of {name}, which is not modelled"] += count
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[self.NAME] = dict(self._counts)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add what a worker has counted."""
        self._counts += Counter(getattr(node, "workeroutput", {}).get(self.NAME, {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what the tests have done with the device."""
        terminalreporter.write_sep("-", "stand-in")
        for what, count in sorted(self._counts.items()):
            terminalreporter.write_line(f"{count:8,} {what}")


def poisoning(device: StandIn) -> Any:
    """Return a hook of CuPy's pool: an array that it hands out holds no earlier numbers."""
    import cupy

    class Poisoning(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "poisoning"

        def malloc_postprocess(self, **block: int) -> None:
            stream = device.stream(cupy.cuda.get_current_stream().ptr)
            with device.call():
                device.poison(block["mem_ptr"], block["mem_size"], stream)

    return Poisoning()
