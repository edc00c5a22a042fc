"""Batches of M trainings on a device: the images, the list of batches, and the losses of its steps.

The host draws the indices of every batch, and uploads those of many steps at once. What changes
from step to step lies on the device (step.cu), so the launches of a step can be replayed.

Every batch has room for `batch_size` images of each model. One that has fewer is filled up with
those that it has, and their number says which count: a ragged batch is then the same launches as a
whole one, and each model has a number of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.block import Present
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import THREADS, ceil_div, real
from l2ae_kernels.cuda.optim import StepLosses

MOST_STEPS = 256  # of one list: 256 images of 200 models are then 52 MB of indices


class Filled(NamedTuple):
    """A batch of M models that is filled up: indices (M, B), or images (M, B, *image)."""

    items: Array
    counts: Array  # (M,): how many of B each model has; 0 is a pause

    @classmethod
    def of(cls, each: Array | Sequence[Array], size: int) -> Self:
        """Fill up what each model has, (n,) or (n, *image) for 0 ≤ n ≤ size, by repeating it."""
        counts = np.array([len(a) for a in each])
        if isinstance(each, np.ndarray) and each.shape[1] == size:
            return cls(each, counts)
        some = next(a for a in each if len(a))  # of which one without any gets the first
        filled = [(a if len(a) else some)[np.arange(size) % max(len(a), 1)] for a in each]
        return cls(np.stack(filled), counts)


class Batches:
    """Images (n, *shape), uint8 or `dtype`, and a list of up to MOST_STEPS batches of them.

    A batch is the indices of `batch_size` images for each of `models` models, and how many count.
    numbers: of an image by which its loss is divided, as the number of images is.
    """

    def __init__(
        self, device: Device, images: Array, models: int, batch_size: int, dtype: npt.DTypeLike,
        numbers: int,
    ) -> None:  # fmt: skip
        self.device, self.models, self.batch_size = device, models, batch_size
        self.dtype, self.numbers = np.dtype(dtype), numbers
        self.images = device.to_device(images)
        self.indices = device.zeros(MOST_STEPS * models * batch_size, np.int32)
        self.counts = device.zeros((MOST_STEPS, models), np.int32)
        self.position = device.zeros(2, np.int64)
        self.losses = device.zeros((MOST_STEPS, models), np.float64)
        self.now = device.zeros(models, np.float64)  # the losses of this step

    def start(self, batches: Sequence[Filled], *, gathers: bool) -> None:
        """Begin a list of batches; `gathers`: their items are indices, else come from elsewhere."""
        self.device.write(self.position, np.zeros(2, np.int64))
        counts = np.stack([b.counts for b in batches]).astype(np.int32)
        self.device.write(self.counts[: len(batches)], counts)
        if gathers:
            flat = np.concatenate([b.items.ravel() for b in batches]).astype(np.int32)
            self.device.write(self.indices[: flat.size], flat)

    def gather(self, x: Array, present: Present, first: int) -> None:
        """Queue x (M, N, *shape), the images first … first + N − 1 of the batch of this step.

        And how many of them count.
        """
        samples = x.shape[1]
        defines = real(self.dtype)
        if self.images.dtype == np.uint8:
            defines["BYTES"] = 1
        self.device.launch(
            self.device.kernel("step.cu", "gather_images", defines),
            (samples, 1, self.models),
            (THREADS,),
            (
                self.images, self.indices, self.counts, self.position, x, *present,
                *map(np.int64, (self.batch_size, first, samples, x[0, 0].size)),
                np.float64(self.numbers),
            ),
        )  # fmt: skip

    def begin(self, x: Array, present: Present, first: int) -> None:
        """Queue how many of the images of x count, which come from elsewhere; else as `gather`."""
        self.device.launch(
            self.device.kernel("step.cu", "begin_images", real(self.dtype)),
            (ceil_div(self.models, THREADS),),
            (THREADS,),
            (
                self.counts, self.position, *present,
                *map(np.int64, (self.models, first, x.shape[1])), np.float64(self.numbers),
            ),
        )  # fmt: skip

    def losses_of(self, parts: Array) -> StepLosses:
        """Return where the losses of a step go, whose errors are the sums of these parts."""
        return StepLosses(
            parts, self.counts, self.now, self.losses, self.position, self.batch_size, self.numbers
        )

    def read(self, steps: int) -> Array:
        """Return the losses (steps, M) of the list's first steps; waits for them."""
        return self.device.to_host(self.losses[:steps])
