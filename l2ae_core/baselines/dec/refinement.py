"""DEC, IDEC and DCEC: the training of an auto-encoder continues with a loss on its clusters.

    start     centers μ by k-means on the codes u of all images
    update    every `update_interval` iterations: q of all images, labels = argmax_j q_ij, p of q;
              end when fewer than `tol` of the labels changed
    iterate   one batch: loss = mse + gamma · KL(P‖Q), or KL alone; network and centers move

It is a step (step.py) with hooks in the one training loop, whose epochs are the iterations between
two updates of the target p. Batches are taken in the order of the images, as in the authors' code,
never shuffled: the last of a pass holds what is left. Nothing is random after k-means.

Sources: DEC, Xie et al. 2016; IDEC, Guo, Gao, Liu, Yin, IJCAI 2017; DCEC, Guo, Liu, Zhu, Yin,
ICONIP 2017. Of the reference code we leave out Keras's clipping of p and q to [1e-7, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.random import Generator

from l2ae_core.baselines.dec.settings import DecSettings
from l2ae_core.images import Images, as_images
from l2ae_core.layers import Conv2d, Layer, Sequential
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.refinement.assignment import StudentAssignment
from l2ae_core.refinement.hooks import TargetHooks, first_centers
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import History
from l2ae_kernels.arrays import Array

Stopped: TypeAlias = Literal["tol", "max_iter"]

OF_THE_STEP = ("optimizer", "learning_rate", "momentum", "batch_size")  # settings, named by `fit`
OLD_FILE = "refinement.npz"


@dataclass(frozen=True)
class UpdateRecord:
    """One update of the target p; the first, at iteration 0, describes the start."""

    iteration: int  # updates of the parameters before it
    label_change: float  # share of all labels that changed since the update before
    kl: float  # KL(P‖Q) a sample, over all the data, of the new p
    reconstruction: float | None  # mse, mean over the batches since the update before


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement found; the network it trained is the model that it was given."""

    labels: Array  # (N,) int32, argmax_j q_ij at the end
    centers: Array  # (K, D)
    history: list[UpdateRecord]
    stopped: Stopped  # "tol": hardly a label changed; "max_iter"
    start_labels: Array  # (N,) int32, those of the first centers
    alpha: float
    seconds: float  # k-means and iterations, of all sessions

    @property
    def iterations(self) -> int:
        """Updates of the parameters."""
        return self.history[-1].iteration

    def soft_labels(self, u: Array) -> Array:
        """Return q (N, K) of codes u (N, D)."""
        q: Array = np.exp(StudentAssignment(self.centers, self.alpha).log_q(u))
        return q


@dataclass(eq=False)
class Refinement(TargetHooks):
    """The hooks of a refinement by DEC, IDEC or DCEC."""

    chosen: DecSettings

    @property
    def settings(self) -> dict[str, Any]:
        chosen = {k: v for k, v in self.chosen.to_dict().items() if k not in OF_THE_STEP}
        return {**chosen, "start": self.origin}

    def batches(self, epoch: int, count: int, batch_size: int, rng: Generator) -> list[Array]:
        interval, end = self.chosen.update_interval, self.chosen.max_iter
        in_order = np.split(np.arange(count), range(batch_size, count, batch_size))
        iterations = range((epoch - 1) * interval, min(epoch * interval, end))
        return [in_order[i % len(in_order)] for i in iterations]

    def result(self, history: History) -> Refined:
        """Return what was found, after the training with this history."""
        start = UpdateRecord(0, 0.0, float(self.begin[0]), None)
        interval, end = self.chosen.update_interval, self.chosen.max_iter
        updates = [UpdateRecord(min(r.epoch * interval, end), **r.extra) for r in history]
        return Refined(
            self.labels, self.step.loss.assignment.centers, [start, *updates],
            "tol" if self.is_last(history.records[-1]) else "max_iter", self.start_labels,
            self.chosen.alpha, float(self.begin[1]) + sum(r.seconds for r in history),
        )  # fmt: skip


def refine(
    model: AutoEncoder,
    images: Images,
    start: Array | Generator,
    settings: DecSettings,
    *,
    run_dir: Path | None = None,
    checkpoint_every: int | str = 10,
    resume: bool = False,
    progress: bool = True,
) -> Refined:
    """Train `model` in place on `images` (N, H, W, C) by DEC, IDEC or DCEC, and cluster them.

    `start` is a generator for k-means on the codes (`settings.n_init` restarts), or the first
    centers (K, D). The codes are u = E_c(I): z itself in the networks of these methods, which have
    no normalization, and of unit length where the constraint of Eq. 4 stays. `images` have the
    dtype of the model's parameters.

    Run directory, checkpoints, resume, Ctrl-C and errors are those of `training.loop.fit`; an epoch
    is what lies between two updates of the target. A refinement that was at its end returns at
    once when it is resumed. Raises ValueError for a network of another method and centers that do
    not fit, CheckpointError where `run_dir` holds a refinement in another format.
    """
    images, run_dir = as_images(images), None if run_dir is None else Path(run_dir)
    _check_method(model, settings)
    if run_dir is not None and (run_dir / OLD_FILE).exists():
        raise CheckpointError(
            f"{run_dir / OLD_FILE}: in a format that cannot be resumed: remove it to "
            "start again, or choose another folder"
        )
    centers = first_centers(model, start, settings.n_clusters)
    optimizer, center_optimizer = settings.make_optimizer(), settings.make_optimizer()
    gamma = None if settings.method == "dec" else settings.gamma
    assignment = StudentAssignment(centers, settings.alpha)
    step = JointStep.make(model, assignment, optimizer, center_optimizer, gamma)
    hooks = Refinement.of(step, images, start, settings, progress=progress)
    history = hooks.fit(
        images, -(-settings.max_iter // settings.update_interval),
        rng=np.random.default_rng(0) if hooks.rng is None else hooks.rng, run_dir=run_dir,
        checkpoint_every=checkpoint_every, resume=resume,
    )  # fmt: skip
    return hooks.result(history)


def _check_method(model: AutoEncoder, settings: DecSettings) -> None:
    """Raise ValueError for a network of another method than the settings name."""
    convolutional = _has_convolution(model.encoder)
    if settings.method != "dec" and convolutional != (settings.method == "dcec"):
        raise ValueError(
            f"refine: settings.method is {settings.method!r} but the encoder has "
            f"{'' if convolutional else 'no '}convolutions: expected "
            f"{'dcec' if convolutional else 'idec'!r}"
        )


def _has_convolution(layer: Layer) -> bool:
    if isinstance(layer, Sequential):
        return any(map(_has_convolution, layer.layers))
    return isinstance(layer, Conv2d)
