"""What was measured on: processor, threads, versions, date, commit."""

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from l2ae_bench.comparison import Measurement
from l2ae_core.environment import machine, versions

OTHER_KERNELS = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "faiss-cpu")
ROOT = Path(__file__).parents[2]  # of the checkout, when there is one


@dataclass(frozen=True)
class Measurements:
    """The rows of one part, and the machine that they were measured on."""

    machine: dict[str, Any]
    rows: list[Measurement]


def describe() -> dict[str, Any]:
    """Return a record of this machine that is JSON-ready."""
    found = versions(PACKAGES)
    del found["l2ae"]  # the commit says more
    return {
        **machine(),
        "python": found.pop("python"),
        "versions": found,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def other_kernels() -> list[str]:
    """Return the variables that make a BLAS, and peers built on it, run as on another processor."""
    return [f"{name}={os.environ[name]}" for name in OTHER_KERNELS if name in os.environ]


def commit() -> str | None:
    """Short hash of the checkout's commit, with "+" when files differ from it; None outside one."""
    if not (ROOT / ".git").exists():
        return None
    try:
        found = _git("rev-parse", "--short=10", "HEAD")
        return found + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
