"""Steps of auto-encoders on a device: many are queued at once, and of several networks together.

    step = DeviceStep(model, Adam(), "mean", device=device)
    for loss in step.losses(images, batches, hooks): ...

Between two epochs the arrays of the model are the truth: they go up before the first step and come
back after the last, running statistics included, so that checkpoints, callbacks and best weights
are those of any other training. Adam's memory, twice as large, comes back when it is asked for.
Images go up once. Large batches are cut by a rule of shapes alone (`DeviceTraining`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from l2ae_core.images import Images
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
from l2ae_kernels.ops.checks import count
from l2ae_kernels.stages import Stage

CHUNK = 4096  # images that are looked at at a time
AT_ONCE = 32  # steps that are queued before their losses are waited for
NO_IMAGES = np.empty(0, np.int64)  # the batch of a pause


@dataclass(eq=False)
class DeviceStep(ReconstructionStep):
    """Steps of one network by Adam, on a device.

    Raises ValueError, naming it, for a layer that is none of the kernels' stages, for another
    optimizer, and for a second loss on the codes.
    """

    device: Device = field(kw_only=True)
    micro_batch: int | None = field(default=None, kw_only=True)  # that of `DeviceTraining`
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
        if self.micro_batch is not None:
            count("fit", "micro_batch", self.micro_batch)
            require_no_batch_norm(self.stages, self.micro_batch)

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        params, state = (
            {name: self.device.to_device(a) for name, a in arrays.items()}
            for arrays in (self.model.params, self.model.state)
        )
        step = ops.training_step(self.stages, params, self.model.input_shape, state=state)
        loss = step.loss(self.device.to_device(x), self.reduction)
        for name, a in self.model.state.items():
            a[...] = self.device.to_host(state[name])
        return loss, {name: self.device.to_host(g) for name, g in step.grads().items()}

    def latent(self, images: Images) -> Array:
        moved = self.model.with_arrays(self.device.to_device)
        return self.device.to_host(moved.latent(self.device.to_device(np.asarray(images))))

    def bring_memory(self) -> None:
        """Let the optimizer have its memory after the last whole epoch."""
        if self.networks is not None:
            self.networks.bring_memory()

    @property
    def made(self) -> int:
        """Steps that were made up to the last whole epoch; those of the optimizer may be older."""
        networks = self.networks
        return _adam(self).steps if networks is None else networks.made[networks.steps.index(self)]

    def losses(self, images: Images, batches: list[Array], hooks: Hooks) -> Iterator[float]:
        largest = max(map(len, batches))
        if self.networks is None or not self.networks.fits([images], largest):
            self.bring_memory()
            self.networks = Networks(self.device, [self], [images], largest)
        for some in self.networks.losses([batches], [hooks]):
            yield from some[:, 0].tolist()


class Known(NamedTuple):
    """What the host got of a network last: its arrays, and the memory of Adam, by identity."""

    arrays: Params  # parameters and running statistics
    m: Params
    v: Params
    steps: int

    def has_memory(self, step: DeviceStep) -> bool:
        """Whether the optimizer has the memory that it got, and no other."""
        adam = _adam(step)
        return adam.m is self.m and adam.v is self.v and adam.steps == self.steps

    def holds(self, step: DeviceStep) -> bool:
        """Whether model and optimizer have what they got."""
        arrays = _arrays(step)
        same = all(np.array_equal(a, self.arrays[name]) for name, a in arrays.items())
        return same and self.has_memory(step)

    def is_stale(self, step: DeviceStep, made: int) -> bool:
        """Whether the optimizer lacks what it learnt in the steps up to `made`."""
        return self.steps != made and self.has_memory(step)


class Networks:
    """M networks of one shape on a device, each with its own images and its own memory of Adam.

    They have the same stages, `micro_batch` and settings of Adam. `batch_size` is that of a whole
    batch, by which the launches go: a training has the same bits for the same one alone. ValueError
    where the images do not fit the memory of the device.
    """

    def __init__(
        self, device: Device, steps: Sequence[DeviceStep], images: Sequence[Images], batch_size: int
    ) -> None:
        self.device, self.steps, self.images, self.batch_size = device, steps, images, batch_size
        self.uploaded = joined(images)
        if self.uploaded.nbytes >= (free := device.free_memory()):
            raise ValueError(
                f"fit: images take {self.uploaded.nbytes:,} bytes but {device} has {int(free):,} "
                "free ones"
            )
        self.offsets = np.cumsum([0, *map(len, images[:-1])])
        self.known: list[Known] = []
        self.made = [_adam(step).steps for step in steps]  # up to the last whole epoch
        self.training = self._upload()

    def fits(self, images: Sequence[Images], batch_size: int) -> bool:
        """Whether these are the images that are there, and this is a whole batch."""
        same = all(a is b for a, b in zip(images, self.images, strict=True))
        return same and batch_size == self.batch_size

    def losses(self, batches: Sequence[list[Array]], hooks: Sequence[Hooks]) -> Iterator[Array]:
        """Make the steps of an epoch, on batches[m][i] of model m in step i.

        Yield the losses (steps, M) float64 of some steps at a time. A model with fewer batches than
        another pauses in the end: its losses are NaN then. Afterwards the arrays of all models are
        those after their last step.
        """
        if not self._is_whole or not all(map(Known.holds, self.known, self.steps)):
            self.bring_memory()
            self._require_memory()
            self.training = self._upload()
        plain = all(map(is_plain, hooks))
        steps = list(zip_longest(*batches, fillvalue=NO_IMAGES))
        for first in range(0, len(steps), AT_ONCE):
            some = steps[first : first + AT_ONCE]
            if plain:
                yield self.training.run([self._indices(batch) for batch in some])
            else:
                yield self.training.run_images([self._changed(s, hooks) for s in some])
        self._bring_back()

    def bring_memory(self) -> None:
        """Let all optimizers have their memory, unless they have, or have got another."""
        if not self._is_whole:
            return  # half-way: theirs is that of an epoch before
        stale = [known.is_stale(step, made) for step, known, made
                 in zip(self.steps, self.known, self.made, strict=True)]  # fmt: skip
        if not any(stale):
            return
        for i, (step, m, v) in enumerate(zip(self.steps, *self.training.moments, strict=True)):
            if stale[i]:
                adam = _adam(step)
                adam.m, adam.v, adam.steps = m, v, self.made[i]
                self.known[i] = Known(self.known[i].arrays, m, v, self.made[i])

    @property
    def _is_whole(self) -> bool:
        """Whether no epoch was left half-way."""
        return bool((self.training.steps == self.made).all())

    def _require_memory(self) -> None:
        """RuntimeError where an optimizer has the memory of an earlier epoch than its model."""
        for step, known, made in zip(self.steps, self.known, self.made, strict=True):
            if known.is_stale(step, made):
                raise RuntimeError(
                    f"losses: an epoch was left half-way; the model is that of step {made} "
                    f"but the optimizer that of step {known.steps}: go on from a checkpoint"
                )

    def _indices(self, batch: Sequence[Array]) -> Array | list[Array]:
        """The indices of a step among the images of all: one array where all have equally many."""
        each = [b + at for b, at in zip(batch, self.offsets, strict=True)]
        return np.stack(each) if len({*map(len, each)}) == 1 else each

    def _changed(self, batch: Sequence[Array], hooks: Sequence[Hooks]) -> list[Array]:
        """The images (n, H, W, C) of each model in a step, as the hooks of each want them."""
        return [
            h.before_step(b, images[b]) if len(b) else np.asarray(images[:0])
            for b, h, images in zip(batch, hooks, self.images, strict=True)
        ]

    def _upload(self) -> DeviceTraining:
        """The training on the device with the arrays of the host."""
        first = self.steps[0]
        adams = [_adam(step) for step in self.steps]
        training = DeviceTraining(
            self.device, first.stages, [s.model.params for s in self.steps], self.uploaded,
            batch_size=self.batch_size, settings=adams[0].settings, reduction=first.reduction,
            state=[s.model.state for s in self.steps], micro_batch=first.micro_batch,
        )  # fmt: skip
        self.made = [adam.steps for adam in adams]
        if any(self.made):
            of = [(adam, _zeros(s.model.params)) for adam, s in zip(adams, self.steps, strict=True)]
            m, v = ([getattr(adam, key) or zeros for adam, zeros in of] for key in "mv")
            training.load(m, v, self.made)
        self.known = [
            Known({n: a.copy() for n, a in _arrays(s).items()}, adam.m, adam.v, adam.steps)
            for s, adam in zip(self.steps, adams, strict=True)
        ]
        return training

    def _bring_back(self) -> None:
        """Copy parameters and running statistics to the models on the host."""
        both = zip(self.training.params, self.training.state, strict=True)
        for i, (step, (params, state)) in enumerate(zip(self.steps, both, strict=True)):
            arrays = params | state
            for name, a in _arrays(step).items():
                a[...] = arrays[name]
            self.known[i] = self.known[i]._replace(arrays=arrays)
        self.made = self.training.steps.tolist()


def is_plain(hooks: Hooks) -> bool:
    """Whether the hooks leave the images of a step as they are."""
    return getattr(hooks.before_step, "__func__", None) is Hooks.before_step


def joined(images: Sequence[Images]) -> Array:
    """Return the images of each, one after the other; as the bytes that all are 1/255 of, if so.

    The device divides a byte in float32: the same numbers again, for a quarter of the memory.
    """
    shape = (sum(map(len, images)), *images[0].shape[1:])
    whole = np.empty(shape, np.uint8)
    for piece, part in _pieces(images):
        with np.errstate(invalid="ignore"):  # of what is far from a byte
            whole[piece] = np.rint(part * 255)
        again = whole[piece].astype(np.float32) / np.float32(255)
        if not np.array_equal(again.astype(part.dtype), part):
            break
    else:
        return whole
    del whole
    if len(images) == 1:
        return np.asarray(images[0])
    whole = np.empty(shape, images[0].dtype)
    for piece, part in _pieces(images):
        whole[piece] = part
    return whole


def _pieces(images: Sequence[Images]) -> Iterator[tuple[slice, Array]]:
    """Yield CHUNK images at a time, and where they are among the images of all."""
    first = 0
    for some in images:
        for start in range(0, len(some), CHUNK):
            part = some[start : start + CHUNK]
            yield slice(first, first + len(part)), part
            first += len(part)


def require_no_batch_norm(stages: Sequence[Stage], micro_batch: int) -> None:
    """Raise ValueError for batch norm, whose μ and v are those of the whole batch."""
    norm = next((s.name for s in stages if s.kind == "batch_norm"), None)
    if norm is not None:
        raise ValueError(
            f"fit: micro_batch is {micro_batch} but batch_norm {norm!r} needs the whole batch: "
            "expected None"
        )


def _zeros(params: Params) -> Params:
    """The memory of Adam before its first step."""
    return {name: np.zeros_like(p) for name, p in params.items()}


def _arrays(step: DeviceStep) -> Params:
    """What a step changes of a model."""
    return step.model.params | step.model.state


def _adam(step: DeviceStep) -> Adam:
    assert isinstance(step.optimizer, Adam)  # of __post_init__
    return step.optimizer
