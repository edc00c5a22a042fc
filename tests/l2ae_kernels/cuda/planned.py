"""The launches that launchers queue, noted and not made, on a device with the grids of an H100."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device_arrays import wrap
from l2ae_kernels.cuda.emulated import EmulatedDevice
from l2ae_kernels.cuda.gpu import Properties
from l2ae_kernels.cuda.launch import Launch

MULTIPROCESSORS = 132
H100 = Properties("H100 SXM", (9, 0), MULTIPROCESSORS, 227 * 1024)
# Their first array is read where a label changed, or once for many iterations: it does not count.
WITHOUT_FIRST = {"assign_tiled", "lloyd_apply_assignment", "lloyd_resident"}


class PlannedKernel(NamedTuple):
    """What a kernel is compiled from; `Plan` launches none."""

    file_name: str
    name: str
    defines: tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class PlannedLaunch:
    """A launch that is planned. nbytes: of the arrays among its arguments, each once."""

    kernel: PlannedKernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    numbers: tuple[float, ...]  # those among its arguments
    nbytes: int
    beside: bool = False  # in a branch
    joins: bool = False  # the first one that waits for the branch

    @property
    def sizes(self) -> Mapping[str, int]:
        """The defines that are numbers."""
        return {name: n for name, n in self.kernel.defines if isinstance(n, int)}


class PlannedBranch:
    """A branch of a `Plan`: its launches are noted where they are queued."""

    def __init__(self, plan: "Plan") -> None:
        self._plan = plan

    def __enter__(self) -> None:
        self._plan.beside = True

    def __exit__(self, *error: object) -> None:
        self._plan.beside = False

    def join(self) -> None:
        self._plan.joins = True


class Plan(EmulatedDevice):
    """A device that notes what launchers queue, with the grids of an H100, and runs nothing."""

    def __init__(self) -> None:
        super().__init__(lambda **_: None, H100)
        self.launches: list[PlannedLaunch] = []
        self.beside = self.joins = False

    def branch(self) -> Any:
        return PlannedBranch(self)

    def kernel(
        self,
        file_name: str,
        name: str,
        defines: Mapping[str, int | str] | None = None,
        *,
        cooperative: bool = False,
    ) -> PlannedKernel:
        return PlannedKernel(file_name, name, tuple(sorted((defines or {}).items())))

    def _queue(self, launch: Launch) -> None:
        kernel, grid, block, arguments, _ = launch
        counted = arguments[1:] if kernel.name in WITHOUT_FIRST else arguments
        arrays: dict[int, int] = {}
        for a in counted:
            if isinstance(a, np.ndarray):
                arrays[a.ctypes.data] = max(a.nbytes, arrays.get(a.ctypes.data, 0))
        nbytes = sum(arrays.values())
        if kernel.name == "bias_parts":  # of both flat arrays, what its table names
            gradients, table, *_ = arguments
            features, rows, parts = table[:, 3], table[:, 2], table[:, 5]
            nbytes = int(grid[2] * ((rows + parts) * features).sum()) * gradients.itemsize
        numbers = tuple(float(a) for a in arguments if isinstance(a, np.generic))
        self.launches.append(
            PlannedLaunch(kernel, grid, block, numbers, nbytes, self.beside, self.joins)
        )
        self.joins = False

    def _made(self, x: Array, value: float | None) -> Array:
        if value is not None and x.nbytes < 2**20:  # larger ones are not touched
            x.fill(value)
        return wrap(self, x)
