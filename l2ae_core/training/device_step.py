"""Steps of auto-encoders on a device: many are queued at once, and of several networks together.

    step = DeviceStep(model, Adam(), "mean", device=device)
    for loss in step.losses(images, batches, hooks): ...

Between two epochs the arrays of the model and of its optimizer are the truth: they go up before the
first step and come back after the last, so that checkpoints, callbacks and best weights are those
of any other training. Images go up once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from l2ae_core.layers import Params
from l2ae_core.layers.base import is_exactly
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.lower import require_stages
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import ReconstructionStep
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.stages import Stage

CHUNK = 4096  # images that are looked at at a time
AT_ONCE = 32  # steps that are queued before their losses are waited for


@dataclass(eq=False)
class DeviceStep(ReconstructionStep):
    """Steps of one network by Adam, on a device.

    Raises ValueError, naming it, for a layer that is none of the kernels' stages, for another
    optimizer, and for a second loss on the codes.
    """

    device: Device = field(kw_only=True)
    stages: list[Stage] = field(init=False, repr=False)
    networks: "Networks | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.stages = require_stages(self.model, str(self.device))
        if not is_exactly(self.optimizer, Adam):
            raise ValueError(
                f"fit: {self.device} trains by Adam but optimizer is {self.optimizer!r}"
            )
        if self.latent_grad is not None:
            raise ValueError(f"fit: {self.device} has no second loss but latent_grad is given")

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        params = {name: self.device.to_device(p) for name, p in self.model.params.items()}
        step = ops.training_step(self.stages, params, self.model.input_shape)
        loss = step.loss(self.device.to_device(x), self.reduction)
        return loss, {name: self.device.to_host(g) for name, g in step.grads().items()}

    def latent(self, images: Array) -> Array:
        moved = self.model.with_arrays(self.device.to_device)
        return self.device.to_host(moved.latent(self.device.to_device(images)))

    def losses(self, images: Array, batches: list[Array], hooks: Hooks) -> Iterator[float]:
        largest = max(map(len, batches))
        if self.networks is None or not self.networks.fits([images], largest):
            self.networks = Networks(self.device, [self], [images], largest)
        for some in self.networks.losses([batches], [hooks]):
            yield from some[:, 0].tolist()


class Known(NamedTuple):
    """What the device has of a network: its parameters, and the memory of Adam, by identity."""

    params: Params
    m: Params
    v: Params
    steps: int

    def holds(self, step: DeviceStep) -> bool:
        """Whether model and optimizer on the host have the same."""
        adam, params = _adam(step), step.model.params
        same = adam.m is self.m and adam.v is self.v and adam.steps == self.steps
        return same and all(np.array_equal(p, self.params[name]) for name, p in params.items())


class Networks:
    """M networks of one shape on a device, each with its own images and its own memory of Adam.

    They have the same stages, and Adam's settings and number of steps. ValueError where the images
    do not fit the memory of the device.
    """

    def __init__(
        self, device: Device, steps: Sequence[DeviceStep], images: Sequence[Array], batch_size: int
    ) -> None:
        self.device, self.steps, self.images, self.batch_size = device, steps, images, batch_size
        together = images[0] if len(images) == 1 else np.concatenate([*images])
        if together.nbytes >= device.free_memory():
            raise ValueError(
                f"fit: images take {together.nbytes:,} bytes but {device} has "
                f"{int(device.free_memory()):,}"
            )
        self.uploaded = as_bytes(together)
        self.offsets = np.cumsum([0, *map(len, images[:-1])])
        self.known: list[Known] = []
        self.training = self._upload()

    def fits(self, images: Sequence[Array], batch_size: int) -> bool:
        """Whether these are the images that are there, and batches of this size have room."""
        same = all(a is b for a, b in zip(images, self.images, strict=True))
        return same and batch_size <= self.batch_size

    def losses(self, batches: Sequence[list[Array]], hooks: Sequence[Hooks]) -> Iterator[Array]:
        """Make the steps of an epoch, on batches[m][i] of model m in step i.

        Yield the losses (steps, M) float64 of some steps at a time. Afterwards the arrays of all
        models and optimizers are those after the last step. In step i all batches have one size.
        """
        if not all(known.holds(step) for step, known in zip(self.steps, self.known, strict=True)):
            self.training = self._upload()
        plain = all(map(is_plain, hooks))
        steps = list(zip(*batches, strict=True))
        for first in range(0, len(steps), AT_ONCE):
            some = steps[first : first + AT_ONCE]
            if plain:
                each = [np.stack([b + at for b, at in zip(s, self.offsets, strict=True)])
                        for s in some]  # fmt: skip
                yield self.training.run(each)
            else:
                yield self.training.run_images([self._changed(s, hooks) for s in some])
        self._bring_back()

    def _changed(self, batch: Sequence[Array], hooks: Sequence[Hooks]) -> Array:
        """The images (M, n, H, W, C) of a step, as the hooks of each training want them."""
        return np.stack([
            h.before_step(b, images[b])
            for b, h, images in zip(batch, hooks, self.images, strict=True)
        ])  # fmt: skip

    def _upload(self) -> DeviceTraining:
        """The training on the device with the arrays of the host."""
        first = self.steps[0]
        adams = [_adam(step) for step in self.steps]
        training = DeviceTraining(
            self.device, first.stages, [s.model.params for s in self.steps], self.uploaded,
            batch_size=self.batch_size, settings=adams[0].settings, reduction=first.reduction,
        )  # fmt: skip
        if adams[0].steps:
            training.load([a.m for a in adams], [a.v for a in adams], adams[0].steps)
        self.known = [
            Known({n: p.copy() for n, p in s.model.params.items()}, adam.m, adam.v, adam.steps)
            for s, adam in zip(self.steps, adams, strict=True)
        ]
        return training

    def _bring_back(self) -> None:
        """Copy parameters and Adam's memory to the models and optimizers on the host."""
        moments = self.training.moments
        self.known = []
        for step, params, m, v in zip(self.steps, self.training.params, *moments, strict=True):
            for name, p in step.model.params.items():
                p[...] = params[name]
            adam = _adam(step)
            adam.m, adam.v, adam.steps = m, v, self.training.step
            self.known.append(Known(params, m, v, adam.steps))


def is_plain(hooks: Hooks) -> bool:
    """Whether the hooks leave the images of a step as they are."""
    return getattr(hooks.before_step, "__func__", None) is Hooks.before_step


def as_bytes(images: Array) -> Array:
    """Return images as the bytes that they are 1/255 of, where all are; else as they are.

    The device divides a byte in float32: the same numbers again, for a quarter of the memory.
    """
    whole = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        with np.errstate(invalid="ignore"):  # of what is far from a byte
            whole[start : start + CHUNK] = np.rint(part * 255)
        again = whole[start : start + CHUNK].astype(np.float32) / np.float32(255)
        if not np.array_equal(again.astype(images.dtype), part):
            return images
    return whole


def _adam(step: DeviceStep) -> Adam:
    assert isinstance(step.optimizer, Adam)  # of __post_init__
    return step.optimizer
