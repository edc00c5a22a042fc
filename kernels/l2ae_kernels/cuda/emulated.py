"""The device of the emulator: kernels, graphs, branches and memory on the CPU."""

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, Kernel, Shape
from l2ae_kernels.cuda.device_arrays import wrap
from l2ae_kernels.cuda.gpu import Properties
from l2ae_kernels.cuda.graphs import EmulatedBranch, EmulatedGraph, poison

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

    def _queue(
        self,
        kernel: Kernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared: int,
    ) -> None:
        queue = functools.partial(kernel, grid, block, arguments, shared_mem=shared)
        if (graph := self._recording.graph) is not None:
            kernel.check(grid, block, arguments, shared)
            queue = functools.partial(graph.add, queue, arguments)
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
