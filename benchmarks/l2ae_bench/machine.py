"""What was measured on: processor, threads, versions, date, commit."""

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llvmlite.binding import get_host_cpu_name

from l2ae_bench.comparison import Measurement
from l2ae_core.environment import machine, versions
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.microkernels import dense_tile, dense_tile_times

OTHER_KERNELS = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "torch", "faiss-cpu")
SYSTEM, CPUINFO = Path("/sys/devices/system/cpu/cpu0"), Path("/proc/cpuinfo")
MODEL = ("vendor", "family", "model", "stepping")
BUSY = 0.5  # of the load average of a minute
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
        "cpu": get_host_cpu_name(),  # LLVM's name of the microarchitecture
        "dense_tile": tile(),
        **processor(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": found.pop("python"),
        "versions": found,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def tile() -> str | None:
    """Return the tile of the dense products here, "6x4"; None where no kernels are emitted."""
    vectors = get_vectors()
    return None if vectors is None else dense_tile.name_of(dense_tile_times.chosen(vectors))


def processor() -> dict[str, Any]:
    """Return what Linux tells of the processor; None where it does not, as in most containers."""
    frequency = SYSTEM / "cpufreq"
    largest = _text(frequency / "cpuinfo_max_freq")
    caches = [
        f"L{level} {kind.lower()} {size}"
        for cache in sorted((SYSTEM / "cache").glob("index*"))
        if (level := _text(cache / "level")) and (kind := _text(cache / "type"))
        and (size := _text(cache / "size"))
    ]  # fmt: skip
    model = [_cpuinfo(name) for name in ("vendor_id", "cpu family", "model", "stepping")]
    return {
        "model": ", ".join(f"{n} {v}" for n, v in zip(MODEL, model, strict=True) if v) or None,
        "mhz": float(mhz) if (mhz := _cpuinfo("cpu MHz")) else None,  # of the first core, now
        "max_mhz": int(largest) / 1000 if largest else None,
        "governor": _text(frequency / "scaling_governor"),
        "caches": caches or None,
    }


def short_name(machine: dict[str, Any]) -> str:
    """Return what tells this processor from others: "AMD EPYC znver4, avx512, 2 cores"."""
    parts = [machine["processor"], *([machine["cpu"]] if machine.get("cpu") else [])]
    return f"{' '.join(parts)}, {machine['vectors']}, {machine['cores']} cores"


def folder(machine: dict[str, Any]) -> str:
    """Return the name of a processor as that of a folder: "amd-epyc-znver4-avx512-2-cores"."""
    return re.sub(r"[^a-z0-9]+", "-", short_name(machine).lower()).strip("-")


def in_words(machine: dict[str, Any]) -> list[str]:
    """Say what is measured on: a line, and one more where something else is at work."""
    parts = [machine["processor"]]
    parts += [f"({machine['model']})"] if machine.get("model") else []
    text = f"{' '.join(parts)}, {machine['cores']} cores, vectors {machine['vectors']}"
    if machine.get("mhz"):
        text += f", {machine['mhz']:.0f} MHz"
    text += f", governor {machine.get('governor') or 'not told'}"
    load = machine.get("load") or 0.0
    busy = [f"load {load:g} before the start: other programs are at work, and times vary"]
    return [text] + (busy if load > BUSY else [])


def _cpuinfo(name: str) -> str | None:
    for line in (_text(CPUINFO) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _text(path: Path) -> str | None:
    """The content of a file of the system; None where there is none to read."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


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
