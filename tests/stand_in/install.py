"""The real CuPy on the stand-in: its driver and its runtime are functions of this process."""

import atexit
import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

from .device import StandIn
from .driver import Driver
from .functions import Library
from .runtime import Runtime
from .symbols import end, functions, loaded_at, places, replace

CUPY = "14.2."  # whose calls are modelled, and whose wheel has been looked into
LIBRARY = "libcuda.so.1"
SETTINGS = {
    "CUPY_COMPILE_WITH_PTX": "1",  # NVRTC makes PTX, not machine code
    "CUPY_ACCELERATORS": "",  # CUB's kernels are others than CuPy's own, and are compiled longer
}


class Unavailable(RuntimeError):
    """There is no CuPy here that the stand-in can carry; the message says why in one line."""


def check() -> None:
    """Say why the stand-in cannot be installed, by `Unavailable`."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise Unavailable(f"the stand-in is for Linux on x86-64, not {platform.platform()}")
    try:
        version = metadata.version("cupy-cuda13x")
    except metadata.PackageNotFoundError as error:
        raise Unavailable("cupy-cuda13x is not installed: pip install -e '.[cuda13]'") from error
    if not version.startswith(CUPY):
        raise Unavailable(f"the stand-in is for CuPy {CUPY}x, not {version}")
    if "cupy" in sys.modules:
        raise Unavailable("CuPy is imported already")


def install(eager: bool = False, order: str = "shuffled") -> StandIn:
    """Import CuPy on a new stand-in, for the rest of the process; `Unavailable` where it cannot."""
    check()
    device = StandIn(eager, order)
    os.environ.update(SETTINGS)
    from cupy_backends.cuda.api import runtime

    driver, own = Driver(device), Runtime(device)
    device.libraries = driver, own
    replaced = [*_replace_runtime(Path(runtime.__file__), own), *_load_driver(driver)]

    def end_all() -> None:
        """CuPy's objects live longer than Python can be called."""
        for address in replaced:
            end(address)

    atexit.register(end_all)
    sys.modules["cupy_backends.cuda.libs.cublas"] = None  # type: ignore[assignment]
    import cupy

    cupy.cuda.Device(0).synchronize()
    return device


def _replace_runtime(path: Path, runtime: Library) -> Iterator[int]:
    """Let every function of the runtime that is linked into CuPy be one of the stand-in."""
    offsets = functions(path, "cuda")
    if "cudaMalloc" not in offsets:
        raise Unavailable(f"{path.name} has no names of CUDA's functions")
    base = loaded_at(path)
    for name, offset in offsets.items():
        replace(base + offset, runtime.pointer(name))
        yield base + offset


def _load_driver(driver: Library) -> Iterator[int]:
    """Let CuPy, which loads the driver by ctypes when it first needs it, get the stand-in's.

    It copies the pointer that an attribute of the library is.
    """
    addresses, made = places(), []

    class Loaded:
        def __getattr__(self, name: str) -> ctypes.c_void_p:
            made.append(next(addresses))
            replace(made[-1], driver.pointer(name))
            return ctypes.c_void_p(made[-1])

    load = ctypes.CDLL

    def library(name: Any, *arguments: Any, **named: Any) -> Any:
        return Loaded() if name == LIBRARY else load(name, *arguments, **named)

    with mock.patch("ctypes.CDLL", library):
        from cupy_backends.cuda.api import driver as theirs

        theirs.ctxGetCurrent()
    yield from made
