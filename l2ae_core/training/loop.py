"""The training loop: mini-batches, one record an epoch, checkpoints.

The loss is Eq. 3 or 4 for an AutoEncoder, or that of a `Step`.
"""

import logging
from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator

from l2ae_core.devices import DeviceName, training_device
from l2ae_core.images import Images, as_images
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.progress import Bar, say
from l2ae_core.training.checkpoint import checkpoint_interval
from l2ae_core.training.device_step import DeviceStep
from l2ae_core.training.fingerprint import ON, autoencoder, fingerprint
from l2ae_core.training.history import EpochRecord, History
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.session import OnEpoch, Session
from l2ae_core.training.step import Model, Step, make_step
from l2ae_core.training.validation import Validation
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.ops.checks import count

_log = logging.getLogger(__name__)
NORM_IMAGES = 1000  # images on which the norm of the latent is watched


class Epoch(NamedTuple):
    """An epoch to come: its number, from 1, and its batches, each the indices of some images."""

    number: int
    batches: list[Array]


# A training, epoch by epoch: each is given before its steps are made, and the history in the end.
Epochs: TypeAlias = Steps[Epoch, None, History]


def fit(
    model: Model,
    images: Images,
    *,
    epochs: int,
    batch_size: int = 256,
    optimizer: Optimizer,
    rng: Generator,
    reduction: Reduction = "mean",
    step: Step | None = None,
    hooks: Hooks | None = None,
    validation: Validation | None = None,
    patience: int | None = None,
    callbacks: Sequence[OnEpoch] = (),
    run_dir: Path | None = None,
    checkpoint_every: int | str = 10,
    resume: bool = False,
    progress: bool = True,
    device: Device | DeviceName | None = None,
    micro_batch: int | None = None,
) -> History:
    """Train `model` in place on `images` (N, H, W, C), up to `epochs` epochs in all.

    An AutoEncoder learns to reconstruct them, Eq. 3 with `reduction`. Any other model or loss
    needs a `step`, made with the same model, optimizer and, where it draws noise, rng. What a
    training does besides its steps is in `hooks`.

    With a `validation` no step is made on its images; their loss after every epoch is recorded as
    `validation_loss`, and chooses the best epoch. `patience` ends a training when that many epochs
    in a row did not improve on the best one. Each of `callbacks` is called as
    on_epoch(record, model) after every epoch; the training ends after one that any of them answers
    True.

    Every epoch visits each image once, in an order drawn from `rng`; the last batch holds what is
    left; hooks may return other batches. Afterwards the model has the parameters of the last epoch;
    the history has those of the epoch with the lowest loss (`history.restore_best(model)`). The
    loss of an epoch is the mean over its batches, weighted by their size, while the parameters
    change.

    `images` have the dtype of the model's parameters, which is kept. `progress` shows one bar on
    stderr for the whole training: epoch, loss, images/s, time left.

    With `run_dir`, a folder made when missing, `history.jsonl` grows by a line an epoch, and
    `checkpoint.npz` is replaced every `checkpoint_every` epochs, at the end, and after the epoch in
    which the last one became a minute old: whatever ends the process, no more than a minute and the
    epoch under way are lost. `checkpoint_every="5min"` is five minutes in the place of both, for a
    large checkpoint or short epochs. `resume=True` goes on from the checkpoint there, given model,
    optimizer and rng made as for the first start, and ends with the bits of a training that never
    stopped. A run that was killed before its first checkpoint starts again. `epochs` may be larger
    than before; when that many are done already, or patience, a callback or the hooks ended the
    training, fit returns at once; with a larger patience, or without callbacks, it goes on. Metrics
    and clusters of a shorter training are removed before a longer one goes on. One thread of one
    process at a time may use a run directory: another gets a BlockingIOError that names the first.

    `device`: where the steps are made, None or "cpu" for the processor. To "cuda", a GPU, the
    images go once; weights at the start, batches and their order are those of the processor, so
    that losses differ by rounding alone, and two runs on one device have equal bits. It trains an
    AutoEncoder of the layers of `training.lower` by Adam, without a `step`. A training may go on on
    another device, which a warning says: its bits are then not those of an uninterrupted one.
    `micro_batch` is for a device: gradients are summed over pieces of so many images, so that their
    arrays stay in a cache; by default by a rule of the network's shapes. Each has its own bits.

    Ctrl-C (KeyboardInterrupt) is raised on, with a note that says how to resume; the history on
    disk ends with the last whole epoch. On a device, the model then has the parameters of that
    epoch, and the optimizer the memory of the last checkpoint.

    Raises ValueError for bad arguments, NaN or Inf in `images`, and settings or images other than
    those of the checkpoint; CheckpointError when a checkpoint cannot be used, or is there although
    `resume` is False; TrainingError, naming epoch and step, when the loss, a parameter or the
    optimizer's memory becomes NaN or Inf: the checkpoint on disk then is the last good one.
    """
    training = epochs_of(
        model, images, epochs=epochs, batch_size=batch_size, optimizer=optimizer, rng=rng,
        reduction=reduction, step=step, hooks=hooks, validation=validation, patience=patience,
        callbacks=callbacks, run_dir=run_dir, checkpoint_every=checkpoint_every, resume=resume,
        progress=progress, device=device, micro_batch=micro_batch,
    )  # fmt: skip
    while True:
        try:
            next(training)
        except StopIteration as end:
            history: History = end.value
            return history


