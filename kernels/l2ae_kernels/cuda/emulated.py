"""The device of the emulator: kernels, graphs, branches and memory on the CPU."""

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, Shape
from l2ae_kernels.cuda.device_arrays import wrap
from l2ae_kernels.cuda.gpu import Properties
from l2ae_kernels.cuda.graphs import EmulatedBranch, EmulatedGraph, poison
from l2ae_kernels.cuda.launch import Kernel, Launch
from l2ae_kernels.emulator import RawModule
from l2ae_kernels.emulator.module import MULTIPROCESSORS, SHARED

if TYPE_CHECKING:
    from l2ae_kernels.emulator.ptx.counters import LaunchCounts


class EmulatedDevice(Device):
    """A device whose kernels run on the CPU, and whose arrays are NumPy's.

    late: whether what is in a branch is done when that is joined. counts: gets what every launch
    executed and moved, where the emulator counts.
    """

    emulated: ClassVar[bool] = True

    def __init__(
        self,
        module_factory: Callable[..., Any],
        properties: Properties,
        *,
        late: bool = False,
        counts: "list[LaunchCounts] | None" = None,
    ) -> None:
        super().__init__(np, module_factory, properties)
        self.late, self.counts = late, counts

    def _blocks_each(self, kernel: Kernel, threads: int, shared: int) -> int:
        return int(kernel.blocks_each(threads, shared))

    def _queue(self, launch: Launch) -> None:
        self._require_room(launch)
        queue = launch.run
        if (graph := self._recording.graph) is not None:
            launch.kernel.check(launch.grid, launch.block, launch.arguments, launch.shared)
            queue = functools.partial(graph.add, launch)
        if (branch := self._recording.branch) is not None:
            branch.add(queue)
        else:
            queue()

    def current(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _new_graph(self) -> EmulatedGraph:
        return EmulatedGraph()

    def branch(self) -> EmulatedBranch:
        return EmulatedBranch(self._recording, late=self.late)

    def empty(self, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """Return an array whose numbers are NaN or −1, so that nothing can count on them."""
        return self._made(np.empty(shape, dtype), None)

    def zeros(self, shape: Shape, dtype: npt.DTypeLike) -> Array:
        return self._made(np.empty(shape, dtype), 0)

    def full(self, shape: Shape, value: float, dtype: npt.DTypeLike) -> Array:
        return self._made(np.empty(shape, dtype), value)

    def to_device(self, host: Array) -> Array:
        self.require_no_capture("to_device")
        return wrap(self, np.array(host, order="C", subok=False))

    def write(self, x: Array, host: Array) -> None:
        self.require_no_capture("write")
        np.copyto(x.view(np.ndarray), host, casting="no")

    def free_memory(self) -> float:
        """Return infinity: no limit is known."""
        return math.inf

    def synchronize(self) -> None:
        """Do nothing: all work is done."""
        self.require_no_capture("synchronize")

    def _made(self, x: Array, value: float | None) -> Array:
        """Return x, a new array, filled: now, or in each replay."""
        fill = functools.partial(poison, x) if value is None else functools.partial(x.fill, value)
        graph = self._recording.graph
        if isinstance(graph, EmulatedGraph):
            graph.made(x, fill)
        else:
            fill()
        return wrap(self, x)


def emulate(
    order: str = "ascending", seed: int = 0, sanitize: str | None = None, *, count: bool = False
) -> EmulatedDevice:
    """Return a device that runs kernels on the CPU, threads and blocks in the given order.

    order: "ascending", "descending" or "shuffled" (by seed), or "ptx": shuffled, and the PTX that
    NVRTC makes of the text is executed in its place; in all but the first, what is launched in a
    branch is done when that is joined. count: with "ptx", `device.counts` gets what
    every launch executed and moved. sanitize: a sanitizer of g++, or none.
    It poses as a small GPU, so that grids have several blocks for data of a test's size.
    """
    if count and order != "ptx":
        raise ValueError(f"emulate: count needs order 'ptx' but got {order!r}")
    counts: list[Any] | None = [] if count else None
    factory = functools.partial(
        RawModule,
        order="shuffled" if order == "ptx" else order,
        seed=seed,
        sanitize=sanitize,
        backend="ptx" if order == "ptx" else "cpp",
        counts=counts,
    )
    properties = Properties(f"emulator, {order}", (9, 0), MULTIPROCESSORS, SHARED)
    return EmulatedDevice(factory, properties, late=order != "ascending", counts=counts)
