"""Augmentation: every batch of a training is warped at random before its step.

    history = fit(model, images, ..., hooks=Augmentation(Warp(rotation=10, shift=0.1)))

The network reconstructs the warped image, so that the warp only makes more data: no invariance is
asked for.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator

from l2ae_core.training.hooks import Hooks
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import number


@dataclass(frozen=True)
class Warp:
    """Ranges of random rotations, shifts and scales of images, all drawn uniformly.

    Raises ValueError, naming the field, for values out of range.
    """

    rotation: float = 10.0  # degrees, 0 … 180: angles in ± rotation
    shift: float = 0.1  # share of a side, 0 … 1: rows and columns in ± shift, independently
    scale: float = 0.0  # 0 … 1, less than 1: factors in 1 ± scale

    def __post_init__(self) -> None:
        for name, most in {"rotation": 180.0, "shift": 1.0, "scale": 1.0}.items():
            number("Warp", name, getattr(self, name), most=most)
        if self.scale == 1:  # the image would be a point
            raise ValueError(f"Warp: scale is {self.scale!r} but expected a number < 1")

    def draw(self, rng: Generator, count: int, height: int, width: int) -> Array:
        """Return maps (count, 2, 3) float64 of output pixels (i, j, 1), for `ops.warp`.

        A pixel p = (i, j) of the image goes to q, so that q of the output reads p:

            q = m + σ R(θ) (p − m) + t        m = ((H − 1)/2, (W − 1)/2), the center of the image
            p = A (q − m − t) + m             A = R(θ)ᵀ/σ = (( cos θ, sin θ),
                                                             (−sin θ, cos θ)) / σ

        and a map is (A | m − A (m + t)). Positive angles θ turn the image counter-clockwise; σ is
        the factor, t the shift in pixels. Four numbers are drawn for an image, whatever the ranges.
        """
        draws = rng.uniform(-1, 1, (count, 4))
        angle, factor = np.radians(self.rotation * draws[:, 0]), 1 + self.scale * draws[:, 1]
        shift = self.shift * draws[:, 2:] * (height, width)
        center = np.array([(height - 1) / 2, (width - 1) / 2])
        cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
        A = np.stack([cos, sin, -sin, cos], axis=1).reshape(count, 2, 2)
        offset = center - (A @ (center + shift)[:, :, None])[:, :, 0]
        return np.concatenate([A, offset[:, :, None]], axis=2)

    def __call__(self, images: Array, rng: Generator) -> Array:
        """Return images (B, H, W, C), each warped by a draw of its own; zeros come in from outside.

        Raises ValueError for what is not (B, H, W, C) of float32 or float64.
        """
        if np.ndim(images) != 4:
            raise ValueError(f"Warp: images has shape {np.shape(images)} but expected (B, H, W, C)")
        count, height, width, _ = images.shape
        return ops.warp(images, self.draw(rng, count, height, width).astype(images.dtype))

    def to_dict(self) -> dict[str, float]:
        """Return the fields as JSON-ready values."""
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(eq=False)
class Augmentation(Hooks):
    """The hooks that warp each batch by draws from the generator of `fit`, which checkpoints save.

    Raises ValueError when `warp` is none.
    """

    warp: Warp
    rng: Generator | None = field(default=None, init=False, repr=False)  # given with the batches

    def __post_init__(self) -> None:
        if not isinstance(self.warp, Warp):
            raise ValueError(f"Augmentation: warp is {self.warp!r} but expected a Warp")

    @property
    def settings(self) -> dict[str, Any]:
        return {"warp": self.warp.to_dict()}

    def batches(self, epoch: int, count: int, batch_size: int, rng: Generator) -> list[Array]:
        self.rng = rng
        return super().batches(epoch, count, batch_size, rng)

    def before_step(self, batch: Array, x: Array) -> Array:
        assert self.rng is not None, "batches are asked for before any step"
        return self.warp(x, self.rng)
