"""`l2ae fit` as a function: train, cluster the codes, go on with their labels, write the run."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2ae_core import method
from l2ae_core.anomaly import cosine_normality
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.clusters import SavedClusters
from l2ae_core.commands.begin import begun
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName, training_device
from l2ae_core.files import CHECKPOINT, SELF_LABELLING
from l2ae_core.gallery import Gallery, make_gallery
from l2ae_core.networks import AutoEncoder
from l2ae_core.refinement import SelfLabelled, SelfLabelling, self_label
from l2ae_core.seeding import rngs
from l2ae_core.settings import (
    TRAIN_ARGUMENTS,
    make_self_labelling,
    make_warp,
)
from l2ae_core.tables import counted
from l2ae_core.training.history import History, TrainingError, copies, copy_into
from l2ae_core.training.run import (
    write_metrics,
)
from l2ae_core.training.session import OnEpoch
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `fit` trained or found trained; all of it belongs together."""

    model: AutoEncoder  # with the weights of the epoch with the lowest loss, or self-labelled
    history: History
    dataset: Dataset  # what it was trained on
    codes: Array  # (N, D), u of these images by these weights
    best: Clustering  # of these codes
    last: Clustering  # by the weights of the last epoch; the same object where that is the best
    self_labelled: SelfLabelled | None  # then `model` and `codes` are those after it
    clusters: Clustering  # those of clusters.npz
    errors: Array  # (N,) float64, Σ (Î − I)² of each image, by the weights of these clusters
    metrics: dict[str, Any]  # the content of metrics.json


NOT_KEPT = np.empty((0, 0), np.float32)  # in the place of codes


class _Clustered(NamedTuple):
    """What the network makes of the training images."""

    u: Array  # (N, D)
    clustering: Clustering
    scores: dict[str, Any]


class _Judged(NamedTuple):
    """What is saved of clusters, and the errors of the images, in their order."""

    saved: SavedClusters
    pictures: Gallery | None
    errors: Array  # (N,) float64


def fit(
    out: Path,
    given: dict[str, Any],
    *,
    dataset: Dataset | None = None,
    data_dir: str | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
    checkpoint_every: int | str = 10,
    callbacks: Sequence[OnEpoch] = (),
    progress: bool = True,
    gallery: bool = True,
    device: Device | DeviceName | None = None,
) -> TrainedRun:
    """Train, cluster the codes of the training images, write the run directory `out`.

    `given` overrides DEFAULTS; with `resume` it may only repeat what the run in `out` was started
    with, but for a larger number of epochs, another `patience`, and for `clusters`, `n_init` and
    `weights`, on which no weight of the network depends. A run that is finished is not trained
    again, but clustered; with `self_label` it goes on with its own labels, after which none of
    these may change. The images may have moved: they may stand elsewhere if they are equal. Who has
    them already, as `training_data` returns them for these settings, passes them as `dataset`.
    With `skip_unreadable` image files that cannot be read are left out, as they are wherever the
    run goes on or is used, by the digest of its images.
    `callbacks` and `device` are those of `training.loop.fit`; a device trains, and the processor
    clusters. Without `gallery` no images are kept for `l2ae report`. Whatever cannot work is
    refused before the first step.
    Raises ValueError, CheckpointError or TrainingError, BlockingIOError when another process
    trains in `out`.
    """
    chosen = training_device(device)
    with ExitStack() as stack:  # `out` is locked to the end: its files belong together
        settings, architecture, dataset = begun(
            stack, out, given, dataset, data_dir, resume, skip_unreadable, checkpoint_every,
            progress, chosen,
        )  # fmt: skip
        model, history = method.train(
            dataset.images,
            architecture,
            **{name: settings[name] for name in TRAIN_ARGUMENTS},
            weights="last",
            warp=make_warp(settings),
            callbacks=callbacks,
            run_dir=out,
            checkpoint_every=checkpoint_every,
            resume=resume,
            progress=progress,
            device=chosen,
        )
        try:
            return _finish(
                out, model, dataset, history, settings, checkpoint_every, progress, gallery
            )
        except KeyboardInterrupt as interrupt:  # `out` is what can be resumed, no folder in it
            interrupt.__notes__ = [
                f"stopped after {counted(len(history), 'epoch')}; "
                f"l2ae fit --resume --out {out} goes on"
            ]
            raise