def epochs_of(
    model: Model,
    images: Images,
    *,
    epochs: int,
    batch_size: int = 256,
    optimizer: Optimizer,
    rng: Generator,
    reduction: Reduction = "mean",
    step: Step | None = None,
    hooks: Hooks | None = None,
    validation: Validation | None = None,
    patience: int | None = None,
    callbacks: Sequence[OnEpoch] = (),
    run_dir: Path | None = None,
    checkpoint_every: int | str = 10,
    resume: bool = False,
    progress: bool = True,
    device: Device | DeviceName | None = None,
    micro_batch: int | None = None,
) -> Epochs:
    """Return `fit` as a generator: yield each epoch before its steps, and return the history."""
    chosen = training_device(device)
    count("fit", "epochs", epochs)
    count("fit", "batch_size", batch_size)
    every, minutes = checkpoint_interval(checkpoint_every)
    images, hooks = as_images(images), Hooks() if hooks is None else hooks
    if patience is not None:
        count("fit", "patience", patience)
    for i, ask in enumerate(callbacks):
        if not callable(ask):
            raise ValueError(f"fit: callbacks[{i}] is {ask!r} but expected a function")
    if micro_batch is not None and (chosen is None or step is not None):
        raise ValueError(
            f"fit: micro_batch is {micro_batch} but it is for a device that makes the steps itself"
        )
    settings = fingerprint(
        model, images, batch_size, optimizer, rng, reduction, step, hooks, validation, progress
    )
    if chosen is None and isinstance(step, DeviceStep):
        chosen = step.device
    if chosen is not None:
        where = step.device if isinstance(step, DeviceStep) else "the processor"
        if step is not None and where is not chosen:
            raise ValueError(
                f"fit: device is {chosen} but step {type(step).__qualname__} runs on {where}"
            )
        settings[ON] = chosen.properties.name
        if step is None:
            step = DeviceStep(
                autoencoder(model), optimizer, reduction, device=chosen, micro_batch=micro_batch
            )
    run_dir = None if run_dir is None else Path(run_dir)
    session = Session(
        model, optimizer, rng, hooks, run_dir, settings, patience, callbacks, 60.0 * minutes
    )
    with session.opened(resume):
        if len(session.history) >= epochs or session.ended:
            return session.history
        update = make_step(autoencoder(model), optimizer, reduction) if step is None else step
        _log.debug("%s by %s on %d images", model, type(update).__name__, len(images))
        if isinstance(update, DeviceStep):
            session.memory = update.bring_memory
        session.begin()
        try:
            yield from _train(
                session, images, epochs, batch_size, every, update, progress,
                None if validation is None else _Watch(validation, autoencoder(model), reduction),
            )  # fmt: skip
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(session.interrupted())
            raise
        return session.history


