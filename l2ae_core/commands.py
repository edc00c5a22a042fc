"""What `l2ae fit`, `cluster` and `score` do: train a run, then use it on the same or new images.

A run directory holds the trained network (`l2ae_core.training.run`) and the clusters of its
training images (`l2ae_core.clusters`); the commands are the road between the two.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import data
from l2ae_core.anomaly import (
    auc,
    cosine_normality,
    nearest_center,
    reconstruction_error,
    threshold_at_fpr,
)
from l2ae_core.classes import classes_of, find_anomalies, training_data
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.metrics import chance_scores, clustering_scores
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Dataset
from l2ae_core.data.fetch import expand_user
from l2ae_core.devices import DeviceName, OnDevice, choose_device
from l2ae_core.files import CLUSTERS, METRICS
from l2ae_core.locks import locked
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.seeding import rngs
from l2ae_core.settings import (
    ARCHITECTURE,
    DEFAULTS,
    NOT_TRAINING,
    SELECTION,
    check_settings,
    run_settings,
)
from l2ae_core.training.history import History, TrainingError
from l2ae_core.training.loop import fit as train
from l2ae_core.training.optim import make_optimizer
from l2ae_core.training.run import create_run, load_run, make_config, write_metrics
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array


@dataclass(frozen=True)
class Fitted:
    """The network of a run, its clusters and its settings."""

    model: AutoEncoder | OnDevice
    clusters: SavedClusters
    settings: dict[str, Any]
    note: str = ""  # where it runs, if the caller left that open


def fit(
    out: Path,
    given: dict[str, Any],
    *,
    data_dir: str | None = None,
    resume: bool = False,
    checkpoint_every: int = 10,
    progress: bool = True,
) -> dict[str, Any]:
    """Train, cluster the codes of the training images, write and return the metrics.

    `given` overrides DEFAULTS; with `resume` it may only repeat what the run in `out` was started
    with, but for a larger number of epochs, and for `clusters`, `n_init` and `weights`, on which no
    weight of the network depends. Whatever cannot work is refused before the first step. Raises
    ValueError, CheckpointError or TrainingError.
    """
    before, settings, dataset = _prepared(out, given, data_dir, resume, checkpoint_every, progress)
    architecture = Architecture(
        input_shape=dataset.images.shape[1:], **{k: settings[k] for k in ARCHITECTURE}
    )
    config = make_config(
        architecture,
        data=settings["data"],
        digest=dataset.digest,
        seed=settings["seed"],
        training={k: v for k, v in settings.items() if k not in NOT_TRAINING},
    )
    if not resume:
        out.mkdir(parents=True, exist_ok=True)
    with locked(out):  # from here to the end the files of the run belong together
        create_run(out, config, resume=resume)
        if resume and settings != before:  # other clusters than those that are there
            for name in (CLUSTERS, METRICS):
                (out / name).unlink(missing_ok=True)
        random = rngs(settings["seed"])
        model = build(architecture, random.init)
        history = train(
            model,
            dataset.images,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            optimizer=make_optimizer(settings["optimizer"], settings["learning_rate"]),
            rng=random.shuffle,
            reduction=settings["reduction"],
            run_dir=out,
            checkpoint_every=checkpoint_every,
            resume=resume,
            progress=progress,
        )
        return _finish(out, model, dataset, history, settings, progress)


def _prepared(
    out: Path, given: dict[str, Any], data_dir: str | None, resume: bool, checkpoint_every: int,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Any], Dataset]:  # fmt: skip
    """Return the settings of the run so far, those of this training, and its images, checked."""
    given = {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}
    before = run_settings(out) if resume else DEFAULTS
    settings = before | given
    check_settings(settings, given, checkpoint_every)
    if settings["data"] not in data.DATASETS:  # resumed from any folder
        settings["data"] = str(expand_user(settings["data"]).resolve())
    nameless = resume and "class_names" not in before
    dataset = training_data(settings, data_dir, by_position=nameless, progress=progress)
    for name in SELECTION if resume else ():
        if settings[name] != before[name]:
            raise ValueError(
                f"fit: {name} is {settings[name]!r} but {out} was started with {before[name]!r}"
            )
    if not nameless:
        names = dataset.class_names
        settings["class_names"] = None if names is None else list(names)
    _require_clusterable(dataset, settings["clusters"])
    return before, settings, dataset


def _finish(
    out: Path, model: AutoEncoder, dataset: Dataset, history: History, settings: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:  # fmt: skip
    """Cluster the codes of the last and of the best weights; write clusters and metrics."""
    metrics: dict[str, Any] = {
        "epochs": len(history),
        "seconds": sum(record.seconds for record in history),
        "images": len(dataset),
        "reconstruction_mse": {"last": history.losses[-1], "best": history.best.loss},
    }
    clusters = {}
    metrics["last"], clusters["last"] = _cluster(model, dataset, settings, progress)
    metrics["best"], clusters["best"] = metrics["last"], clusters["last"]
    if history.best.epoch != len(history):
        history.restore_best(model)
        metrics["best"], clusters["best"] = _cluster(model, dataset, settings, progress)
    clusters[settings["weights"]].save(out)
    write_metrics(out, metrics)
    return metrics


def _cluster(
    model: AutoEncoder, dataset: Dataset, settings: dict[str, Any], progress: bool
) -> tuple[dict[str, Any], SavedClusters]:
    """k-means on the codes of the training images: its scores, and what a run keeps of it."""
    rng = rngs(settings["seed"]).kmeans
    u = model.encode(dataset.images)  # (N, D)
    if not np.isfinite(u).all():  # as the last update of the last epoch can make them
        raise TrainingError("fit: codes hold NaN or Inf: a smaller learning_rate may help")
    K = settings["clusters"]
    clustering = kmeans(u, K, n_init=settings["n_init"], rng=rng, progress=progress)
    v = np.sort(cosine_normality(u, clustering.centers))
    scores: dict[str, Any] = {"inertia": clustering.inertia}
    if dataset.labels is not None:
        scores |= clustering_scores(dataset.labels, clustering.labels)
        scores["chance"] = chance_scores(dataset.labels, K, rng)
    return scores, SavedClusters(clustering.centers, v, clustering.inertia)


def _require_clusterable(dataset: Dataset, n_clusters: int) -> None:
    x = dataset.images
    if len(x) < n_clusters:
        raise ValueError(
            f"fit: clusters is {n_clusters} but there are only {len(x)} training images"
        )
    if len(x) > 1 and all((image == x[0]).all() for image in x):
        raise ValueError(
            f"fit: all {len(x)} images of {dataset.name} are equal: there is nothing to tell apart"
        )


def load_fitted(run: Path, device: DeviceName | None = "cpu") -> Fitted:
    """Return network and clusters of a finished run, to be run on a device; None: any.

    CheckpointError when there are none, ValueError when "cuda" is wanted and there is no device.
    """
    settings = run_settings(run)
    model, _ = load_run(run, settings["weights"])
    clusters = SavedClusters.load(run)
    chosen, note = choose_device(device)
    if chosen is None:
        return Fitted(model, clusters, settings, note)
    return Fitted(OnDevice.move(model, chosen), clusters, settings, note)


def cluster(
    run: Path,
    source: str,
    *,
    data_dir: str | None = None,
    split: data.Split = "all",
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the cluster of every image by the centers of the run, as columns, and the scores.

    Columns: index, file where images are files, cluster, and label, the name of the class, where
    the data have labels; only then there are scores. The network runs on `device`; None takes
    a GPU if there is one, and "note" says what was taken.
    """
    fitted = load_fitted(run, device)
    dataset = _images_for(fitted, source, data_dir, split, progress)
    u = fitted.model.encode(dataset.images)
    labels, _ = ops.assign(u, fitted.clusters.centers)
    columns = _names(dataset) | {"cluster": labels}
    if dataset.labels is None:
        return columns, {"note": fitted.note}
    columns["label"] = classes_of(dataset)
    K = len(fitted.clusters.centers)
    chance = chance_scores(dataset.labels, K, rngs(fitted.settings["seed"]).kmeans)
    scores = clustering_scores(dataset.labels, labels)
    return columns, scores | {"chance": chance, "note": fitted.note}


