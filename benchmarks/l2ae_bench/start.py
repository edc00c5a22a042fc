"""Seconds until the first training step of a new process is done, its code compiled or from cache.

start-cold          without an entry in any cache: everything is compiled
start-warm          with the cache that the process before left
...-with-import     from the start of the process: the interpreter and the imports are in it
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from l2ae_bench.comparison import Measurement, make_row
from l2ae_kernels.checked_files import ENVIRONMENT as KERNELS
from l2ae_kernels.cpu.codegen import vectors

WARM_STARTS = 3
COMMAND = (sys.executable, str(Path(__file__).parents[1] / "first_step.py"))


def rows(threads: int, done: Callable[[], object] = lambda: None) -> list[Measurement]:
    """Start processes with an empty cache and with a full one; `done` is called after each."""
    with tempfile.TemporaryDirectory(prefix="l2ae-bench-") as folder:
        found = []
        for _ in range(1 + WARM_STARTS):
            found.append(_first_step(threads, Path(folder)))
            done()
    cold, warm = found[:1], found[1:]
    return [
        make_row(f"start-{name}{ending}", threads, {"ours": [s[key] for s in seconds]}, None)
        for name, seconds in (("cold", cold), ("warm", warm))
        for ending, key in (("", "step"), ("-with-import", "all"))
    ]


def _first_step(threads: int, folder: Path) -> dict[str, float]:
    """Return the seconds that a new process took, with both caches below `folder`."""
    emitted = vectors.get_vectors()
    environment = os.environ | {
        KERNELS: str(folder / "kernels"),
        "NUMBA_CACHE_DIR": str(folder / "numba"),
        vectors.ENVIRONMENT: "none" if emitted is None else emitted.label,
    }
    started = time.time()
    process = subprocess.run(
        [*COMMAND, str(threads)], env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:]
        raise ValueError(f"start: the process ended with {process.returncode}: {reason}")
    clock: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return clock | {"all": clock["done"] - started}
