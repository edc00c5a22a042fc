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

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, TypeAlias
from zlib import crc32

import numpy as np
from numpy.random import Generator

from l2ae_core.array_readers import array_group
from l2ae_core.baselines.dec.assignment import StudentAssignment, kl_divergence, target_distribution
from l2ae_core.baselines.dec.settings import DecSettings
from l2ae_core.baselines.dec.step import JointStep
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.layers import Conv2d, Layer, Sequential
from l2ae_core.layers.base import Params
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import EpochRecord, History, check_memory, copy_into
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import fit
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
class Refinement(Hooks):
    """The hooks of a refinement: the target, the labels, and the end, when hardly one changes."""

    step: JointStep
    chosen: DecSettings
    rng: Generator | None  # of k-means; None where the first centers are given
    origin: str | int  # of the first centers: "k-means", or their checksum
    labels: Array  # (N,) int32
    start_labels: Array  # (N,) int32
    progress: bool
    begin: Array = field(default_factory=lambda: np.zeros(2))  # KL of the first centers, seconds
    p: Array = field(default_factory=lambda: np.zeros((0, 0)), init=False)  # (N, K), the target

    @property
    def settings(self) -> dict[str, Any]:
        chosen = {k: v for k, v in self.chosen.to_dict().items() if k not in OF_THE_STEP}
        return {**chosen, "start": self.origin}

    def start(self, images: Array, resumed: bool) -> None:
        if resumed:
            self.update_target(images)
            return
        begun, s = perf_counter(), self.chosen
        if self.rng is not None:
            u = self.step.model.encode(images)  # (N, D)
            found = kmeans(u, s.n_clusters, n_init=s.n_init, rng=self.rng, progress=self.progress)
            self.step.loss.assignment.centers[...] = found.centers
        self.begin[:] = self.update_target(images), perf_counter() - begun
        self.start_labels[...] = self.labels

    def batches(self, epoch: int, count: int, batch_size: int, rng: Generator) -> list[Array]:
        interval, end = self.chosen.update_interval, self.chosen.max_iter
        in_order = np.split(np.arange(count), range(batch_size, count, batch_size))
        iterations = range((epoch - 1) * interval, min(epoch * interval, end))
        return [in_order[i % len(in_order)] for i in iterations]

    def before_step(self, batch: Array, x: Array) -> Array:
        self.step.loss.set_target(self.p[batch])
        return x

    def after_epoch(self, images: Array) -> dict[str, Any]:
        before = self.labels.copy()
        kl = self.update_target(images)
        return {
            "label_change": float((self.labels != before).mean()),
            "kl": kl,
            "reconstruction": self.step.take_reconstruction(),
        }

    def is_last(self, record: EpochRecord) -> bool:
        return bool(record.extra["label_change"] < self.chosen.tol)

    def update_target(self, images: Array) -> float:
        """Set labels and target by the codes of all images as they are; return KL(P‖Q)."""
        log_q = self.step.loss.assignment.log_q(self.step.model.encode(images))  # (N, K)
        self.p = target_distribution(np.exp(log_q))
        self.labels[...] = log_q.argmax(axis=1)
        return kl_divergence(log_q, self.p)[0]

    def state_dict(self) -> Params:
        memory = self.step.center_optimizer.state_dict()
        return self._arrays() | {f"center_optimizer.{name}": a for name, a in memory.items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        memory = array_group(state, "center_optimizer.")
        check_memory(memory, self.step.loss.assignment.params)
        own = {k: a for k, a in state.items() if not k.startswith("center_optimizer.")}
        copy_into(self._arrays(), own, "hooks")
        self.step.center_optimizer.load_state_dict(memory)

    def _arrays(self) -> Params:
        """What a checkpoint holds of this, live."""
        return {
            "centers": self.step.loss.assignment.centers,
            "labels": self.labels,
            "start_labels": self.start_labels,
            "begin": self.begin,
        }

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
    images: Array,
    start: Array | Generator,
    settings: DecSettings,
    *,
    run_dir: Path | None = None,
    checkpoint_every: int = 10,
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
    images, run_dir = np.asarray(images), None if run_dir is None else Path(run_dir)
    _check_method(model, settings)
    if run_dir is not None and (run_dir / OLD_FILE).exists():
        raise CheckpointError(
            f"{run_dir / OLD_FILE}: in a format that cannot be resumed: remove it to "
            "start again, or choose another folder"
        )
    centers = _first_centers(model, start, settings)
    optimizer, center_optimizer = settings.make_optimizer(), settings.make_optimizer()
    gamma = None if settings.method == "dec" else settings.gamma
    assignment = StudentAssignment(centers, settings.alpha)
    step = JointStep.make(model, assignment, optimizer, center_optimizer, gamma)
    rng = start if isinstance(start, Generator) else None
    origin = crc32(centers.tobytes()) if rng is None else "k-means"
    labels = np.zeros((2, len(images)), np.int32)
    hooks = Refinement(step, settings, rng, origin, labels[0], labels[1], progress)
    history = fit(
        model, images, epochs=-(-settings.max_iter // settings.update_interval),
        batch_size=settings.batch_size, optimizer=optimizer, step=step, hooks=hooks,
        rng=np.random.default_rng(0) if rng is None else rng, run_dir=run_dir,
        checkpoint_every=checkpoint_every, resume=resume, progress=progress,
    )  # fmt: skip
    return hooks.result(history)


def _first_centers(model: AutoEncoder, start: Array | Generator, settings: DecSettings) -> Array:
    """Return the given centers as the network's type; zeros where k-means will find them."""
    shape = settings.n_clusters, model.latent_dim
    dtype = next(iter(model.params.values())).dtype
    if isinstance(start, Generator):
        return np.zeros(shape, dtype)
    centers = np.array(start, dtype, order="C")
    if centers.shape != shape or not np.isfinite(centers).all():
        raise ValueError(f"refine: start is {centers.shape} but expected finite {shape}")
    return centers


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
