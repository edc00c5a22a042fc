"""AddressSanitizer and ThreadSanitizer, as a kernel's launch meets them.

Their runtime has to be in the process from its start: `python -m l2ae_kernels.emulator.sanitized`
sees to that. It writes reports to a file of this process; what a launch adds becomes an error.
"""

import ctypes
import os
import re
import shutil
import threading
from functools import cache
from pathlib import Path

from l2ae_kernels.emulator import toolchain
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


class Spares(ctypes.Structure):
    """`emulator::Spares` of runtime/engine.hpp: ThreadSanitizer's fibers between launches."""

    _fields_ = [("fibers", ctypes.c_void_p * 4096), ("count", ctypes.c_size_t)]


@cache
def spares() -> tuple[Spares, threading.Lock]:
    """Return the spare fibers of this process, and the lock of all launches that use them."""
    return Spares(), threading.Lock()


class Reports:
    """What the sanitizer writes from here on."""

    def __init__(self) -> None:
        log = os.environ.get(LOG)
        self._path = Path(f"{log}.{os.getpid()}") if log else None
        self._seen = self._size()

    def raise_if_any(self, where: str) -> None:
        """Raise what was reported since the start; `where` names the kernel and maybe a thread."""
        if self._path is None or self._size() == self._seen:
            return
        with self._path.open("rb") as file:
            file.seek(self._seen)
            report = file.read().decode(errors="replace").strip()
        raise SanitizerError(f"{where}\n{readable(report)}")

    def _size(self) -> int:
        return self._path.stat().st_size if self._path and self._path.exists() else 0


def readable(report: str) -> str:
    """Shorten a report to what a kernel's author needs: CUDA threads, and lines of the .cu file.

    g++'s runtime leaves out functions and lines of libraries loaded late: addr2line has them.
    """
    for number, name in dict(re.findall(r"Thread (T\d+) '([^']+)'", report)).items():
        report = re.sub(rf"\b(by thread) {number}\b", rf"\1 {number}, {name}", report)
    unnamed = r"(?:<null> <null> )?\((/\S+\.so)\+(0x[0-9a-f]+)\)"
    lines = []
    for line in report.splitlines():
        if line.startswith("Shadow bytes"):
            break
        if "<null>" in line or line.startswith("SUMMARY"):
            line = re.sub(unnamed, lambda frame: _place(frame[1], frame[2]), line)
        if not _BELOW.search(line):
            lines.append(line)
    return "\n".join(lines)


# frames below and beside every kernel
_BELOW = re.compile(
    r"^ +#\d.*(runtime/(engine|launch|export|block|fiber)\.|c\+\+/\d|libffi|PyDataMem)"
)


@cache
def _place(library: str, offset: str) -> str:
    tool = shutil.which("addr2line")
    if tool is None:
        return f"({library}+{offset})"
    function, place = toolchain.run([tool, "-f", "-C", "-e", library, offset]).splitlines()[:2]
    return f"{function} {place.split(' (')[0]}"
