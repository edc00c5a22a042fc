"""The peak of the memory that processes have for themselves: RssAnon of Linux, sampled.

Pages of a mapped file are left out: the system takes them back whenever it needs them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
EVERY = 0.005  # seconds between two samples


class Peak:
    """The largest sample so far, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def sampled_peak() -> Iterator[Peak]:
    """Sample this process, and all that come from it, while the block runs.

    RuntimeError where there is no /proc to read.
    """
    if not (PROC / "self/status").exists():
        raise RuntimeError("scale: memory is read from /proc, which this system does not have")
    peak, stop = Peak(), threading.Event()

    def sample() -> None:
        while True:
            peak.bytes = max(peak.bytes, anonymous_bytes())
            if stop.wait(EVERY):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def anonymous_bytes() -> int:
    """Return RssAnon of this process and of all that come from it."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        try:
            lines = (PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
            tasks = [*(PROC / str(pid) / "task").iterdir()]
            children = [(t / "children").read_text(encoding="utf-8").split() for t in tasks]
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))
        waiting += [int(child) for found in children for child in found]
    return total
