"""A device that runs the .cu files of `source`: a GPU through CuPy, or the emulator on the CPU.

`Device` is a GPU, and what both have; the emulator is a subclass, in emulated.py with `emulate`.

    device = find_device()                        a GPU; NoDevice says in one line why there is none
    device = emulate(order="shuffled", seed=1)    no GPU needed: the same text, the same launchers

    x = device.to_device(samples)
    largest = device.zeros(1, np.uint64)
    kernel = device.kernel("max_abs.cu", "max_abs", {"REAL": "double"})
    device.launch(kernel, grid=(8,), block=(256,), arguments=(x, np.int64(x.size), largest))
    bits = device.to_host(largest)

The caller picks the device by moving the data, and everything else asks the array: `device_of(x)`.

How it is meant to grow, so that nothing here needs another shape:

* **Launchers only queue.** A launcher is a function of arrays that it is given; it allocates
  nothing that outlives it, reads nothing back and never synchronises. Whoever owns a step allocates
  its buffers once. So any sequence of launches can be captured into a graph and replayed
  (`capture`): what a launcher allocates then comes from memory of the graph's own, and numbers that
  change from step to step (the step count, the batch) live in device memory.
* **A geometry is a set of defines.** `kernel(file, name, defines)` compiles once for each set and
  keeps it: an implicit-GEMM convolution takes its image, kernel, stride and padding as constants,
  with a run-time version where a define is left out. Sizes that grow with the data are arguments.
* **A leading model axis.** Kernels index the last axis of the grid with the model (k-means: with
  the run) and are given the distance between two models in elements; one model is a grid of one.
  Buffers then have a leading axis, which is what `Restarts` does with its R runs.
"""

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array, device_name, to_host
from l2ae_kernels.cuda import copies
from l2ae_kernels.cuda.device_arrays import EmulatedArray, StreamedArray
from l2ae_kernels.cuda.gpu import NoDevice as NoDevice  # also from here, as find_device is
from l2ae_kernels.cuda.gpu import Properties as Properties
from l2ae_kernels.cuda.gpu import probe
from l2ae_kernels.cuda.graphs import Branch, CapturedGraph, Graph, Recording, StreamBranch
from l2ae_kernels.cuda.launch import MOST_BLOCKS, Kernel, Launch
from l2ae_kernels.cuda.modules import Modules
from l2ae_kernels.cuda.text import Defines

Shape: TypeAlias = int | tuple[int, ...]
_NO_CHANGE: AbstractContextManager[Any] = nullcontext()


