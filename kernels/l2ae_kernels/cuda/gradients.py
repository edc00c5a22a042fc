"""The gradients of M networks as their blocks leave them: in parts, which Adam's launch adds.

A sum over many samples is cut into parts, so that its blocks fill the device. The parts of all
arrays of all micro-batches lie in one flat array: those of a named array are (count, M, *shape),
the micro-batches one after the other.
"""

from collections.abc import Mapping, Sequence
from math import prod

import numpy.typing as npt

from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.elementwise import add_parts
from l2ae_kernels.cuda.launch import ceil_div
from l2ae_kernels.cuda.optim import Segment, Segments
from l2ae_kernels.cuda.weights import ALIGNED, FlatLayout
from l2ae_kernels.stages import Params


class Gradients:
    """The parts of a batch. counts: of each named array in `layout`, for each micro-batch."""

    def __init__(
        self,
        device: Device,
        layout: FlatLayout,
        counts: Sequence[Mapping[str, int]],
        dtype: npt.DTypeLike,
    ) -> None:
        self.device, self.layout, self.counts = device, layout, counts
        models = layout.models
        self.offsets: dict[str, int] = {}
        segments, end = [], 0
        for (name, shape), begin in zip(
            layout.shapes.items(), layout.offsets.values(), strict=True
        ):
            count = sum(each[name] for each in counts)
            segments.append(Segment(begin, end, prod(shape), count))
            self.offsets[name] = end
            end += ceil_div(count * models * prod(shape), ALIGNED) * ALIGNED
        self.flat = device.empty(end, dtype)
        self.segments = Segments(device, segments)

    def views(self, piece: int) -> Params:
        """Return the parts (count, M, *shape) of each array that come from a micro-batch."""
        return {
            name: self.flat[at : at + count * self._numbers(name)].reshape(
                count, self.layout.models, *self.layout.shapes[name]
            )
            for name, (at, count) in self._places(piece).items()
        }

    def places(self, piece: int) -> dict[str, int]:
        """Return where the parts of each array that come from a micro-batch begin."""
        return {name: at for name, (at, _) in self._places(piece).items()}

    def added(self) -> Params:
        """Return the gradients (M, *shape), added in order: arrays of their own."""
        found = {}
        for name, shape in self.layout.shapes.items():
            count = sum(each[name] for each in self.counts)
            found[name] = self.device.empty((self.layout.models, *shape), self.flat.dtype)
            add_parts(self.device, self.flat[self.offsets[name] :], found[name], count=count)
        return found

    def _places(self, piece: int) -> dict[str, tuple[int, int]]:
        """Return where parts begin, and how many there are."""
        return {
            name: (
                at + sum(each[name] for each in self.counts[:piece]) * self._numbers(name),
                self.counts[piece][name],
            )
            for name, at in self.offsets.items()
        }

    def _numbers(self, name: str) -> int:
        """Return the numbers of a part of all models."""
        return self.layout.models * prod(self.layout.shapes[name])
