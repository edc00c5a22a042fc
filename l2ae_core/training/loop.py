"""The training loop: shuffled mini-batches, one record an epoch, checkpoints.

The loss is Eq. 3 or 4 for an AutoEncoder, or whatever a `Step` brings.
"""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from l2ae_core.layers.describe import class_name, is_ours
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.training.history import EpochRecord, History
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.session import Session
from l2ae_core.training.step import Model, NoisyStep, Step, make_step
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count

NORM_IMAGES = 1000  # images on which the norm of the latent is watched
CHUNK = 4096  # images checked at a time: they may be a memory map larger than memory


def fit(
    model: Model,
    images: Array,
    *,
    epochs: int,
    batch_size: int = 256,
    optimizer: Optimizer,
    rng: Generator,
    reduction: Reduction = "mean",
    step: Step | None = None,
    run_dir: Path | None = None,
    checkpoint_every: int = 10,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train `model` in place on `images` (N, H, W, C), up to `epochs` epochs in all.

    An AutoEncoder learns to reconstruct them, Eq. 3 with `reduction`. Any other model or loss
    brings its `step`, made with the same model, optimizer and, where it draws noise, rng.

    Every epoch visits each image once, in an order drawn from `rng`; the last batch holds what is
    left. Afterwards the model has the parameters of the last epoch; the history has those of the
    epoch with the lowest loss (`history.restore_best(model)`). The loss of an epoch is the mean
    over its batches, weighted by their size, while the parameters change.

    `images` have the dtype of the model's parameters, which is kept. `progress` shows one bar on
    stderr for the whole training: epoch, loss, images/s, time left.

    With `run_dir`, a folder made when missing, `history.jsonl` grows by a line an epoch, and
    `checkpoint.npz` is replaced every `checkpoint_every` epochs, at the end, and after the epoch
    in which the last one became a minute old: whatever ends the process, no more than a minute and
    the epoch under way are lost. `resume=True` goes on from the checkpoint there, given model,
    optimizer and rng made as for the first start, and ends with the bits of a training that never
    stopped. A run that was killed before its first checkpoint starts again. `epochs` may be larger
    than before; when that many are done already, fit returns at once. Metrics and clusters of a
    shorter training are removed before a longer one goes on. One thread of one process at a time
    may use a run directory: another gets a BlockingIOError that names the first.

    Ctrl-C (KeyboardInterrupt) is raised on, with a note that says how to resume; the history on
    disk ends with the last whole epoch.

    Raises ValueError for bad arguments, NaN or Inf in `images`, and settings or images other than
    those of the checkpoint; CheckpointError when a checkpoint cannot be used, or is there although
    `resume` is False; TrainingError, naming epoch and step, when the loss, a parameter or the
    optimizer's memory becomes NaN or Inf: the checkpoint on disk then is the last good one.
    """
    count("fit", "epochs", epochs)
    count("fit", "batch_size", batch_size)
    count("fit", "checkpoint_every", checkpoint_every)
    images = np.asarray(images)
    settings = {
        "batch_size": batch_size,
        **_loss_settings(step, model, optimizer, rng, reduction),
        "optimizer": _described(optimizer),
        "images": _checked(images, model),
        "layers": model.describe(),
    }
    session = Session(model, optimizer, rng, None if run_dir is None else Path(run_dir), settings)
    with session.opened(resume):
        done = len(session.history)
        if done >= epochs:
            return session.history
        update = make_step(_autoencoder(model), optimizer, reduction) if step is None else step
        session.begin()
        try:
            with _bar(len(images), done, epochs, progress) as bar:
                for epoch in range(done + 1, epochs + 1):
                    record = _train_epoch(session, epoch, images, batch_size, update, bar)
                    session.keep(record, save=epoch % checkpoint_every == 0 or epoch == epochs)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(session.interrupted())
            raise
        return session.history


def batches(count: int, batch_size: int, rng: Generator) -> Iterator[Array]:
    """Yield index arrays that hold each of 0 … count − 1 once, in random order.

    All have `batch_size` entries but the last, which has what is left.
    """
    order = rng.permutation(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]


def _train_epoch(
    session: Session, epoch: int, images: Array, batch_size: int, update: Step, bar: tqdm
) -> EpochRecord:
    """Train on every image once, and measure the latent norms |z| afterwards."""
    model = session.model
    started, total, step = perf_counter(), 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):  # TrainingError says it better
        for step, batch in enumerate(batches(len(images), batch_size, session.rng), start=1):
            loss = update(images[batch])
            if not isfinite(loss):
                raise session.diverged(f"the loss is {loss}", epoch, step)
            total += loss * len(batch)
            bar.set_postfix(epoch=epoch, loss=f"{loss:.5f}", refresh=False)
            bar.update(len(batch))
        seconds = perf_counter() - started
        session.check_finite(epoch, step)
        z = model.latent(images[:NORM_IMAGES])  # (n, D)
        norms = np.sqrt((z * z).sum(axis=-1))  # (n,)
    return EpochRecord(
        epoch=epoch,
        loss=total / len(images),
        seconds=seconds,
        images_per_second=len(images) / seconds,
        latent_norm_mean=float(norms.mean()),
        latent_norm_min=float(norms.min()),
    )


def _bar(count: int, done: int, epochs: int, progress: bool) -> tqdm:
    return tqdm(
        desc="training",
        total=epochs * count,
        initial=done * count,
        unit=" images",
        unit_scale=True,
        mininterval=0.5,
        disable=not progress,
    )


def _autoencoder(model: Model) -> AutoEncoder:
    if not isinstance(model, AutoEncoder):
        raise ValueError(f"fit: step is None but {model} is not an AutoEncoder: it needs its own")
    return model


def _loss_settings(
    step: Step | None, model: Model, optimizer: Optimizer, rng: Generator, reduction: Reduction
) -> dict[str, Any]:
    """Return what names the loss; ValueError when a step uses what `fit` does not save."""
    if step is None:
        _autoencoder(model)
        return {"reduction": reduction}
    noise = step.rng if isinstance(step, NoisyStep) else rng
    pairs = {
        "model": (step.model, model),
        "optimizer": (step.optimizer, optimizer),
        "rng": (noise, rng),
    }
    for name, (has, expected) in pairs.items():
        if has is not expected:
            raise ValueError(f"fit: step has another {name} than fit but expected the same object")
    if reduction != "mean":
        raise ValueError(f"fit: reduction is {reduction!r} but a step has its own loss")
    named = is_ours(step) or "settings" in vars(type(step))
    return step.settings if named else {**step.settings, "step": class_name(type(step))}


def _described(optimizer: Optimizer) -> str:
    """Its `repr`; with the name of its module where it is not of this package."""
    if is_ours(optimizer):
        return repr(optimizer)
    if type(optimizer).__repr__ is object.__repr__:
        raise ValueError(
            f"fit: optimizer {type(optimizer).__qualname__} has no __repr__ but expected one that "
            "gives its settings"
        )
    return f"{type(optimizer).__module__}.{optimizer!r}"


def _checked(images: Array, model: Model) -> dict[str, Any]:
    """Raise ValueError unless the images fit the model and are finite; return their fingerprint."""
    dtype = next(iter(model.params.values())).dtype
    if not len(images) or images.shape[1:] != model.input_shape:
        raise ValueError(
            f"fit: images is {images.shape} but the model takes (N, {str(model.input_shape)[1:]}"
        )
    if images.dtype != dtype:
        raise ValueError(f"fit: images is {images.dtype} but the model's parameters are {dtype}")
    checksum = 0
    for start in range(0, len(images), CHUNK):
        chunk = np.ascontiguousarray(images[start : start + CHUNK])
        finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
        if not finite.all():
            first = start + int(finite.argmin())
            raise ValueError(f"fit: images holds NaN or Inf, first in image {first}")
        checksum = crc32(chunk.data, checksum)
    return {"shape": list(images.shape), "dtype": dtype.name, "crc32": checksum}