def score(
    run: Path,
    source: str,
    *,
    fpr: float = 0.05,
    data_dir: str | None = None,
    split: data.Split = "all",
    anomaly_class: str | int | None = None,
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return how normal every image is, as columns; the threshold and, with labels, the AUC.

    Columns: index, file where images are files, normality v (Eq. 5, in [−1, 1], high is normal),
    cluster, reconstruction_error, anomalous (v < τ). τ leaves the share `fpr` of the training
    images below it. `device` as in `cluster`.

    The AUC is that of `anomaly_class` against all other images, also those of classes that the
    training did not have. It is a name, or a number where labels are numbers; None: that of the
    run, and no AUC where the data have none of it or nothing else. ValueError when a class that is
    named is not in the data.
    """
    fitted = load_fitted(run, device)
    tau = threshold_at_fpr(fitted.clusters.normality, fpr)
    dataset = _images_for(fitted, source, data_dir, split, progress)
    positive_class, positive, reason = find_anomalies(dataset, fitted.settings, anomaly_class)
    u = fitted.model.encode(dataset.images)
    v = cosine_normality(u, fitted.clusters.centers)
    error = reconstruction_error(dataset.images, fitted.model.reconstruct(dataset.images))
    anomalous = v.astype(np.float64) < tau  # in float32 τ would be rounded, perhaps to a score
    columns = _names(dataset) | {
        "normality": v,
        "cluster": nearest_center(u, fitted.clusters.centers),
        "reconstruction_error": error,
        "anomalous": anomalous.astype(int),
    }
    result: dict[str, Any] = {"threshold": tau, "anomalous": int(anomalous.sum())}
    result |= {"note": fitted.note, "no_auc": reason}
    if positive_class is not None:
        result["anomaly_class"] = positive_class
        result["prevalence"] = float(positive.mean())
        result["auc"] = {"normality": auc(positive, -v), "reconstruction": auc(positive, error)}
    return columns, result


def _names(dataset: Dataset) -> dict[str, Array]:
    """What tells the images apart: their number, and the file in the folder that was read."""
    names = {"index": np.arange(len(dataset))}
    return (
        names if dataset.sample_names is None else names | {"file": np.array(dataset.sample_names)}
    )


def _images_for(
    fitted: Fitted, source: str, data_dir: str | None, split: data.Split, progress: bool
) -> Dataset:
    """Return the images, in the shape of those of the training; grey becomes three channels."""
    dataset = data.load(source, data_dir=data_dir, split=split, progress=progress)
    found, expected = dataset.images.shape[1:], fitted.model.input_shape
    if found == (*expected[:2], 1) and expected[2] == 3:
        return replace(dataset, images=np.repeat(dataset.images, 3, axis=3))
    if found != expected:
        raise ValueError(
            f"data: images of {dataset.name} have shape {found} but the run was trained on "
            f"{expected}"
        )
    return dataset