class Device:
    """Where kernels run: its array module, compiler and properties.

    array_module: `cupy`, or `numpy` for the emulator. module_factory: called as `cupy.RawModule`.
    index: the number of the GPU, which need not be CuPy's current one.
    """

    emulated: ClassVar[bool] = False  # whether kernels run on the CPU

    def __init__(
        self,
        array_module: ModuleType,
        module_factory: Callable[..., Any],
        properties: Properties,
        index: int = 0,
    ) -> None:
        self.array_module = array_module
        self.properties = properties
        self.index = index
        self._recording = Recording()
        self._modules = Modules(module_factory, properties.shared_per_block)

    def __repr__(self) -> str:
        return f"Device({self.properties.name})"

    # --- kernels

    def kernel(
        self,
        file_name: str,
        name: str,
        defines: Defines | None = None,
        *,
        cooperative: bool = False,
    ) -> Kernel:
        """Compile source/<file_name> with its defines, once, and return its kernel `name`.

        cooperative: the kernel may wait for all blocks of the grid (grid.cuh).
        """
        return self._modules.kernel(file_name, name, defines or {}, cooperative)

    def static_shared(self, kernel: Kernel) -> int:
        """Return the bytes of shared memory that the text of a kernel declares.

        A launch may ask for `properties.shared_per_block` less these, and gets no more.
        """
        with self.current():
            return int(kernel.shared_size_bytes)

    def resident_blocks(self, kernel: Kernel, threads: int, shared: int) -> int:
        """Return how many blocks the whole device holds at once: what a cooperative grid may have.

        The emulator knows threads and shared memory, a GPU registers as well.
        """
        return self._blocks_each(kernel, threads, shared) * self.properties.multiprocessors

    def _blocks_each(self, kernel: Kernel, threads: int, shared: int) -> int:
        """Return how many blocks a multiprocessor holds at once."""
        with self.current():
            occupancy = self.array_module.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
            return int(occupancy(kernel.kernel.ptr, threads, shared))

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Queue a kernel on the current stream; an empty grid is nothing to do.

        arguments: arrays of this device, None for a null pointer, NumPy scalars for numbers (a
        Python number has no width). shared: bytes of dynamic shared memory. ValueError for more
        than there is, for a grid beyond MOST_BLOCKS, and for a cooperative one that the device
        does not hold at once.
        """
        for i, argument in enumerate(arguments):
            if isinstance(argument, int | float) and not isinstance(argument, np.generic):
                raise TypeError(f"launch: argument {i} is {argument!r} but expected a NumPy scalar")
        if 0 not in grid:
            self._queue(Launch(kernel, grid, block, arguments, shared))

    def _queue(self, launch: Launch) -> None:
        """Queue a launch, once there is room for it."""
        # CuPy 13 passes None as a pointer that is not null
        arguments = tuple(np.intp(0) if a is None else a for a in launch.arguments)
        launch = launch._replace(arguments=arguments)
        with self.current():
            self._require_room(launch)
            if (graph := self._recording.graph) is not None:
                graph.add(launch)
            else:
                launch.run()

    def _require_room(self, launch: Launch) -> None:
        """Let the kernel have its shared memory; ValueError for what the device has no room for."""
        if any(n > most for n, most in zip(launch.grid, MOST_BLOCKS, strict=False)):
            raise ValueError(f"launch: grid is {launch.grid} but expected at most {MOST_BLOCKS}")
        self._modules.let_share(launch.kernel, launch.shared)
        if not self._modules.is_cooperative(launch.kernel):
            return
        blocks, threads = math.prod(launch.grid), math.prod(launch.block)
        most = self.resident_blocks(launch.kernel, threads, launch.shared)
        if blocks > most:  # CuPy would make the grid smaller, with a warning
            raise ValueError(
                f"launch: a cooperative grid of {blocks} blocks but expected at most {most}, "
                f"which the device holds at once: {threads} threads, {launch.shared} bytes each"
            )

    def current(self) -> AbstractContextManager[Any]:
        """Return a context in which this GPU is CuPy's current device."""
        cuda = self.array_module.cuda
        is_current = cuda.runtime.getDevice() == self.index
        return _NO_CHANGE if is_current else cuda.Device(self.index)

    # --- graphs

    @contextlib.contextmanager
    def capture(self) -> Iterator[Graph]:
        """Record what is launched and filled inside, to be run by `graph.launch()`; see graphs.py.

        Nothing inside runs. Copies to and from the host raise RuntimeError: a replay would not
        repeat them. Kernels may be compiled inside.
        """
        self.require_no_capture("capture")
        graph = self._new_graph()
        with self.current(), graph.recording():
            self._recording.graph = graph
            try:
                yield graph
            finally:
                self._recording.graph = None

    def _new_graph(self) -> Graph:
        return CapturedGraph(self)

    def branch(self) -> Branch:
        """Return a queue of launches beside the others; see graphs.py."""
        return StreamBranch(self)

    def require_no_capture(self, what: str) -> None:
        """Raise RuntimeError, by name, where this thread captures a graph."""
        if self._recording.graph is not None:
            raise RuntimeError(
                f"{what}: not inside a capture, which records launches, empty, zeros and full"
            )

    # --- buffers

    def empty(self, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """Return an array whose numbers are not set; the emulator sets them to NaN or −1."""
        with self.current():
            made: Array = self.array_module.empty(shape, dtype)
        return made

    def zeros(self, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """Return an array of zeros."""
        with self.current():
            made: Array = self.array_module.zeros(shape, dtype)
        return made

    def full(self, shape: Shape, value: float, dtype: npt.DTypeLike) -> Array:
        """Return an array of one number."""
        with self.current():
            made: Array = self.array_module.full(shape, value, dtype)
        return made

    def to_device(self, host: Array) -> Array:
        """Return a C-contiguous copy of an array of the host."""
        self.require_no_capture("to_device")
        host = np.ascontiguousarray(host)
        if host.nbytes > copies.PIECE:
            large = self.empty(host.shape, host.dtype)
            with self.current():
                copies.copy_in_pieces(self.array_module, host, large)
            return large
        with self.current():
            copied: Array = self.array_module.asarray(host)
        return copied

    def write(self, x: Array, host: Array) -> None:
        """Copy an array of the host to x, of its shape and dtype."""
        self.require_no_capture("write")
        x.set(np.ascontiguousarray(host))  # type: ignore[attr-defined]

    def to_host(self, x: Array) -> Array:
        """Return a copy in the memory of the host; waits for the work that writes x."""
        self.require_no_capture("to_host")
        copied: Array = x.get()  # type: ignore[attr-defined]
        return copied

    def stream(self, host: Array) -> StreamedArray:
        """Return a view of an array of the host whose pieces are worked on here."""
        streamed = host.view(StreamedArray)
        streamed.owner = self
        return streamed

    def free_memory(self) -> float:
        """Return how many bytes can still be allocated; the emulator knows no limit."""
        with self.current():
            free, _ = self.array_module.cuda.runtime.memGetInfo()
        return float(free)

    def synchronize(self) -> None:
        """Wait for all work of the device."""
        self.require_no_capture("synchronize")
        self.array_module.cuda.Device(self.index).synchronize()


def device_of(x: Array) -> Device:
    """Return the device whose memory holds x; ValueError when that is the host's."""
    if isinstance(x, EmulatedArray | StreamedArray):
        device: Device = x.owner
        return device
    if isinstance(x, np.ndarray):
        raise ValueError("device_of: x lies in the memory of the host but expected a device's")
    return find_device(x.device.id)


def to_device_of(x: Array, a: Array) -> Array:
    """Return a in the memory that holds x: a itself where it is there, else a copy."""
    if device_name(x) != "cuda":
        return to_host(a)
    return a if device_name(a) == "cuda" else device_of(x).to_device(a)


def find_device(index: int = 0) -> Device:
    """Return a GPU; NoDevice says in one line why there is none. A real computation decides."""
    with _FINDING:  # two threads get one Device
        return _find(index)


_FINDING = threading.Lock()


@functools.cache  # one Device a GPU: it keeps the kernels
def _find(index: int) -> Device:
    cupy, properties = probe(index)
    return Device(cupy, cupy.RawModule, properties, index)
