"""Images that no step is made on, and their loss after every epoch."""

from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from numpy.random import Generator

from l2ae_core.images import Images, gathered
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.tables import counted
from l2ae_core.training.loss import Reduction
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import number

BATCH = 1024  # images at a time


def share_of(count: int, share: float) -> int:
    """Return that share of `count` images, to the nearest number.

    ValueError unless it lies in (0, 1), with an image on either side.
    """
    number("fit", "validation", share, positive=True, most=1)
    held_out = round(share * count)
    if not 0 < held_out < count:
        raise ValueError(
            f"fit: validation is {share}, {held_out} of {counted(count, 'image')}, but expected "
            "some images to validate and some to train on"
        )
    return held_out


@dataclass(frozen=True, eq=False)
class Validation:
    """Some of the images of a training, held out of it, or others.

    `images` (M, H, W, C) are not copied; `held_out` (V,) are the indices of those of the training,
    in ascending order, None where all of `images` are others.
    """

    images: Images
    held_out: Array | None = None

    @classmethod
    def split(cls, images: Images, share: float, rng: Generator) -> Self:
        """Hold out a share of the images (N, H, W, C), drawn from rng; ValueError as `share_of`."""
        count = share_of(len(images), share)
        return cls(images, np.sort(rng.permutation(len(images))[:count]))

    def trained(self, count: int) -> Array:
        """Return the indices of those of `count` images that steps are made on."""
        every = np.arange(count)
        return every if self.held_out is None else np.delete(every, self.held_out)

    def loss(self, model: AutoEncoder, reduction: Reduction) -> float:
        """Return Eq. 3 of the validation images, by the network as it is applied."""
        chosen = np.arange(len(self.images)) if self.held_out is None else self.held_out
        total = 0.0
        batches = [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]
        for images in gathered(self.images, batches):
            x = np.ascontiguousarray(images)
            total += ops.squared_error(model.forward(x)[0], x)
        return total / (len(chosen) * (prod(self.images.shape[1:]) if reduction == "mean" else 1))
