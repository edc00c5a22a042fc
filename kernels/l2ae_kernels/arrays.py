"""The array type and the one function that asks on which device an array lives."""

import sys
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
DeviceName: TypeAlias = Literal["cpu", "cuda", "streamed", "numpy", "parted", "dask"]


class NumPyArray(np.ndarray[Any, Any]):
    """An array of the host that the reference implementations alone take: `a.view(NumPyArray)`.

    What is computed from it is one, too: by NumPy, with no compiler and no library besides.
    """

    device_name: DeviceName = "numpy"


def array_module(x: Array) -> ModuleType:
    """Return `cupy` for an array on a GPU, `numpy` for every other array.

    The caller picks the device by moving the data; nothing else in the project decides it.
    """
    if isinstance(x, np.ndarray):
        return np
    import cupy  # only an array that CuPy made gets here

    module: ModuleType = cupy.get_array_module(x)
    return module


def device_name(x: Array) -> DeviceName:
    """Return where x is worked on: "cuda" for an array of a GPU, or of an emulated one; "streamed"
    for an array of the host that goes through a device in pieces; "numpy" for one that is left to
    NumPy; "parted" for samples of the host that are read a part at a time; "dask" for a Dask array,
    whose chunks are worked on where they lie; else "cpu".
    """
    if type(x) is np.ndarray:
        return "cpu"
    if is_dask(x):
        return "dask"
    name: DeviceName = getattr(x, "device_name", "cpu" if isinstance(x, np.ndarray) else "cuda")
    return name


def is_dask(x: Any) -> bool:
    """Return whether x is a Dask array. Dask is not imported for that."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(x, dask_array.Array)


def to_host(a: Array) -> Array:
    """Return a in the memory of the host: a itself, or a view, where it is there, else a copy."""
    name = device_name(a)
    if name == "dask":
        return a.compute()  # type: ignore[attr-defined, no-any-return]
    if name == "cuda":
        return a.get()  # type: ignore[attr-defined, no-any-return]
    return a.view(np.ndarray) if name in ("streamed", "numpy") else a
