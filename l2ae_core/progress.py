"""Progress of whatever takes more than a second: a bar on a terminal, lines in a log.

Where stderr is a file or a pipe, a `Bar` writes a line of its own every 30 seconds, and `say` one
line for each thing that is done, such as an epoch; neither writes a carriage return.
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from threading import RLock
from time import monotonic
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm import tqdm

from l2ae_core.tables import duration

EVERY = 30.0  # seconds between two lines


def on_terminal() -> bool:
    """Whether a bar can be drawn on stderr: on a terminal, and in a notebook."""
    if "ipykernel" in sys.modules:
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def say(line: str, log: logging.Logger, *, shown: bool) -> None:
    """Log what is done; with `shown`, also print it to stderr where no bar says it."""
    log.info(line)
    if shown and not on_terminal():
        print(line, file=sys.stderr, flush=True)


class Bar(tqdm):  # type: ignore[misc]
    """tqdm's bar, or lines where there is no terminal; with `disable`, neither.

    Its lock is its own, and a fork waits for it: a child that is forked while another thread draws
    would inherit a lock that nobody releases. For the same reason no thread watches the bars.
    """

    monitor_interval = 0
    _lock = RLock()
    _instances: ClassVar[WeakSet[Any]] = WeakSet()

    def __init__(
        self, iterable: Iterable[Any] | None = None, *, disable: bool = False, **how: Any
    ) -> None:
        self._in_lines = not disable and not on_terminal()
        self._begun = self._said = monotonic()
        self._name = how.get("desc", "done")
        super().__init__(iterable, disable=disable or self._in_lines, **how)

    def __iter__(self) -> Iterator[Any]:
        if not self._in_lines:
            yield from super().__iter__()
            return
        for item in self.iterable:
            yield item
            self.update()

    def update(self, n: float = 1) -> bool | None:
        """Add n to what is done; draw, or write a line, if it is time."""
        if not self._in_lines:
            drawn: bool | None = super().update(n)
            return drawn
        self.n += n
        if (now := monotonic()) - self._said < EVERY:
            return None
        self._said = now
        print(self._line(now), file=sys.stderr, flush=True)
        return True

    def _line(self, now: float) -> str:
        """Return what is done, in words: "images: 1200 of 5000, 31.0 seconds"."""
        of = f" of {self.total:.12g}" if self.total else ""
        postfix = getattr(self, "postfix", None)  # tqdm has none before the first
        more = f", {postfix}" if postfix else ""
        return f"{self._name}: {self.n:.12g}{of}, {duration(now - self._begun)}{more}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=Bar.get_lock().acquire,
        after_in_parent=Bar.get_lock().release,
        after_in_child=Bar.get_lock().release,
    )
