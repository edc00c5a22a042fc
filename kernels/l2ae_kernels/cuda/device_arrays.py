"""Arrays that belong to a device although their memory is the host's.

EmulatedArray   stands for an array of a GPU, in the emulator
StreamedArray   data that go through a device in pieces
"""

import functools
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, DeviceName

# Functions that read no number of an array.
VIEWS = (np.may_share_memory, np.shares_memory, np.shape, np.ndim, np.size, np.reshape)

# What CuPy asks cuBLAS for, which a machine with a GPU may lack: nothing here may need it.
CUBLAS = (np.matmul, np.dot, np.vdot, np.inner, np.tensordot, np.einsum)


def wrap(device: Any, x: Array) -> Array:
    """Return a view of x as an array of an emulated `Device`."""
    wrapped = x.view(EmulatedArray)
    wrapped.owner = device
    return wrapped


class EmulatedArray(np.ndarray[Any, Any]):
    """A NumPy array that stands for one in the memory of an emulated device.

    It behaves as CuPy's do where that matters to host code: what is computed from it stays there,
    `get` copies it to the host, and it does not mix with arrays of the host.
    """

    device_name: DeviceName = "cuda"
    owner: Any  # its Device

    def __array_finalize__(self, source: Any) -> None:
        self.owner = getattr(source, "owner", None)

    def __array_ufunc__(self, ufunc: Any, method: Any, *inputs: Any, **named: Any) -> Any:
        """As NumPy does, with a TypeError for an array of the host, as CuPy has it."""
        _require_no_capture(self, ufunc.__name__)
        _require_no_cublas(ufunc)
        outputs = named.get("out", ())
        for a in (*inputs, *outputs):
            if isinstance(a, np.ndarray) and a.ndim and not isinstance(a, EmulatedArray):
                raise TypeError(f"{ufunc.__name__}: an array of the host meets one of a device")
        if outputs:
            named["out"] = tuple(_plain(a) for a in outputs)
        result = getattr(ufunc, method)(*map(_plain, inputs), **named)
        if outputs:
            return outputs[0] if len(outputs) == 1 else outputs
        if isinstance(result, tuple):
            return tuple(wrap(self.owner, a) for a in result)
        return wrap(self.owner, result) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """As NumPy does; what it makes of arrays of a device stays there."""
        _require_no_cublas(function)
        if function not in VIEWS:
            _require_no_capture(self, function.__name__)
        result = super().__array_function__(function, types, args, kwargs)
        return wrap(self.owner, result) if type(result) is np.ndarray else result

    def __getitem__(self, key: Any) -> Any:
        """As NumPy does."""
        found = super().__getitem__(key)
        if not isinstance(found, np.ndarray):
            _require_no_capture(self, "__getitem__")  # a number on the host
        return found

    def get(self) -> Array:
        """Return a copy in the memory of the host."""
        _require_no_capture(self, "get")
        return np.array(self, subok=False)


def _require_no_cublas(function: Any) -> None:
    """Raise RuntimeError for a product of NumPy's: those of a device are kernels of `products`."""
    if function in CUBLAS:
        raise RuntimeError(
            f"{function.__name__}: CuPy needs cuBLAS for it, which a device need not have: "
            "dense, correlate and their adjoints are kernels"
        )


def _outside_captures(name: str) -> Any:
    """Return a method of NumPy's arrays that reads or writes numbers, for arrays of a device."""
    method = getattr(np.ndarray, name)

    @functools.wraps(method)
    def checked(self: EmulatedArray, *arguments: Any, **named: Any) -> Any:
        _require_no_capture(self, name)
        return method(self, *arguments, **named)

    return checked


for _name in ("__setitem__", "__float__", "__int__", "item", "tolist", "copy", "astype", "fill"):
    setattr(EmulatedArray, _name, _outside_captures(_name))


class StreamedArray(np.ndarray[Any, Any]):
    """An array of the host that goes through a device in pieces, for data larger than the device.

    `device.stream(x)` makes one, with no copy. k-means takes it as any array; see kmeans/stream.py.
    """

    device_name: DeviceName = "streamed"
    owner: Any  # its Device

    def __array_finalize__(self, source: Any) -> None:
        self.owner = getattr(source, "owner", None)


def _require_no_capture(x: EmulatedArray, what: str) -> None:
    """Raise RuntimeError where a graph is captured: it would hold nothing of what NumPy does."""
    if x.owner is not None:
        x.owner.require_no_capture(what)


def _plain(a: Any) -> Any:
    return a.view(np.ndarray) if isinstance(a, EmulatedArray) else a
