"""Run a command with AddressSanitizer or ThreadSanitizer in every emulated kernel.

    python -m l2ae_kernels.emulator.sanitized --tool address -- pytest -m cuda tests/l2ae_kernels
    python -m l2ae_kernels.emulator.sanitized --tool thread -- python my_kernels.py

The sanitizer's runtime is preloaded into the command, kernels are compiled for it, and a launch
that it reports raises SanitizerError. Exit status: the command's own, or 1 if there are reports
although the command was content, or 2 if it cannot be started.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from l2ae_kernels.emulator import sanitizers, toolchain
from l2ae_kernels.emulator.errors import CompileError

_LIBRARIES = {"address": ("libasan.so", "libstdc++.so"), "thread": ("libtsan.so",)}
_OPTIONS = {
    # go on after a report: the launch raises it
    "address": ("ASAN_OPTIONS", "detect_leaks=0:halt_on_error=0"),
    # NumPy and Python are not instrumented, so only kernels can race; shared memory of one launch
    # may lie where that of another lay
    "thread": (
        "TSAN_OPTIONS",
        "ignore_noninstrumented_modules=1:suppress_equal_addresses=0:exitcode=0:history_size=4",
    ),
}
_FRAMES = "stack_trace_format='    #%n %f %S (%m+%o)'"  # whole paths: addr2line needs them


def environment(tool: str, log: Path) -> dict[str, str]:
    """Return the environment for a process in which kernels run under `tool`."""
    path = toolchain.current()
    if "clang" in Path(path).name:
        raise CompileError(f"sanitized: it takes g++'s runtime, but the compiler is {path}")
    preload = [_find(path, library) for library in _LIBRARIES[tool]]
    variable, options = _OPTIONS[tool]
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(preload),
        variable: f"{options}:{_FRAMES}:log_path={log}",
        sanitizers.ENVIRONMENT: tool,
        sanitizers.LOG: str(log),
    }


def _find(compiler: str, library: str) -> str:
    command = [compiler, f"-print-file-name={library}"]
    path = subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()
    if not Path(path).is_file():
        raise CompileError(f"sanitized: {compiler} comes without {library}; install it")
    return path


def run(tool: str, command: Sequence[str], capture: bool = False) -> tuple[int, str, str]:
    """Run `command` under `tool`; return its exit status, its captured output and all reports."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "report"
        done = subprocess.run(
            [*_fixed_addresses(), *command],
            env=environment(tool, log),
            stdout=subprocess.PIPE if capture else None,
            text=True,
        )
        reports = [path.read_text(errors="replace") for path in sorted(Path(folder).iterdir())]
    return done.returncode, done.stdout or "", sanitizers.readable("\n".join(reports))


def _fixed_addresses() -> list[str]:
    """ThreadSanitizer wants memory where it looks for it, which random addresses may miss."""
    setarch = shutil.which("setarch")
    if setarch is None:
        return []
    works = subprocess.run([setarch, "-R", "true"], capture_output=True).returncode == 0
    return [setarch, "-R"] if works else []


def _full(command: Sequence[str]) -> list[str]:
    """Let `pytest` and `python` be those of this interpreter."""
    if command[0] == "pytest":  # its crash handler does not go with a sanitizer's
        return [sys.executable, "-m", "pytest", "-p", "no:faulthandler", *command[1:]]
    return [sys.executable, *command[1:]] if command[0] == "python" else list(command)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m l2ae_kernels.emulator.sanitized", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--tool", choices=toolchain.TOOLS, required=True)
    parser.add_argument("command", nargs="+", metavar="-- COMMAND", help="e.g. -- pytest -q tests")
    chosen = parser.parse_args(arguments)
    try:
        status, _, reports = run(chosen.tool, _full(chosen.command))
    except CompileError as error:
        print(error, file=sys.stderr)
        return 2
    if reports.strip():
        print(reports, file=sys.stderr)
        print(f"sanitized: {chosen.tool} has reports, see above", file=sys.stderr)
        return status or 1
    return status


if __name__ == "__main__":
    sys.exit(main())
