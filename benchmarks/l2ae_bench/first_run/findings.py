"""What was found, a line of JSON each: written at once, so that nothing is lost at a limit."""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHOWN = 600  # characters of an error


@dataclass(frozen=True)
class Findings:
    """A file of findings. Each has its part, its name, whether it is ok, and what was found.

    A mapping is ok where none of its values is False.
    """

    path: Path
    began: float = field(default_factory=time.perf_counter)

    def add(self, part: str, name: str, found: Any, *, ok: bool = True, **more: Any) -> None:
        """Append one finding."""
        ok = ok and not (isinstance(found, Mapping) and any(v is False for v in found.values()))
        at = round(time.perf_counter() - self.began, 2)
        row = {"part": part, "at": at, "name": name, "ok": ok, "found": found, **more}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")

    def attempt(self, part: str, name: str, function: Callable[[], Any]) -> None:
        """Append what a function returns, or what it raises: the next one is called all the same.

        An assertion or a Disagreement that fails is a finding like any other error.
        """
        try:
            found = function()
        except Exception as error:  # noqa: BLE001  what a first run raises is what it is for
            words = f"{type(error).__name__}: {error}"[:SHOWN]
            where = traceback.format_exc()[-SHOWN:]
            self.add(part, name, words, ok=False, where=where)
        else:
            self.add(part, name, found)

    def read(self) -> list[dict[str, Any]]:
        """Return all findings; of a last line that was cut off, none."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
