"""Arrays that belong to a device although their memory is the host's.

EmulatedArray   stands for an array of a GPU, in the emulator
StreamedArray   data that go through a device in pieces
"""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array, DeviceName


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
        result = super().__array_function__(function, types, args, kwargs)
        return wrap(self.owner, result) if type(result) is np.ndarray else result

    def get(self) -> Array:
        """Return a copy in the memory of the host."""
        return np.array(self, subok=False)


class StreamedArray(np.ndarray[Any, Any]):
    """An array of the host that goes through a device in pieces, for data larger than the device.

    `device.stream(x)` makes one, with no copy. k-means takes it as any array; see kmeans/stream.py.
    """

    device_name: DeviceName = "streamed"
    owner: Any  # its Device

    def __array_finalize__(self, source: Any) -> None:
        self.owner = getattr(source, "owner", None)


def _plain(a: Any) -> Any:
    return a.view(np.ndarray) if isinstance(a, EmulatedArray) else a
