"""Versions, the card, the bandwidth of a copy, and what can be imported."""

import os
import platform
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module, metadata
from typing import Any

import numpy as np

from l2ae_bench.first_run.clock import Clock
from l2ae_bench.first_run.findings import Findings
from l2ae_kernels.cuda.device import Device

PACKAGES = (
    "numpy", "cupy-cuda13x", "numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings",
    "nvidia-cuda-nvrtc", "nvidia-cublas", "torch", "triton", "jax", "jaxlib", "scipy",
    "scikit-learn", "matplotlib", "tqdm", "pytest", "pytest-xdist", "hypothesis", "platformdirs",
    "pooch", "flash-kmeans", "flashlib",
)  # fmt: skip
MODULES = (
    "l2ae_kernels.ops", "l2ae_kernels.cuda.training", "l2ae_core.cli", "l2ae_core.method",
    "l2ae_core.training.loop", "l2ae_core.clustering.kmeans", "l2ae_core.paper",
    "l2ae_bench.command",
)  # fmt: skip
TOOLS = (
    "nvcc", "g++", "ncu", "compute-sanitizer", "cuobjdump",
)  # fmt: skip
ATTRIBUTES = (
    "CooperativeLaunch", "MultiProcessorCount", "MaxSharedMemoryPerBlockOptin",
    "MaxRegistersPerBlock", "L2CacheSize", "ClockRate", "MemoryClockRate", "PageableMemoryAccess",
)  # fmt: skip
SMI = (
    "nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,memory.total,power.limit,"
    "mig.mode.current --format=csv,noheader"
)


def run(device: Device, findings: Findings, tiny: bool) -> None:
    """Append the facts."""
    findings.add("facts", "python", [platform.python_version(), sys.executable, os.cpu_count()])
    findings.add("facts", "packages", {name: _version(name) for name in PACKAGES})
    findings.add("facts", "tools", {name: shutil.which(name) for name in TOOLS})
    for name in MODULES:
        findings.attempt("facts", f"import {name}", partial(_imported, name))
    findings.add("facts", "device", str(device.properties))
    if not device.emulated:
        findings.attempt("facts", "nvidia-smi", lambda: _said(SMI))
        findings.attempt("facts", "attributes", lambda: _attributes(device))
    findings.attempt(
        "facts", "copy", lambda: {"TB/s": copy_rate(device, 1 << (12 if tiny else 30))}
    )


def copy_rate(device: Device, size: int) -> float:
    """Return TB/s of a copy of that many bytes, which reads and writes them."""
    x, y = device.zeros(size, np.uint8), device.empty(size, np.uint8)

    def copy() -> None:
        y[...] = x

    return 2 * size / Clock(device).alone(copy, 10) / 1e12


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _imported(name: str) -> str:
    return import_module(name).__name__


def _said(command: str) -> str:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _attributes(device: Device) -> dict[str, Any]:
    known = device.array_module.cuda.Device(device.index).attributes
    return {name: known.get(name) for name in ATTRIBUTES}
