"""Whole training steps on a device: images of a batch, forward, loss, backward, Adam.

    NAME-cuda          for the networks of `../steps.py`, batch 256, one class of precision a row
    NAME-tf32-cuda     (precision.py)
    NAME-cuda-eager    the same measurement of ours, beside PyTorch as it runs without a graph
    NAME-8-models-cuda     a step of one of 8 networks that share every launch; its peer trains one
    table4-cuda        the trainings of Table IV by such steps: projected, not run

Ours is `DeviceTraining`: the indices of STEPS batches go up at once, each step is a graph that
gathers its images, and losses come back together. A peer has its batch laid out beforehand. Times
are of one step. Before that, losses and gradients of all are compared with NumPy's in float64, and
losses of a few steps of Adam.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from l2ae_bench import peers
from l2ae_bench.comparison import (
    OURS,
    Contender,
    Measurement,
    make_row,
    measure,
    require_agreement,
)
from l2ae_bench.cuda.precision import IMPL, Precision, torch_precision
from l2ae_bench.steps import (
    BATCH,
    GRADIENTS,
    LOSSES,
    NETWORKS,
    clear_images,
    compare_gradients,
    step_work,
)
from l2ae_core.layers.base import Params
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.lower import require_stages
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import make_step
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.training import DeviceTraining
from l2ae_kernels.stages import AdamSettings

STEPS = 20  # of a call
COMPARED = 3  # steps of Adam
MODELS = 8
MICRO_BATCH = 64  # what 8 models keep of so many images each stays in the cache
OF_TABLE4 = "step-cae-28"
# Two systems, ten digits, ten seeds; 200 epochs of 54,000 images and a tenth of the anomaly.
TABLE4_TRAININGS, TABLE4_STEPS = 200, 200 * 214
ADAM = AdamSettings(variant="torch")
PARTS: tuple[Precision, ...] = ("float32", "tf32")
# TF32 rounds a sum by about 2^-11 of its size: 1 of 4,000 units lies so near to zero that it opens
# in one network alone. That moves a gradient by √(1/4000), 1.6 %, a layer, 4 % over six of them.
# The difference is that of whole arrays, |g − g'| / |g'|, since single numbers move by more.
TF32_GRADIENTS, TF32_LOSSES = 0.1, 2e-2


class Peer(Protocol):
    """A network of another library that starts with our weights."""

    def loss_and_grads(self) -> tuple[float, Params]:
        """Return the loss at these weights, and its gradients under our names."""

    def steps(self, count: int) -> list[float]:
        """Make so many steps, and return the losses before them."""


@dataclass(frozen=True)
class Training:
    """A network, its batch, and what float64 makes of both."""

    model: AutoEncoder
    images: Array
    precision: Precision
    loss: float
    grads: Params
    losses: list[float]  # of COMPARED steps

    @classmethod
    def of(cls, architecture: Architecture, batch: int, precision: Precision) -> "Training":
        """Draw weights and images, and make the steps of the reference."""
        rng = np.random.default_rng(0)
        model = build(architecture, rng)
        images = clear_images(model, rng, batch)
        x = images.astype(np.float64)
        step = make_step(model.astype(np.float64), Adam(variant="torch"), "mean")
        loss, grads = step.loss_and_grads(x)
        kept = {name: g.copy() for name, g in grads.items()}
        losses = [float(step(x)) for _ in range(COMPARED)]
        return cls(model, images, precision, loss, kept, losses)

    def on(self, device: Device, models: int = 1, micro_batch: int | None = None) -> DeviceTraining:
        """Return the training of so many networks on a device, all with these weights."""
        stages = require_stages(self.model, str(device))
        return DeviceTraining(
            device, stages, [self.model.params] * models, self.images, settings=ADAM,
            batch_size=len(self.images), impl=IMPL[self.precision], micro_batch=micro_batch,
        )  # fmt: skip

    def batches(self, count: int) -> list[Array]:
        """Return the indices of a batch, so many times."""
        return [np.arange(len(self.images), dtype=np.int32)] * count

    def differ(self, workload: str, loss: float, grads: Params) -> float:
        """Return how far loss and gradients are from float64; Disagreement when too far."""
        worst = self._loss(workload, loss, self.loss)
        if self.precision == "float32":
            return max(worst, compare_gradients(workload, grads, self.grads, GRADIENTS))
        for name, g in self.grads.items():
            difference = float(np.linalg.norm(grads[name] - g) / np.linalg.norm(g))
            what = f"the gradients of {name}"
            worst = max(worst, require_agreement(workload, what, difference, TF32_GRADIENTS))
        return worst

    def differ_in_steps(self, workload: str, losses: list[float]) -> None:
        """Raise Disagreement when steps of Adam have other losses than float64."""
        for found, expected in zip(losses, self.losses, strict=True):
            self._loss(f"{workload}, steps of Adam", found, expected)

    def _loss(self, workload: str, found: float, expected: float) -> float:
        allowed = LOSSES if self.precision == "float32" else TF32_LOSSES
        return require_agreement(workload, "the losses", abs(found - expected) / expected, allowed)


def workloads() -> dict[str, tuple[Architecture, Precision]]:
    """Return every network in both classes of precision."""
    return {
        name if precision == "float32" else f"{name}-tf32": (network, precision)
        for name, network in NETWORKS.items()
        for precision in PARTS
    }


def rows(
    workload: str,
    architecture: Architecture,
    precision: Precision,
    device: Device,
    repeats: int,
    *,
    batch: int = BATCH,
    compiled: bool = True,
    seconds: float | None = None,
    done: Callable[[], object] = lambda: None,
) -> Iterator[Measurement]:
    """Yield the rows of a network, after all contenders were found to train as NumPy does.

    compiled: with torch.compile, which takes a minute of its own.
    """
    training = Training.of(architecture, batch, precision)
    where, work = device.properties.name, step_work(training.model, batch)
    with torch_precision(precision):
        contenders, agreement = _compared(workload, training, device, compiled)
        times = measure(contenders, repeats, where, seconds=seconds, done=done)
    each = {name: [t / STEPS for t in taken] for name, taken in times.items()}
    yield make_row(f"{workload}-cuda", where, each, agreement, work)
    if "torch" in each:
        eager = {name: each[name] for name in (OURS, "torch")}
        yield make_row(f"{workload}-cuda-eager", where, eager, agreement, work)
    if workload.removesuffix("-tf32") == OF_TABLE4:
        yield from _of_many(workload, training, device, repeats, seconds)


def _compared(
    workload: str, training: Training, device: Device, compiled: bool
) -> tuple[dict[str, Contender], float]:
    """Return the contenders, and how far the gradients of any are from float64."""
    ours, agreement = verified(workload, training, device)
    contenders: dict[str, Contender] = {OURS: partial(ours.run, training.batches(STEPS))}
    for name, peer in _peers(training, "cpu" if device.emulated else "cuda", compiled):
        loss, grads = peer.loss_and_grads()
        agreement = max(agreement, training.differ(f"{workload}, {name}", loss, grads))
        training.differ_in_steps(f"{workload}, {name}", peer.steps(COMPARED))
        contenders[name] = partial(peer.steps, STEPS)
    return contenders, agreement


def verified(workload: str, training: Training, device: Device) -> tuple[DeviceTraining, float]:
    """Return ours after COMPARED steps, and how far its gradients are from float64.

    Disagreement where they, or the losses of the steps, are too far.
    """
    stages = require_stages(training.model, str(device))
    params = {name: device.to_device(p) for name, p in training.model.params.items()}
    step = ops.training_step(stages, params, training.model.input_shape,
                             impl=f"cuda-{IMPL[training.precision]}")  # fmt: skip
    loss = step.loss(device.to_device(training.images), "mean")
    grads = {name: device.to_host(g) for name, g in step.grads().items()}
    agreement = training.differ(f"{workload}, {OURS}", loss, grads)
    ours = training.on(device)
    losses = ours.run(training.batches(COMPARED))  # which compiles the kernels, and captures
    training.differ_in_steps(f"{workload}, {OURS}", losses[:, 0].tolist())
    return ours, agreement


def _peers(training: Training, on: str, compiled: bool) -> Iterator[tuple[str, Peer]]:
    """Yield the peers that are installed, in PyTorch and JAX."""
    if peers.installed("torch"):
        from l2ae_bench.torch_network import TorchStep

        variants = ["torch"]
        if on == "cuda":
            variants += ["torch-graph"] + ["torch-compile"] * compiled
        for name in variants:
            yield name, TorchStep(training.model, name, training.images, on)
    if peers.installed("jax"):
        from l2ae_bench.cuda.jax_network import JaxStep

        yield "jax", JaxStep(training.model, training.images, training.precision)


def _of_many(
    workload: str, training: Training, device: Device, repeats: int, seconds: float | None
) -> Iterator[Measurement]:
    """Yield a step of one of MODELS networks beside that of one alone, and what Table IV takes.

    And beside the same step in micro-batches, which `images_of_piece` does not choose.
    """
    many, one = training.on(device, MODELS), training.on(device)
    pieces = training.on(device, MODELS, MICRO_BATCH)
    batches = training.batches(STEPS)
    first = training.batches(COMPARED)
    for model in (*many.run(first).T, *one.run(first).T, *pieces.run(first).T):
        training.differ_in_steps(f"{workload}, {MODELS} models", model.tolist())
    contenders: dict[str, Contender] = {
        OURS: partial(many.run, batches), "one model": partial(one.run, batches),
        "micro-batches": partial(pieces.run, batches),
    }  # fmt: skip
    where = device.properties.name
    times = measure(contenders, repeats, where, seconds=seconds)
    each = {
        OURS: [t / STEPS / MODELS for t in times[OURS]],
        "one model": [t / STEPS for t in times["one model"]],
        "micro-batches": [t / STEPS / MODELS for t in times["micro-batches"]],
    }
    work = step_work(training.model, len(training.images))
    yield make_row(f"{workload}-{MODELS}-models-cuda", where, each, None, work)
    steps = TABLE4_TRAININGS * TABLE4_STEPS
    whole = {name: [steps * t for t in taken] for name, taken in each.items()}
    yield make_row(workload.replace(OF_TABLE4, "table4") + "-cuda", where, whole, None)
