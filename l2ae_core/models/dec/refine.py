"""DEC, IDEC and DCEC: a trained auto-encoder goes on, pulled towards cluster centers.

    start     centers μ by k-means on the codes u of all images
    renew     every `update_interval` iterations: q of all images, labels = argmax_j q_ij, p of q;
              end when fewer than `tol` of the labels changed
    iterate   one batch: loss = mse + gamma · KL(P‖Q), or KL alone; network and centers move

Batches are taken in the order of the images, as in the authors' code, never shuffled: the last of
a pass holds what is left. Nothing is random after k-means.

Sources: DEC, Xie et al. 2016; IDEC, Guo, Gao, Liu, Yin, IJCAI 2017; DCEC, Guo, Liu, Zhu, Yin,
ICONIP 2017. Of the reference code we leave out Keras's clipping of p and q to [1e-7, 1].
"""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.files import REFINEMENT
from l2ae_core.layers import Conv2d
from l2ae_core.models.autoencoder import AutoEncoder
from l2ae_core.models.dec.assignment import StudentAssignment, kl_divergence, target_distribution
from l2ae_core.models.dec.settings import DecSettings
from l2ae_core.models.dec.state import State, Stopped, UpdateRecord, prepare
from l2ae_core.models.dec.step import JointStep
from l2ae_core.training.history import TrainingError
from l2ae_kernels.arrays import Array

CHUNK = 4096  # images checked at a time: they may be a memory map larger than memory


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement found; the network it trained is the model that it was given."""

    labels: Array  # (N,) int32, argmax_j q_ij at the end
    centers: Array  # (K, D)
    history: list[UpdateRecord]
    stopped: Stopped  # "tol": hardly a label changed; "max_iter"
    start_labels: Array  # (N,) int32, those of the first centers
    alpha: float

    @property
    def iterations(self) -> int:
        """Updates of the parameters."""
        return self.history[-1].iteration

    def soft_labels(self, u: Array) -> Array:
        """Return q (N, K) of codes u (N, D)."""
        q: Array = np.exp(StudentAssignment(self.centers, self.alpha).log_q(u))
        return q


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
    no normalization. `images` have the dtype of the model's parameters.

    With `run_dir`, a folder made when missing, `refinement.npz` is replaced every
    `checkpoint_every` renewals of the target and at the end. `resume=True` goes on from there,
    given model, images and start as before, and ends with the bits of a refinement that never
    stopped; one that was at its end returns at once. Ctrl-C (KeyboardInterrupt) is raised on, with
    a note that says how to resume.

    Raises ValueError for bad arguments and for settings or images other than those of the file;
    CheckpointError when the file cannot be used, or is there although `resume` is False;
    TrainingError when a loss or an array becomes NaN or Inf.
    """
    images, run_dir = np.asarray(images), None if run_dir is None else Path(run_dir)
    if checkpoint_every < 1:
        raise ValueError(f"refine: checkpoint_every is {checkpoint_every} but expected at least 1")
    _check_method(model, settings)
    fixed = {
        **settings.to_dict(),
        "images": _checked(images, model),
        "layers": [str(p) for p in (*model.encoder.layers, model.normalize, *model.decoder.layers)],
        "start": "k-means"
        if isinstance(start, Generator)
        else crc32(np.ascontiguousarray(start).data),
    }
    found = prepare(run_dir, resume)
    state = _blank(model, images, start, settings, found, progress)
    if found and run_dir is not None:
        state.load(run_dir, fixed)
    if not state.stopped:
        _run(state, images, settings, run_dir, checkpoint_every, fixed, progress)
    return Refined(
        state.labels, state.assignment.centers, state.history, state.stopped, state.start_labels,
        settings.alpha,
    )  # fmt: skip


def _blank(
    model: AutoEncoder,
    images: Array,
    start: Array | Generator,
    settings: DecSettings,
    resumed: bool,
    progress: bool,
) -> State:
    """The state before the first iteration; where a file is about to be read, with any centers."""
    shape = settings.n_clusters, model.latent_dim
    dtype = next(iter(model.params.values())).dtype
    if not isinstance(start, Generator):
        centers = np.array(start, dtype, order="C")
        if centers.shape != shape or not np.isfinite(centers).all():
            raise ValueError(f"refine: start is {centers.shape} but expected finite {shape}")
    elif resumed:
        centers = np.zeros(shape, dtype)
    else:
        u = model.encode(images)  # (N, D)
        clusters = kmeans(
            u, settings.n_clusters, n_init=settings.n_init, rng=start, progress=progress
        )
        centers = clusters.centers
    none = np.empty(0, np.int32)
    optimizer, center_optimizer = settings.make_optimizer(), settings.make_optimizer()
    assignment = StudentAssignment(centers, settings.alpha)
    return State(model, assignment, optimizer, center_optimizer, none, none)


