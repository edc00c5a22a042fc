"""RawModule and its kernels: CuPy's interface, on a CPU."""

import ctypes
import json
import threading
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from l2ae_kernels.emulator import build, sanitizers
from l2ae_kernels.emulator.arguments import Copies, Parameter, address, check
from l2ae_kernels.emulator.errors import EmulatorError

if TYPE_CHECKING:
    from l2ae_kernels.emulator.ptx.counters import LaunchCounts

BACKENDS = ("cpp", "ptx")
ORDERS = ("ascending", "descending", "shuffled")
STATIC_SHARED = 48 * 1024  # bytes that a kernel gets without asking
SHARED = 227 * 1024  # and with asking
# The emulated GPU: compute capability 9.0 on few multiprocessors. How many registers a kernel takes
# nobody knows here, so a GPU may hold fewer blocks.
MULTIPROCESSORS = 4
THREADS_EACH, BLOCKS_EACH = 2048, 32  # that a multiprocessor holds
SHARED_EACH, SHARED_OF_SYSTEM = 228 * 1024, 1024  # its bytes, and those that a block takes besides
_TEXT = 4096  # bytes for descriptions and messages


class _Request(ctypes.Structure):
    """`emulator::Request` of runtime/engine.hpp."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_shared", ctypes.c_size_t),
        ("max_threads", ctypes.c_uint),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("cooperative", ctypes.c_int),
        ("spares", ctypes.c_void_p),
    ]


class Library:
    """A loaded library: its kernels with the names of their parameters, and its one engine."""

    def __init__(self, path: Path, tool: str | None) -> None:
        self.code = ctypes.CDLL(str(path))
        # one launch at a time: the engine has one set of fibers
        self.lock = sanitizers.spares()[1] if tool == "thread" else threading.Lock()
        self.code.list_kernels.restype = ctypes.c_char_p
        listed: str = self.code.list_kernels().decode()
        pairs = (kernel.split(":") for kernel in listed.split(";") if kernel)
        self.kernels = {name: [n for n in names.split(",") if n] for name, names in pairs}
        self.description: Any = {}  # of kernels in PTX: see ptx/translate.py
        if hasattr(self.code, "ptx_description"):
            self.code.ptx_description.restype = ctypes.c_char_p
            self.description = json.loads(self.code.ptx_description())

    def static_shared(self, kernel: str) -> int:
        """Return the bytes of shared memory that the text of a kernel declares."""
        if self.description:
            return int(self.description["kernels"][kernel]["shared"])
        self.code.static_shared.restype = ctypes.c_size_t
        return int(self.code.static_shared(kernel.encode()))


@cache
def opened(path: Path, tool: str | None) -> Library:
    """Return the library at a path; loaded twice it would be the same code with two locks."""
    return Library(path, tool)


class Owner(Protocol):
    """What a kernel asks of its module: RawModule or PtxModule."""

    order: str
    seed: int
    cooperative: bool
    tool: str | None
    counts: "list[LaunchCounts] | None"
    _library: Library


def check_order(order: str, seed: int) -> None:
    """ValueError for an order that there is not."""
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {ORDERS} but got {order!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer in [0, 2³²) but got {seed}")


class RawModule:
    """Kernels of one CUDA C++ text, compiled for the CPU; stands in for `cupy.RawModule`.

    `order` is the order of threads and blocks: "ascending", "descending", or "shuffled" by `seed`.
    `sanitize` is "address" or "thread" in a process that `l2ae_kernels.emulator.sanitized` started;
    None is what that command chose, or nothing. `debug` compiles without optimization, to step.
    `backend` "ptx" runs what NVRTC makes of the text (see the README); then `counts` is None, or a
    list that gets the counts of every launch.
    A first line `#line 1 "file.cu"` in the code gives it a name, here and on a device.
    """

    def __init__(
        self,
        code: str,
        options: Sequence[str] = (),
        enable_cooperative_groups: bool = False,
        order: str = "ascending",
        seed: int = 0,
        sanitize: str | None = None,
        debug: bool = False,
        backend: str = "cpp",
        counts: "list[LaunchCounts] | None" = None,
    ) -> None:
        check_order(order, seed)
        if backend not in BACKENDS:
            raise ValueError(f"backend: expected one of {BACKENDS} but got {backend!r}")
        if counts is not None and backend != "ptx":
            raise ValueError("counts: only backend='ptx' counts")
        self.order, self.seed, self.cooperative = order, seed, enable_cooperative_groups
        self.tool = sanitizers.chosen(sanitize)
        self.counts = counts
        if backend == "ptx":
            from l2ae_kernels.emulator.ptx import compile as ptx

            how = ptx.How(count=counts is not None, tool=self.tool, debug=debug)
            self.path = ptx.compiled(code, tuple(options), how)
        else:
            self.path = build.compiled(code, tuple(options), self.tool, debug)
        self._library = opened(self.path, self.tool)

    def get_function(self, name: str) -> "Kernel":
        """Return the kernel `name`."""
        names = self._library.kernels
        if name not in names:
            raise ValueError(f"get_function: no kernel {name!r}, only {sorted(names)}")
        return Kernel(self, self._library, name, names[name])


class Kernel:
    """A kernel: `kernel(grid, block, args, shared_mem=0)` launches it and waits for its end."""

    def __init__(
        self, module: Owner, library: Library, name: str, parameters: Sequence[str]
    ) -> None:
        self.name = name
        self.shared_size_bytes = library.static_shared(name)  # CuPy's names for both
        self.max_dynamic_shared_size_bytes = STATIC_SHARED - self.shared_size_bytes  # or more
        self._module = module
        self._lock = library.lock
        self._launch = library.code[f"launch_{name}"]
        text = ctypes.create_string_buffer(_TEXT)
        library.code[f"describe_{name}"](text, ctypes.c_size_t(_TEXT))
        self.parameters = Parameter.read(text.value.decode(), parameters)

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: None = None,
    ) -> None:
        request = self.check(grid, block, args, shared_mem)
        if self._module.tool == "thread":  # it follows the arrays themselves
            self._run(request, [self._pointed(a, None) for a in args])
            return
        arrays = [
            (parameter.name, a)
            for parameter, a in zip(self.parameters, args, strict=True)
            if isinstance(a, np.ndarray) and a.size
        ]
        counts = self._module.counts is not None
        copies = Copies(arrays, guarded=self._module.tool is None, as_allocated=counts)
        try:
            self._run(request, [self._pointed(a, copies) for a in args])
        finally:
            copies.back()
        if said := copies.overrun():
            raise EmulatorError(f"kernel {self.name!r}: {said}")

    def check(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0
    ) -> _Request:
        """Raise ValueError, by name, for a launch that cannot be; nothing runs."""
        check(self.name, self.parameters, args)
        request = self._request(grid, block, shared_mem)
        blocks, threads = prod(request.grid), prod(request.block)
        most = MULTIPROCESSORS * self.blocks_each(threads, shared_mem)
        if self._module.cooperative and blocks > most:
            raise ValueError(
                f"kernel {self.name!r}: a cooperative grid of {blocks} blocks but expected at most "
                f"{most}, which the {MULTIPROCESSORS} multiprocessors hold at once"
            )
        return request

    def blocks_each(self, threads: int, shared_mem: int) -> int:
        """Return how many blocks a multiprocessor holds, by threads and shared memory alone."""
        shared = self.shared_size_bytes + shared_mem + SHARED_OF_SYSTEM
        warps = -(-threads // 32)
        return min(BLOCKS_EACH, THREADS_EACH // (32 * warps), SHARED_EACH // shared)

    def _request(self, grid: Sequence[int], block: Sequence[int], shared_mem: int) -> _Request:
        most = SHARED - self.shared_size_bytes
        limit = max(0, min(self.max_dynamic_shared_size_bytes, most))
        if not 0 <= shared_mem <= limit:
            raise ValueError(
                f"kernel {self.name!r}: shared_mem is {shared_mem} bytes but expected 0 to "
                f"{limit}; max_dynamic_shared_size_bytes raises the limit up to {most}, since a "
                f"block has {SHARED} and the kernel declares {self.shared_size_bytes}"
            )
        sizes = []
        for what, given in (("grid", grid), ("block", block)):
            if not 1 <= len(given) <= 3 or not all(0 < int(n) < 2**31 for n in given):
                raise ValueError(
                    f"kernel {self.name!r}: {what} is {tuple(given)} but expected one to three "
                    "positive integers"
                )
            sizes.append((*(int(n) for n in given), 1, 1)[:3])
        module = self._module
        return _Request(
            grid=sizes[0],
            block=sizes[1],
            dynamic_shared=shared_mem,
            order=ORDERS.index(module.order),
            seed=module.seed,
            cooperative=module.cooperative,
            spares=ctypes.addressof(sanitizers.spares()[0]),
        )

    @staticmethod
    def _pointed(argument: Any, copies: Copies | None) -> np.ndarray[Any, Any]:
        """Return one element that holds the argument's value: an address or a number."""
        if isinstance(argument, np.generic):
            return np.array([argument])
        if copies is not None and argument is not None:
            return np.array([copies.address(argument)], np.uintp)
        return np.array([address(argument)], np.uintp)

    def _run(self, request: _Request, values: Sequence[np.ndarray[Any, Any]]) -> None:
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        message = ctypes.create_string_buffer(_TEXT)
        reports = sanitizers.Reports()
        with self._lock:
            failed = self._launch(ctypes.byref(request), pointers, message, ctypes.c_size_t(_TEXT))
            counted = self._counted(request)  # after a failure, too: the next begins from zero
        if counted is not None and self._module.counts is not None and not failed:
            self._module.counts.append(counted)
        said = message.value.decode()
        reports.raise_if_any(said or f"kernel {self.name!r}")
        if failed:
            raise EmulatorError(said)

    def _counted(self, request: _Request) -> "LaunchCounts | None":
        if self._module.counts is None:
            return None
        from l2ae_kernels.emulator.ptx import counters

        library = self._module._library
        return counters.take(
            library.code, library.description, self.name, request.grid, request.block
        )
