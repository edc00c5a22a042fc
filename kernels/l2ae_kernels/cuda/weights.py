"""The parameters of M models on a device, with Adam's moments.

All named arrays of all models lie in one flat array, so that few launches change them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda import optim
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import ceil_div
from l2ae_kernels.stages import AdamSettings, Params, Shape

ALIGNED = 32  # numbers: every named array begins at a multiple of 128 bytes


@dataclass(frozen=True)
class FlatLayout:
    """One named array after the other, each (M, *shape) for M models, with gaps between them."""

    shapes: Mapping[str, Shape]
    models: int

    @property
    def offsets(self) -> dict[str, int]:
        """Where each named array begins."""
        found, end = {}, 0
        for name, shape in self.shapes.items():
            found[name] = end
            end += self._padded(shape)
        return found

    @property
    def size(self) -> int:
        """Numbers of the flat array."""
        return sum(map(self._padded, self.shapes.values()))

    def _padded(self, shape: Shape) -> int:
        return ceil_div(self.models * prod(shape), ALIGNED) * ALIGNED

    def views(self, flat: Array) -> Params:
        """Return the named arrays (M, *shape) within `flat` (size,)."""
        return {
            name: flat[at : at + self.models * prod(shape)].reshape(self.models, *shape)
            for (name, shape), at in zip(self.shapes.items(), self.offsets.values(), strict=True)
        }

    def join(self, models: Sequence[Params], dtype: npt.DTypeLike) -> Array:
        """Return the arrays of each model as a flat array of the host, gaps of zeros."""
        flat = np.zeros(self.size, dtype)
        for name, view in self.views(flat).items():
            for m, arrays in enumerate(models):
                view[m] = arrays[name]
        return flat

    def split(self, flat: Array) -> list[Params]:
        """Return the arrays of each model of a flat array of the host, as copies."""
        views = self.views(flat)
        return [{name: a[m].copy() for name, a in views.items()} for m in range(self.models)]


class Weights:
    """Parameters and moments, and Adam over them.

    The steps of Adam are counted on the device, for each model, so that a captured graph advances
    them.
    """

    def __init__(
        self, device: Device, shapes: Mapping[str, Shape], params: Sequence[Params],
        settings: AdamSettings, dtype: npt.DTypeLike,
    ) -> None:  # fmt: skip
        self.device, self.settings, self.dtype = device, settings, np.dtype(dtype)
        self.layout = FlatLayout(shapes, len(params))
        self.p = device.to_device(self.layout.join(params, dtype))
        self.m, self.v = (device.zeros(self.layout.size, dtype) for _ in range(2))
        self.params = self.layout.views(self.p)
        self._state = optim.new_state(device, settings, [0] * len(params))
        self._numbers = device.empty((len(params), 2), dtype)

    def load(self, m: Sequence[Params], v: Sequence[Params], steps: Sequence[int]) -> None:
        """Take the moments of each model after so many steps of it."""
        self.device.write(self.m, self.layout.join(m, self.dtype))
        self.device.write(self.v, self.layout.join(v, self.dtype))
        state = optim.new_state(self.device, self.settings, steps)
        self.device.write(self._state, self.device.to_host(state))

    def read(self, flat: Array) -> list[Params]:
        """Return p, m or v of each model, copies on the host; waits for all steps."""
        return self.layout.split(self.device.to_host(flat))

    def begin_step(self, losses: optim.StepLosses) -> None:
        """Queue the begin of a step, whose losses are known."""
        optim.begin_step(self._state, self._numbers, self.settings, losses)

    def adam(self, parts: Array, segments: optim.Segments, losses: Array) -> None:
        """Queue the step; a model whose loss (M,) is not finite keeps its parameters.

        parts: of the gradients, where `segments` says.
        """
        optim.launch(self.p, self.m, self.v, parts, self._numbers, self.settings, losses, segments)