def _run(
    state: State,
    images: Array,
    settings: DecSettings,
    run_dir: Path | None,
    checkpoint_every: int,
    fixed: dict[str, Any],
    progress: bool,
) -> None:
    """Iterate until the labels hardly change, or `max_iter` is reached."""
    gamma = None if settings.method == "dec" else settings.gamma
    step = JointStep.make(
        state.model, state.assignment, state.optimizer, state.center_optimizer, gamma
    )

    def renew(iteration: int, reconstruction: float | None) -> Array:
        p = _renew(state, images, settings, iteration, reconstruction)
        due = state.stopped or (len(state.history) - 1) % checkpoint_every == 0
        if run_dir is not None and due:
            state.save(run_dir, fixed)
        bar.set_postfix(changed=f"{state.history[-1].label_change:.2%}", refresh=False)
        return p

    try:
        with _bar(state, settings, progress) as bar, np.errstate(over="ignore", invalid="ignore"):
            p = _target(state, images)[0] if state.history else renew(0, None)
            while not state.stopped:
                end = min(state.iteration + settings.update_interval, settings.max_iter)
                mse = _iterate(step, range(state.iteration, end), images, p, settings, bar)
                p = renew(end, None if gamma is None else mse)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(_interrupted(state, run_dir))
        raise


def _iterate(
    step: JointStep,
    iterations: range,
    images: Array,
    p: Array,
    settings: DecSettings,
    bar: tqdm,
) -> float:
    """Do one batch an iteration; return the mean mse over the batches, weighted by their size."""
    size = settings.batch_size
    batches = -(-len(images) // size)  # of a pass over the images
    total, samples = 0.0, 0
    for iteration in iterations:
        at = iteration % batches * size
        x = images[at : at + size]
        losses = step(x, p[at : at + size])
        if not all(map(isfinite, losses)):
            raise TrainingError(
                f"refine: the losses are {losses} at iteration {iteration}, with "
                f"{step.optimizer}: a smaller learning rate may help"
            )
        total, samples = total + losses.reconstruction * len(x), samples + len(x)
        bar.update()
    return total / samples


def _target(state: State, images: Array) -> tuple[Array, Array]:
    """Return the target p (N, K) of all images as they are encoded now, and log q (N, K)."""
    log_q = state.assignment.log_q(state.model.encode(images))
    return target_distribution(np.exp(log_q)), log_q


def _renew(
    state: State,
    images: Array,
    settings: DecSettings,
    iteration: int,
    reconstruction: float | None,
) -> Array:
    """Return the target p (N, K) for the next iterations; record labels and losses, or the end."""
    state.check_finite()
    p, log_q = _target(state, images)
    labels = log_q.argmax(axis=1).astype(np.int32)
    if not state.history:
        state.start_labels = state.labels = labels
    change = float((labels != state.labels).mean())
    kl, _ = kl_divergence(log_q, p)
    state.labels = labels
    state.history.append(UpdateRecord(iteration, change, kl, reconstruction))
    if iteration > 0 and change < settings.tol:
        state.stopped = "tol"
    elif iteration == settings.max_iter:
        state.stopped = "max_iter"
    return p


def _interrupted(state: State, run_dir: Path | None) -> str:
    done = f"stopped after the renewal at iteration {state.iteration}"
    if run_dir is None:
        return f"{done}; nothing is on disk, since the refinement has no run directory"
    file = run_dir / REFINEMENT
    kept = f"{file}" if file.is_file() else "the start, no file was written yet"
    return f"{done}; resume=True goes on from {kept}"


def _bar(state: State, settings: DecSettings, progress: bool) -> tqdm:
    return tqdm(
        desc=settings.method,
        total=settings.max_iter,
        initial=state.iteration,
        unit=" iterations",
        mininterval=0.5,
        disable=not progress,
    )


def _check_method(model: AutoEncoder, settings: DecSettings) -> None:
    """A row of a table shall not carry the name of another method."""
    convolutional = any(isinstance(layer, Conv2d) for layer in model.encoder.layers)
    if settings.method != "dec" and convolutional != (settings.method == "dcec"):
        raise ValueError(
            f"refine: settings.method is {settings.method!r} but the encoder has "
            f"{'' if convolutional else 'no '}convolutions: expected "
            f"{'dcec' if convolutional else 'idec'!r}"
        )


def _checked(images: Array, model: AutoEncoder) -> dict[str, Any]:
    """Raise ValueError unless the images fit the model and are finite; return their fingerprint."""
    dtype = next(iter(model.params.values())).dtype
    if not len(images) or images.shape[1:] != model.input_shape or images.dtype != dtype:
        raise ValueError(
            f"refine: images is {images.shape} {images.dtype} but the model takes "
            f"(N, {str(model.input_shape)[1:]} {dtype}"
        )
    checksum = 0
    for first in range(0, len(images), CHUNK):
        chunk = np.ascontiguousarray(images[first : first + CHUNK])
        if not np.isfinite(chunk).all():
            raise ValueError(f"refine: images {first} to {first + len(chunk) - 1} hold NaN or Inf")
        checksum = crc32(chunk.data, checksum)
    return {"shape": list(images.shape), "dtype": dtype.name, "crc32": checksum}
