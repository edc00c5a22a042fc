"""Small works that launch every kernel once, for the gates: seconds of each, as JSON.

    python -m l2ae_kernels.cuda.works

A work that fails, as it does under a sanitizer that reports something, stands for its kernels.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import network_works
from l2ae_kernels.cuda.device import Device, Kernel, emulate
from l2ae_kernels.cuda.kmeans import init, tensor
from l2ae_kernels.cuda.kmeans.restarts import Resident
from l2ae_kernels.emulator.errors import EmulatorError


class Timed:
    """A device that says how long each kernel took, and which one a work ended in."""

    def __init__(self, device: Device) -> None:
        self.seconds: dict[str, float | str] = {}
        self._launch = device.launch
        device.launch = self.launch  # type: ignore[method-assign]

    def launch(self, kernel: Kernel, *arguments: Any, **named: Any) -> None:
        """Launch a kernel and take its time, or its error."""
        began = time.perf_counter()
        try:
            self._launch(kernel, *arguments, **named)
        except EmulatorError as error:
            self.seconds[kernel.name] = str(error).splitlines()[0]
            raise
        taken = time.perf_counter() - began
        before = self.seconds.get(kernel.name, 0.0)
        if not isinstance(before, str):
            self.seconds[kernel.name] = before + taken


def points(n: int, d: int) -> Array:
    """Return samples (n, d) float32."""
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


def passes(device: Device, n: int, d: int, k: int) -> None:
    """Assign, update, a pass of two runs, an adopted assignment."""
    x = device.to_device(points(n, d))
    labels, distances = ops.assign(x, x[:k], impl="cuda-registers")
    ops.update(x, labels, k)
    restarts = ops.restarts(x, k, 2)
    restarts.centers[:] = points(n, d)[:k]
    restarts.assign([0, 1])
    restarts.adopt(1, labels, distances)


def resident(device: Device) -> None:
    """Runs to their end in one launch."""
    restarts = Resident(device.to_device(points(150, 3)), 7, 2)
    restarts.centers[:] = points(150, 3)[:7]
    restarts.assign([0, 1])
    restarts.run_ahead([0, 1], [4, 2], 0.0, False)


def starts(device: Device) -> None:
    """A greedy start of two runs."""
    draws = np.random.default_rng(0).random((2, 2, 3))
    init.greedy_init(device.to_device(points(600, 5)), 3, np.array([1, 2]), draws)


def tensor_cores(device: Device) -> None:
    """An assignment by tensor cores."""
    tensor.assign_tensor(device.to_device(points(70, 40)), device.to_device(points(66, 40)))


WORKS: list[Callable[[Device], None]] = [
    lambda device: passes(device, 150, 3, 7),
    lambda device: passes(device, 150, 40, 3),
    resident,
    starts,
    tensor_cores,
    *network_works.WORKS,
]


def run() -> dict[str, float | str]:
    """Run every work in the emulator; seconds of each kernel, or its error."""
    device = emulate(order="shuffled", seed=1)
    timed = Timed(device)
    for work in WORKS:
        try:
            work(device)
        except EmulatorError:
            continue  # it is in the table, under the kernel's name
    return timed.seconds


if __name__ == "__main__":
    print(json.dumps(run()))
