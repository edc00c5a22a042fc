"""SIGTERM and SIGHUP raise an exception as Ctrl-C does, so that a command ends with whole files."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Terminated(KeyboardInterrupt):
    """A signal asks the process to end; what handles KeyboardInterrupt handles this, too."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


@contextmanager
def raised_signals() -> Iterator[None]:
    """Raise Terminated in the block when one of the signals arrives; then as before.

    A signal that is ignored, as `nohup` has it, stays ignored. Only the main thread can do this: in
    others the block runs as it is.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_the_parent() -> None:
    """Ignore SIGINT, SIGTERM and SIGHUP in a process that its parent ends.

    A terminal sends them to all processes of a command: a worker that ended by itself would be an
    error for the parent, which has not handled the signal yet. Call it on the main thread.
    """
    for name in ("SIGINT", *NAMES):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return 128 + the number of the signal, as shells count: 130 after Ctrl-C."""
    number = interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT
    return 128 + number


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)
