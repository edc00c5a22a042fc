"""The array type and the one place that asks on which device an array lives."""

from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Place: TypeAlias = Literal["cpu", "cuda"]


def array_module(x: Array) -> ModuleType:
    """Return `cupy` for an array on a GPU, `numpy` for every other array.

    The caller picks the device by moving the data; nothing else in the project decides it.
    """
    if isinstance(x, np.ndarray):
        return np
    import cupy  # only an array that CuPy made gets here

    module: ModuleType = cupy.get_array_module(x)
    return module


def get_place(x: Array) -> Place:
    """Return whose memory holds x: "cuda" for a GPU's and for an emulated one's, else "cpu"."""
    return "cuda" if not isinstance(x, np.ndarray) or hasattr(x, "owner") else "cpu"


def moved_to(x: Array, a: Array) -> Array:
    """Return a in the memory that holds x: a itself where it is there, else a copy."""
    if get_place(a) == get_place(x):
        return a
    if isinstance(a, np.ndarray) and not isinstance(x, np.ndarray):
        moved: Array = array_module(x).asarray(a)
    elif get_place(x) == "cuda":
        moved = x.owner.to_device(a)  # type: ignore[attr-defined]
    else:
        moved = to_host(a)
    return moved


def to_host(a: Array) -> Array:
    """Return a in the memory of the host: a itself where it is there, else a copy."""
    return a if get_place(a) == "cpu" else a.get()  # type: ignore[attr-defined]
