"""Kernels of a PTX text: for what has no CUDA C++, as a stand-in for a driver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2ae_kernels.emulator import sanitizers
from l2ae_kernels.emulator.module import Kernel, Library, check_order, opened
from l2ae_kernels.emulator.ptx import compile as compiler
from l2ae_kernels.emulator.ptx.counters import LaunchCounts


@dataclass(frozen=True)
class PtxSignature:
    """What a PTX text says of a kernel."""

    parameters: tuple[int, ...]  # bytes of each
    shared: int  # bytes of static shared memory
    max_threads: int  # of a block, .maxntid


class PtxModule:
    """Kernels of a PTX text, run in the emulator.

    `order`, `seed`: as RawModule has them. `count` fills `counts`, a launch after the other.
    `extra_bits`: how many bits beyond float32's a tensor core keeps of what it adds; that is not
    documented, and 0 is the worst case. `debug` compiles without optimization, much faster.
    """

    def __init__(
        self,
        ptx_text: str,
        *,
        enable_cooperative_groups: bool = False,
        order: str = "shuffled",
        seed: int = 1,
        count: bool = False,
        extra_bits: int = 0,
        debug: bool = False,
    ) -> None:
        check_order(order, seed)
        self.order, self.seed, self.cooperative = order, seed, enable_cooperative_groups
        self.tool = sanitizers.chosen(None)
        self.counts: list[LaunchCounts] | None = [] if count else None
        self.path: Path = compiler.library(
            ptx_text, compiler.How(count, extra_bits, self.tool, debug)
        )
        self._library: Library = opened(self.path, self.tool)
        described = self._library.description["kernels"]
        self.kernels: Mapping[str, PtxSignature] = {
            name: PtxSignature(tuple(k["parameters"]), k["shared"], k["max_threads"])
            for name, k in described.items()
        }

    def get_function(self, name: str) -> "PtxKernel":
        """Return the kernel `name`."""
        if name not in self.kernels:
            raise ValueError(f"get_function: no kernel {name!r}, only {sorted(self.kernels)}")
        return PtxKernel(self, self._library, name, self._library.kernels[name])


class PtxKernel(Kernel):
    """A kernel that can be launched with the bytes of its parameters too."""

    def run(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        parameters: Sequence[bytes],
        shared_mem: int = 0,
    ) -> None:
        """Launch with the value of each parameter as it lies in memory: pointers are the host's.

        Nothing is copied, and no guard bytes are around arrays.
        """
        sizes = self._module._library.description["kernels"][self.name]["parameters"]
        found = [len(p) for p in parameters]
        if found != sizes:
            raise ValueError(f"kernel {self.name!r}: expected {sizes} bytes but got {found}")
        values = [np.array(bytearray(p)) for p in parameters]
        self._run(self._request(grid, block, shared_mem), values)
