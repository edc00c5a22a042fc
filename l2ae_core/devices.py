"""Where a trained network runs: on the CPU, or on a GPU if there is one.

The caller picks the device by moving the data. `choose_device` is that choice for the command line,
and `DeviceNetwork` the move: it takes images of the host and returns codes to it.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias, get_args

from l2ae_core.images import Images
from l2ae_core.layers import Shape
from l2ae_core.networks import AutoEncoder
from l2ae_core.networks.parts import in_batches
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, NoDevice, find_device

DeviceName: TypeAlias = Literal["cpu", "cuda"]
IMAGES_AT_ONCE = 8192  # that lie in the memory of the device


def choose_device(name: DeviceName | None) -> tuple[Device | None, str]:
    """Return the device of this name, None for the CPU, and one line about an open choice.

    Without a name it is a GPU, and where there is none the CPU; the line then says which and why.
    It is empty when the choice was not open: with a name, and on a machine without a GPU of NVIDIA
    and without CuPy. ValueError when "cuda" was asked for and there is no device.
    """
    if name not in (None, *get_args(DeviceName)):
        raise ValueError(f"device: {name!r} is not one of {get_args(DeviceName)}")
    if name == "cpu":
        return None, ""
    try:
        device = find_device()
    except NoDevice as error:
        if name == "cuda":
            raise ValueError(f"device: cuda was asked for, but {error}") from error
        open_choice = find_spec("cupy") is not None or has_nvidia_gpu()
        return None, f"used the CPU: {error}" if open_choice else ""
    return device, "" if name else f"used {device.properties.name}"


def training_device(device: Device | DeviceName | None) -> Device | None:
    """Return where to train: a device, a GPU for "cuda", None, the processor, for None and "cpu".

    No other takes the place of one that is asked for: ValueError where there is none.
    """
    if device is None or isinstance(device, Device):
        return device
    return choose_device(device)[0]


def has_nvidia_gpu() -> bool:
    """Say whether NVIDIA's driver is there and finds a GPU, without CuPy."""
    try:
        driver = ctypes.CDLL("nvcuda" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    found: int = driver.cuInit(0)  # 0, or an error: 100 is "no device"
    return found == 0


@dataclass(frozen=True, eq=False)
class DeviceNetwork:
    """A copy of a trained network on a device, for images and codes of the host."""

    model: AutoEncoder  # its arrays are on the device
    device: Device

    @classmethod
    def move(cls, model: AutoEncoder, device: Device) -> "DeviceNetwork":
        """Copy the network to the device."""
        return cls(model.with_arrays(device.to_device), device)

    @property
    def input_shape(self) -> Shape:
        """Shape (H, W, C) of one image."""
        return self.model.input_shape

    def encode(self, images: Images) -> Array:
        """Return the codes u = E_c(I) (N, D) of images (N, H, W, C)."""
        return self._run(self.model.encode, images)

    def decode(self, u: Array) -> Array:
        """Return D(u) (N, H, W, C) for codes u (N, D)."""
        return self._run(self.model.decode, u)

    def _run(self, function: Callable[[Array], Array], x: Images) -> Array:
        def run(part: Array) -> Array:
            return self.device.to_host(function(self.device.to_device(part)))

        return in_batches(run, x, IMAGES_AT_ONCE)
