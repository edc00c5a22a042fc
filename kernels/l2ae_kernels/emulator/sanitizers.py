"""AddressSanitizer and ThreadSanitizer, as a kernel's launch meets them.

Their runtime has to be in the process from its start, which `python -m l2ae_kernels.emulator.sanitized`
sees to. It writes reports to a file of this process; whatever a launch adds to it becomes an error.
"""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

from l2ae_kernels.emulator.errors import SanitizerError

ENVIRONMENT = "L2AE_EMULATOR_SANITIZE"  # the tool that modules are built with if nothing is said
LOG = "L2AE_EMULATOR_SANITIZER_LOG"  # reports are in this path, plus . and the process's number
_ENTRY = {"address": "__asan_init", "thread": "__tsan_init"}


def chosen(tool: str | None) -> str | None:
    """Return the tool to build with, once it is sure that its runtime is in the process."""
    tool = tool or os.environ.get(ENVIRONMENT) or None
    if tool is None:
        return None
    if tool not in _ENTRY:
        raise ValueError(f"sanitize: expected None, 'address' or 'thread', but got {tool!r}")
    if not hasattr(ctypes.CDLL(None), _ENTRY[tool]):
        raise SanitizerError(
            f"sanitize={tool!r}: the sanitizer is not in this process. Start it with "
            f"`python -m l2ae_kernels.emulator.sanitized --tool {tool} -- COMMAND`"
        )
    return tool


class Reports:
    """What the sanitizer writes from here on."""

    def __init__(self) -> None:
        log = os.environ.get(LOG)
        self._path = Path(f"{log}.{os.getpid()}") if log else None
        self._seen = self._size()

    def raise_if_any(self, kernel: str) -> None:
        """Raise what was reported since the start."""
        if self._path is None or self._size() == self._seen:
            return
        with self._path.open("rb") as file:
            file.seek(self._seen)
            report = file.read().decode(errors="replace").strip()
        raise SanitizerError(f"kernel {kernel!r}\n{with_lines(report)}")

    def _size(self) -> int:
        return self._path.stat().st_size if self._path and self._path.exists() else 0


_FRAME = re.compile(r"\((/\S+\.so)\+(0x[0-9a-f]+)\)")


def with_lines(report: str) -> str:
    """Fill in functions and lines, which g++'s runtime leaves out for libraries loaded late."""
    tool = shutil.which("addr2line")
    if tool is None:
        return report
    for frame in dict.fromkeys(_FRAME.findall(report)):
        library, offset = frame
        command = [tool, "-f", "-C", "-e", library, offset]
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        done = subprocess.run(command, text=True, capture_output=True, env=environment)
        function, place = (done.stdout.splitlines() + ["??", "??:0"])[:2]
        if function != "??":
            named = f"{function} {place.split(' (')[0]}"
            report = report.replace(f"<null> <null> ({library}+{offset})", named)
            report = report.replace(f"({library}+{offset})", f"({named})")
    return report
