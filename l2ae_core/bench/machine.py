"""What was measured on: processor, threads, versions, date, commit."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from l2ae_core.bench.rounds import Row
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.threads import MOST

OTHER_KERNELS = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "faiss-cpu")
ROOT = Path(__file__).parents[2]  # of the checkout, when there is one


@dataclass(frozen=True)
class Result:
    """The rows of one part, and the machine that they were measured on."""

    machine: dict[str, Any]
    rows: list[Row]


def describe() -> dict[str, Any]:
    """Return a record of this machine that is JSON-ready."""
    vectors = get_vectors()
    return {
        "processor": processor(),
        "cores": MOST,
        "vectors": "none" if vectors is None else vectors.name,
        "blas": blas(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name)) is not None},
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def blas() -> list[str]:
    """Return each BLAS that this process has loaded, with the processor that its kernels are for.

    That of PyTorch is among them only where it is a library of its own and PyTorch was imported.
    """
    found = [i for i in threadpool_info() if i["user_api"] == "blas"]
    fields = ("internal_api", "version", "architecture")
    return sorted({" ".join(str(i[f]) for f in fields if i.get(f)) for i in found})


def other_kernels() -> list[str]:
    """Return the variables that make a BLAS, and peers built on it, run as on another processor."""
    return [f"{name}={os.environ[name]}" for name in OTHER_KERNELS if name in os.environ]


def processor() -> str:
    """Name of the processor; Linux tells it in one file, elsewhere Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
