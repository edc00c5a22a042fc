"""Batches of M trainings on a device: the images, the list of batches, and the losses of its steps.

The host draws the indices of every batch, and uploads those of many steps at once. What changes
from step to step lies on the device (step.cu), so the launches of a step can be replayed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import THREADS, real
from l2ae_kernels.cuda.optim import StepLosses

MOST_STEPS = 256  # of one list: 256 images of 200 models are then 52 MB of indices


class Batches:
    """Images (n, *shape), uint8 or `dtype`, and a list of up to MOST_STEPS batches of them.

    A batch is the indices of up to `batch_size` images for each of `models` models.
    """

    def __init__(
        self, device: Device, images: Array, models: int, batch_size: int, dtype: npt.DTypeLike
    ) -> None:
        self.device, self.models, self.batch_size = device, models, batch_size
        self.dtype = np.dtype(dtype)
        self.images = device.to_device(images)
        self.indices = device.zeros(MOST_STEPS * models * batch_size, np.int32)
        self.position = device.zeros(2, np.int64)
        self.losses = device.zeros((MOST_STEPS, models), np.float64)
        self.errors = device.zeros(models, np.float64)  # Σ |x̂ − x|² of a batch

    def start(self, batches: Sequence[Array]) -> None:
        """Begin a list of batches, each (M, n) or (n,), the same images for all models.

        Without any, a list of steps whose images come from elsewhere.
        """
        self.device.write(self.position, np.zeros(2, np.int64))
        if batches:
            each = [np.broadcast_to(b, (self.models, b.shape[-1])).ravel() for b in batches]
            flat = np.concatenate(each).astype(np.int32)
            self.device.write(self.indices[: flat.size], flat)

    def gather(self, x: Array, batch: int, first: int) -> None:
        """Queue x (M, N, *shape), the images first … first + N − 1 of the `batch` of this step."""
        samples = x.shape[1]
        defines = real(self.dtype)
        if self.images.dtype == np.uint8:
            defines["BYTES"] = 1
        self.device.launch(
            self.device.kernel("step.cu", "gather_images", defines),
            (samples, 1, self.models),
            (THREADS,),
            (
                self.images, self.indices, self.position, x,
                *map(np.int64, (batch, first, samples, x[0, 0].size)),
            ),
        )  # fmt: skip

    def losses_of(self, parts: Array, batch: int, divisor: int) -> StepLosses:
        """Return where the losses of a step on `batch` images go: the sum of parts / divisor."""
        return StepLosses(parts, self.errors, self.losses, self.position, batch, divisor)

    def read(self, steps: int) -> Array:
        """Return the losses (steps, M) of the list's first steps; waits for them."""
        return self.device.to_host(self.losses[:steps])
