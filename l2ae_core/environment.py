"""What the bits of a result depend on: versions, and the machine."""

import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import l2ae_core

PACKAGES = ("numpy", "numba", "scipy", "scikit-learn")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of this package, of Python, and of those `packages` that are here."""
    found = {name: _version(name) for name in packages}
    return {
        "l2ae": l2ae_core.__version__,
        "python": platform.python_version(),
        **{name: v for name, v in found.items() if v is not None},
    }


def machine() -> dict[str, Any]:
    """Return processor, system, cores of this process, vectors of the kernels, BLAS; JSON-ready."""
    from l2ae_kernels.cpu.codegen.cache import processor
    from l2ae_kernels.cpu.codegen.vectors import get_vectors

    vectors = get_vectors()
    return {
        "processor": processor(),
        "system": platform.system(),
        "cores": cores(),
        "vectors": "none" if vectors is None else vectors.label,
        "blas": blas(),
    }


def cores() -> int:
    """Return the cores that this process may use, as Numba counts them."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas() -> list[str]:
    """Return each BLAS that this process has loaded, with the processor that its kernels are for.

    That of PyTorch is among them only where it is a library of its own and PyTorch was imported.
    """
    from threadpoolctl import threadpool_info

    found = [i for i in threadpool_info() if i["user_api"] == "blas"]
    fields = ("internal_api", "version", "architecture")
    return sorted({" ".join(str(i[f]) for f in fields if i.get(f)) for i in found})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