def _train(
    session: Session,
    images: Images,
    epochs: int,
    batch_size: int,
    checkpoint_every: int | None,
    update: Step,
    progress: bool,
    watch: "_Watch | None",
) -> Iterator[Epoch]:
    """Train epoch by epoch, up to `epochs` or the one that ends the training before."""
    hooks, done = session.hooks, len(session.history)
    trained = None if watch is None else watch.validation.trained(len(images))
    count = len(images) if trained is None else len(trained)
    hooks.start(images, resumed=done > 0)
    with _bar(progress) as bar:
        for epoch in range(done + 1, epochs + 1):
            batches = hooks.batches(epoch, count, batch_size, session.rng)
            if trained is not None:
                batches = [trained[batch] for batch in batches]
            size = sum(map(len, batches))
            bar.total, bar.n = epochs * size, (epoch - 1) * size
            if epoch == done + 1:
                bar.initial = bar.n
            yield Epoch(epoch, batches)
            record = _train_epoch(session, epoch, images, batches, update, bar, watch)
            say(f"{hooks.unit} {_line(record, epochs)}", _log, shown=progress)
            due = checkpoint_every is not None and epoch % checkpoint_every == 0
            if session.keep(record, last=epoch == epochs, save=due):
                return


def _train_epoch(
    session: Session,
    epoch: int,
    images: Images,
    batches: list[Array],
    update: Step,
    bar: Bar,
    watch: "_Watch | None",
) -> EpochRecord:
    """Train on every batch once, and measure the latent norms |z| afterwards."""
    hooks = session.hooks
    started, total, seen = perf_counter(), 0.0, 0
    last = session.history.records[-1].validation_loss if len(session.history) else None
    before = {} if last is None else {"validation": f"{last:.5f}"}
    with np.errstate(over="ignore", invalid="ignore"):  # TrainingError says it better
        losses = update.losses(images, batches, hooks)
        for step, (batch, loss) in enumerate(zip(batches, losses, strict=True), start=1):
            if not isfinite(loss):
                raise session.diverged(f"the loss is {loss}", epoch, step)
            total, seen = total + loss * len(batch), seen + len(batch)
            bar.set_postfix(epoch=epoch, loss=f"{loss:.5f}", **before, refresh=False)
            bar.update(len(batch))
        session.check_finite(epoch, len(batches))
        extra = hooks.after_epoch(images)
        validation_loss = None if watch is None else watch.loss()
        if validation_loss is not None and not isfinite(validation_loss):
            raise session.diverged(f"the validation loss is {validation_loss}", epoch, step)
        seconds = perf_counter() - started + update.seconds_before
        z = update.latent(images[:NORM_IMAGES])  # (n, D)
        norms = np.sqrt((z * z).sum(axis=-1))  # (n,)
    return EpochRecord(
        epoch=epoch,
        loss=total / seen,
        seconds=seconds,
        images_per_second=seen / seconds,
        latent_norm_mean=float(norms.mean()),
        latent_norm_min=float(norms.min()),
        validation_loss=validation_loss,
        device=session.settings.get(ON),
        extra=extra,
    )


class _Watch(NamedTuple):
    """The loss of the validation images by the network as it is."""

    validation: Validation
    model: AutoEncoder
    reduction: Reduction

    def loss(self) -> float:
        return self.validation.loss(self.model, self.reduction)


def _line(record: EpochRecord, epochs: int) -> str:
    watched = record.validation_loss
    validation = "" if watched is None else f", of validation images {watched:.5f}"
    return (
        f"{record.epoch} of {epochs}: loss {record.loss:.5f}{validation}, "
        f"{record.images_per_second:.0f} images/s"
    )


def _bar(progress: bool) -> Bar:
    return Bar(
        desc="training", unit=" images", unit_scale=True, mininterval=0.5, disable=not progress
    )