def _finish(
    out: Path, model: AutoEncoder, dataset: Dataset, history: History, settings: dict[str, Any],
    checkpoint_every: int | str, progress: bool, gallery: bool,
) -> TrainedRun:  # fmt: skip
    """Cluster the codes of the last and of the best weights, go on with their labels where asked.

    Clusters, gallery and metrics are written when all of it is there. Of the codes of two networks
    no more are in memory than are asked for.
    """
    chosen, kept = make_self_labelling(settings), settings["weights"]

    def judged(clustered: _Clustered) -> _Judged:  # by the weights that the model has then
        return _judge(model, dataset, clustered, settings["seed"], progress, gallery)

    last = best = _cluster(model, dataset, settings, progress)
    is_best = history.best.epoch == len(history)
    found = judged(last) if chosen is None and (is_best or kept == "last") else None
    back = (copies(model.params), copies(model.state)) if chosen and kept == "last" else None
    if not is_best:
        last = last._replace(u=NOT_KEPT)
        history.restore_best(model)
        best = _cluster(model, dataset, settings, progress)
    metrics: dict[str, Any] = {
        "epochs": len(history),
        "seconds": sum(record.seconds for record in history),
        "images": len(dataset),
        **losses(history),
        "last": last.scores,
        "best": best.scores,
    }
    end, refined = {"last": last, "best": best}[kept], None
    if chosen is not None:
        last, best = last._replace(u=NOT_KEPT), best._replace(u=NOT_KEPT)
        if back is not None:  # to the last weights, which those of the best epoch replaced
            copy_into(model.params, back[0], "last parameters")
            copy_into(model.state, back[1], "last state")
        refined = _self_label(
            out, model, dataset, chosen, settings["seed"], checkpoint_every, progress
        )
        end = _cluster(model, dataset, settings, progress)
        metrics["self_labelled"] = end.scores | {
            "rounds": len(refined.history),
            "stopped": refined.stopped,
            "mean_max_q": refined.history[-1].extra["mean_max_q"],
        }
        metrics["seconds"] += refined.seconds
    saved, pictures, errors = judged(end) if found is None else found
    saved.save(out)
    if pictures is not None:
        pictures.save(out)
    write_metrics(out, metrics)
    return TrainedRun(
        model, history, dataset, (best if refined is None else end).u, best.clustering,
        last.clustering, refined, end.clustering, errors, metrics,
    )  # fmt: skip


def _judge(
    model: AutoEncoder, dataset: Dataset, clustered: _Clustered, seed: int, progress: bool,
    gallery: bool,
) -> _Judged:  # fmt: skip
    """Return what is saved of the training images, clustered by the weights that `model` has."""
    u, clustering, _ = clustered
    errors = method.reconstruction_errors(model, dataset.images, u, progress=progress)
    v = cosine_normality(u, clustering.centers)
    saved, scores = SavedClusters.of(clustering, v, errors), method.AnomalyScores(u, v, errors)
    if not gallery:
        return _Judged(saved, None, errors)
    pictures = make_gallery(
        model, saved.centers, dataset, scores=scores, seed=seed, progress=progress
    )
    return _Judged(saved, pictures, errors)


def losses(history: History) -> dict[str, Any]:
    """Return the losses of the last and of the best epoch, on the images of either kind."""
    epochs = {"last": history.records[-1], "best": history.records[history.best.epoch - 1]}
    found = {"reconstruction_mse": {name: record.loss for name, record in epochs.items()}}
    if epochs["last"].validation_loss is None:
        return found
    return found | {"validation_mse": {name: r.validation_loss for name, r in epochs.items()}}


def _self_label(
    out: Path, model: AutoEncoder, dataset: Dataset, chosen: SelfLabelling, seed: int,
    checkpoint_every: int | str, progress: bool,
) -> SelfLabelled:  # fmt: skip
    """Go on with the labels of the clusters, in a folder of its own; goes on where it stopped."""
    folder, random = out / SELF_LABELLING, rngs(seed)
    try:
        return self_label(
            model, dataset.images, random.kmeans, chosen, rng=random.shuffle, run_dir=folder,
            checkpoint_every=checkpoint_every, resume=(folder / CHECKPOINT).exists(),
            progress=progress,
        )  # fmt: skip
    except TrainingError as error:  # its epoch is a round
        raise TrainingError(f"self-labelling: {error}") from error


def _cluster(
    model: AutoEncoder, dataset: Dataset, settings: dict[str, Any], progress: bool
) -> _Clustered:
    """Return what the model with its weights of now makes of the training images."""
    seed, K = settings["seed"], settings["clusters"]
    u, clustering = method.cluster(
        model, dataset.images, K, n_init=settings["n_init"], rng=rngs(seed).kmeans,
        progress=progress,
    )  # fmt: skip
    scores: dict[str, Any] = {"inertia": clustering.inertia}
    if dataset.labels is not None:
        scores |= method.agreement(dataset.labels, clustering.labels, K, seed)
    return _Clustered(u, clustering, scores)
