"""Kernels of the stand-in: PTX, run by the emulator, within the limits of a device.

The limits are those of compute capability 9.0, on fewer multiprocessors. PTX does not say how many
registers a kernel will have: as many are taken as its launch bounds leave to each thread, so that
fewer blocks of a cooperative grid fit here than on a device, never more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from l2ae_kernels.emulator.ptx import PtxKernel, PtxModule

from .errors import Code, Refused

MULTIPROCESSORS = 8
THREADS_EACH, BLOCKS_EACH = 2048, 32  # of a multiprocessor
REGISTERS_EACH, MOST_REGISTERS = 65_536, 255  # of a multiprocessor, of a thread
SHARED_EACH, SHARED_RESERVED = 233_472, 1024  # bytes of a multiprocessor, of them for each block
SHARED, SHARED_OPTIN = 49_152, 232_448  # bytes that a block gets, and on request
MOST_THREADS = 1024  # of a block
MOST_BLOCKS = (2**31 - 1, 65_535, 65_535)
CAPABILITY = (9, 0)

Size = tuple[int, int, int]


class Module:
    """A PTX text; whether a launch is cooperative is known when it comes."""

    def __init__(self, text: str, order: str) -> None:
        self._text, self._order = text, order
        self._plain = self._module(cooperative=False)
        self._cooperative: PtxModule | None = None

    def _module(self, cooperative: bool) -> PtxModule:
        return PtxModule(  # compiled without optimization: most kernels run a few times
            self._text, enable_cooperative_groups=cooperative, order=self._order, debug=True
        )

    def function(self, name: str) -> "Function":
        """Return the kernel `name`."""
        if name not in self._plain.kernels:
            raise Refused(Code.SYMBOL_NOT_FOUND)
        signature = self._plain.kernels[name]
        shared = signature.shared
        return Function(
            name, self, signature.parameters, shared, signature.max_threads, SHARED - shared
        )

    def kernel(self, name: str, cooperative: bool) -> PtxKernel:
        """Return what runs in the emulator."""
        if cooperative and self._cooperative is None:
            self._cooperative = self._module(cooperative=True)  # compiled already
        module = self._cooperative if cooperative else self._plain
        assert module is not None
        return module.get_function(name)


@dataclass(eq=False)
class Function:
    """A kernel with what a launch has to know of it."""

    name: str
    module: Module
    parameters: tuple[int, ...]  # bytes of each
    static_shared: int
    most_threads: int
    most_dynamic: int  # bytes of dynamic shared memory

    def allow_dynamic(self, size: int) -> None:
        """Let a launch ask for more dynamic shared memory than it gets without asking."""
        if size + self.static_shared > SHARED_OPTIN:
            raise Refused(Code.INVALID_VALUE)
        self.most_dynamic = size

    def blocks_each(self, threads: int, dynamic: int) -> int:
        """Return how many blocks of so many threads are on a multiprocessor at once."""
        warps = -(-threads // 32)
        registers = min(MOST_REGISTERS, REGISTERS_EACH // self.most_threads) // 8 * 8
        return min(
            BLOCKS_EACH,
            THREADS_EACH // (32 * warps),
            REGISTERS_EACH // (32 * warps * registers),
            SHARED_EACH // (dynamic + self.static_shared + SHARED_RESERVED),
        )

    def check(self, grid: Size, block: Size, dynamic: int, cooperative: bool) -> None:
        """Refuse a launch that a device would refuse."""
        threads = int(np.prod(block))
        if (
            any(not 0 < n <= most for n, most in zip(grid, MOST_BLOCKS, strict=True))
            or not 0 < threads <= min(self.most_threads, MOST_THREADS)
            or block[2] > 64
            or not 0 <= dynamic <= self.most_dynamic
        ):
            raise Refused(Code.INVALID_VALUE)
        most = self.blocks_each(threads, dynamic) * MULTIPROCESSORS
        if cooperative and int(np.prod(grid, dtype=np.int64)) > most:
            raise Refused(Code.COOPERATIVE_LAUNCH_TOO_LARGE)

    def run(
        self, grid: Size, block: Size, dynamic: int, values: Sequence[bytes], cooperative: bool
    ) -> None:
        """Run it now, on the bytes of its parameters."""
        kernel = self.module.kernel(self.name, cooperative)
        kernel.max_dynamic_shared_size_bytes = SHARED_OPTIN
        kernel.run(grid, block, values, shared_mem=dynamic)
