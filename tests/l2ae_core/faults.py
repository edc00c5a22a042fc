"""Faults of a file system, and trials of them in forked children."""

import errno
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from l2ae_core import files, locks

Trial = Callable[[], object]


def kill(target: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk(target: Any) -> None:
    names = () if isinstance(target, int) else (os.fspath(target),)  # as the system does it
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names)


def ctrl_c(target: Any) -> None:
    raise KeyboardInterrupt


class Fault:
    """Strikes at the n-th effect on the file system, or at `times` effects from it on."""

    def __init__(self, at: int, strike: Callable[[Any], None] = kill, times: int = 1) -> None:
        self.at, self.strike, self.times, self.count = at, strike, times, 0

    def strikes(self) -> bool:
        self.count += 1
        return self.at <= self.count < self.at + self.times

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*arguments: Any, **keywords: Any) -> Any:
            if self.strikes():
                self.strike(arguments[0])
            return function(*arguments, **keywords)

        return faulty

    def install(self) -> None:
        """Let every fsync, rename, removal, folder, mode and new file of l2ae count, and of the
        writes into a file the first, second, fourth, …: one more leaves it as incomplete."""
        fault = self

        class FaultyFile(io.FileIO):
            def __init__(self, *arguments: Any) -> None:
                if fault.strikes():
                    fault.strike(arguments[0])
                super().__init__(*arguments)
                self.writes = 0

            def write(self, data: Any) -> int:
                self.writes += 1
                if self.writes.bit_count() == 1 and fault.strikes():
                    super().write(memoryview(data).cast("B")[: len(data) // 2])
                    fault.strike(self.fileno())
                return super().write(data)

        for name in ("fsync", "replace", "unlink", "mkdir", "chmod"):
            setattr(os, name, self.before(getattr(os, name)))
        for module in (files, locks):
            module.FileIO = FaultyFile


def in_child(trial: Trial, fault: Fault | None = None, wait: float | None = None) -> int:
    """Do a trial in a forked child, killed after `wait` seconds; return what `waitpid` says."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if fault is not None:
            fault.install()
        status = 3
        try:
            status = int(trial() or 0)
        finally:
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            os._exit(status)
    if wait is not None:
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
