"""Whether there is a GPU that runs the kernels, and what launchers need to know about it."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

LEAST_CAPABILITY = 8, 0


class NoDevice(RuntimeError):
    """There is no device that runs CUDA kernels; the message says why in one line."""


@dataclass(frozen=True)
class Properties:
    """What launchers need to know about a device."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    shared_per_block: int  # bytes, with the larger limit that a kernel may ask for


def probe(index: int) -> tuple[ModuleType, Properties]:
    """Return CuPy and the properties of a GPU that has computed something; NoDevice says why not.

    index: the number of the GPU.
    """
    try:
        import cupy
    except ImportError as error:
        raise NoDevice(
            f"CuPy cannot be imported ({error}); pip install cupy-cuda13x, or cupy-cuda12x for a "
            "driver of CUDA 12"
        ) from error
    # What the driver, missing libraries and missing headers raise.
    failures = (RuntimeError, OSError, cupy.cuda.compiler.CompileException)
    try:
        with cupy.cuda.Device(index) as device:
            six = float((cupy.arange(3, dtype=np.float32) + 1).sum())
            properties = _properties(cupy, device)
    except failures as error:
        reason = " ".join(str(error).split())
        raise NoDevice(f"no CUDA device: {type(error).__name__}: {reason}") from error
    if six != 6:
        raise NoDevice(f"no CUDA device that computes: 1 + 2 + 3 came out as {six}")
    if properties.compute_capability < LEAST_CAPABILITY:
        found, least = (
            ".".join(map(str, c)) for c in (properties.compute_capability, LEAST_CAPABILITY)
        )
        raise NoDevice(
            f"no CUDA device that runs these kernels: {properties.name} has compute capability "
            f"{found} but cp.async, by which they copy, needs {least}"
        )
    return cupy, properties


def _properties(cupy: ModuleType, device: Any) -> Properties:
    """Read the properties of CuPy's device."""
    attributes, capability = device.attributes, device.compute_capability  # "90", "121"
    return Properties(
        cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode(),
        (int(capability[:-1]), int(capability[-1])),
        attributes["MultiProcessorCount"],
        attributes["MaxSharedMemoryPerBlockOptin"],
    )
