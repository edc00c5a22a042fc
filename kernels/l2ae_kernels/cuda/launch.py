"""The record of a launch, and what the launchers of the network share: model axis, number type.

Many networks of one shape run side by side: their arrays have a leading model axis, M. An array
that all models read (the images, say) may lack it: its distance between two models is then 0.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import require_shape

Kernel: TypeAlias = Any  # what RawModule.get_function returns: CuPy's, or the emulator's
MOST_BLOCKS = 2**31 - 1, 65_535, 65_535  # along each axis of a grid
THREADS = 256  # of a block, where a thread makes one number
MOST_ON_Z = MOST_BLOCKS[2]
C_NAMES = {np.dtype("float32"): "float", np.dtype("float64"): "double"}


class Launch(NamedTuple):
    """A kernel, its configuration and its arguments. shared: bytes of dynamic shared memory."""

    kernel: Kernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    shared: int = 0

    def run(self) -> None:
        """Call the kernel, which CuPy queues and the emulator runs."""
        self.kernel(self.grid, self.block, self.arguments, shared_mem=self.shared)


def real(dtype: npt.DTypeLike) -> dict[str, int | str]:
    """Return the define that makes a file of kernels one of `dtype`."""
    return {"REAL": C_NAMES[np.dtype(dtype)]}


def ceil_div(n: int, d: int) -> int:
    """Return ⌈n/d⌉ of integers."""
    return -(-n // d)


def model_count(out: Array, axes: int) -> int:
    """Return M of an output that has `axes` axes for one model: its leading axis, else 1."""
    return 1 if out.ndim == axes else out.shape[0]


def distance(
    operation: str, name: str, a: Array | None, shape: tuple[int, ...], models: int
) -> np.int64:
    """Check an operand of `shape` a model, and return the distance between two models in elements.

    ValueError, by name, when its shape is neither (M, *shape) nor `shape`, or it has gaps.
    """
    if a is None:
        return np.int64(0)
    shared = a.ndim == len(shape)
    require_shape(operation, name, a.shape, shape if shared else (models, *shape))
    if not a.flags.c_contiguous:
        raise ValueError(f"{operation}: {name} must be C-contiguous, its strides are {a.strides}")
    return np.int64(0 if shared else a.size // models)


def whole_vectors(a: Array) -> bool:
    """Whether each row of a C-contiguous array starts and ends at a multiple of 16 bytes."""
    view = getattr(a, "__cuda_array_interface__", None) or a.__array_interface__
    return int(view["data"][0]) % 16 == 0 and a.shape[-1] * a.dtype.itemsize % 16 == 0
