"""The folder of emitted machine code, and of what was measured of it: `kernels` in the user's cache
directory, or what L2AE_CACHE_DIR says.

A file is named by a hash of what its content was made from, the processor and LLVM's version, so it
never goes stale. How files are written and read: checked_files.py.
"""

import hashlib
import os
import platform
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from l2ae_kernels import checked_files


def folder() -> Path:
    """Return the folder of the cache; it need not exist."""
    base = checked_files.cache_folder()
    return base if os.environ.get(checked_files.ENVIRONMENT) else base / "kernels"


def path_of(origin: str, suffix: str = ".o") -> Path:
    """Return the file of what is made from `origin` on this processor; it need not exist."""
    key = repr((llvmlite.__version__, host(), origin))
    return folder() / f"{hashlib.sha256(key.encode()).hexdigest()}{suffix}"


def host() -> tuple[str, str]:
    """Return LLVM's name of this processor, which several models may share, and its features."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def processor() -> str:
    """Return the name of the processor; Linux tells it in one file, elsewhere Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
