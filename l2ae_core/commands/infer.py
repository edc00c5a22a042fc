"""`l2ae cluster` and `l2ae score` as functions: a run directory, and images.

Images are those of a `source`, as `l2ae fit` has it, or a `Dataset` that was read for the run, as
`training_images` does; None: those of the training.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import data, method
from l2ae_core.anomaly import auc, nearest_center
from l2ae_core.classes import classes_of, find_anomalies, training_data
from l2ae_core.cluster_folders import Way, check_folders, write_folders
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Dataset
from l2ae_core.data.fetch import expand_user
from l2ae_core.data.stored import in_colour
from l2ae_core.devices import DeviceName, DeviceNetwork, choose_device
from l2ae_core.files import CLUSTERS
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.settings import make_preparation, run_settings
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.run import load_run, read_config
from l2ae_core.verdict import REASONS, Criterion, Thresholds, error_quantile
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """The network of a run on a device, its clusters and its settings, for new images."""

    model: AutoEncoder | DeviceNetwork
    clusters: SavedClusters
    settings: dict[str, Any]
    path: Path  # its directory
    note: str = ""  # which run it is and where it runs, if the caller left that open


def load_fitted(
    run: Path, device: DeviceName | None = "cpu", *, self_labelled: bool = True
) -> LoadedRun:
    """Return network and clusters of a finished run, to be run on a device; None: any.

    Of a folder of several seeds it is the chosen run. With self_labelled=False the network is that
    before self-labelling, and the clusters are not those of its codes. CheckpointError when there
    are none, ValueError when device is "cuda" and there is none.
    """
    run, which = chosen_run(run)
    settings = run_settings(run)
    clusters = SavedClusters.load(run)  # the last that a run gets: what lacks them is unfinished
    last_phase = self_labelled and settings["self_label"]
    model, _ = load_run(run, "self-labelled" if last_phase else settings["weights"])
    chosen, note = choose_device(device)
    note = "; ".join(filter(None, (which, note)))
    if chosen is None:
        return LoadedRun(model, clusters, settings, run, note)
    return LoadedRun(DeviceNetwork.move(model, chosen), clusters, settings, run, note)


def cluster(
    run: Path,
    source: str | Dataset | None = None,
    *,
    data_dir: str | None = None,
    split: data.Split = "all",
    labels: bool = True,
    skip_unreadable: bool = False,
    copy_to: Path | None = None,
    link_to: Path | None = None,
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the cluster of every image by the centers of the run, as columns, and the scores.

    Columns: index, file where images are files, cluster, and label, the name of the class, where
    the data have labels; only then there are scores. The network runs on `device`; None takes
    a GPU if there is one, and "note" says what was taken. `copy_to` and `link_to` become folders
    with a folder for each cluster, as `cluster_folders.write_folders` makes them.

    Images are prepared as those of the training. With labels=False there are none, as always where
    the training had none; with `skip_unreadable` files that cannot be read are left out, and "note"
    says which.
    """
    folders: list[tuple[Path, Way]] = [(copy_to, "copy")] if copy_to is not None else []
    folders += [(link_to, "link")] if link_to is not None else []
    where = source if isinstance(source, str) else run_settings(chosen_run(run)[0])["data"]
    for out, way in folders:
        check_folders(out, where, way)
    loaded = load_fitted(run, device)
    dataset = images_for(loaded, source, data_dir, split, progress, labels, skip_unreadable)
    centers = loaded.clusters.centers
    clusters, _ = ops.assign(loaded.model.encode(dataset.images), centers)
    columns = _names(dataset) | {"cluster": clusters}
    result: dict[str, Any] = {"note": note_of(loaded.note, *dataset.notes)}
    if dataset.labels is not None:
        columns["label"] = classes_of(dataset)
        rng = rngs(loaded.settings["seed"]).kmeans
        result |= method.agreement(dataset.labels, clusters, len(centers), rng)
    for out, way in folders:
        write_folders(out, dataset, clusters, len(centers), where, way, progress=progress)
    return columns, result


def score(
    run: Path,
    source: str | Dataset | None = None,
    *,
    fpr: float = 0.05,
    criterion: Criterion | None = None,
    top: int | None = None,
    data_dir: str | None = None,
    split: data.Split = "all",
    labels: bool = True,
    skip_unreadable: bool = False,
    anomaly_class: str | int | None = None,
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return how normal every image is, as columns; the thresholds and, with labels, the AUC.

    Columns: index, file where images are files, normality v (Eq. 5, in [−1, 1], high is normal),
    cluster, reconstruction_error (Σ over pixels and channels), error_quantile (share of the
    training images whose error is smaller), anomalous, reason ("" for normal ones), and label as in
    `cluster`. The criterion is that of `l2ae_core.verdict`; None is "both", or "cosine" where the
    run is so old that it has no errors, which "note" says. Outside of the thresholds lies at most
    the share `fpr` of the training images. With `top` there are only so many rows, the least normal
    first by `Thresholds.margin`, and a column rank, from 1. `device` as in `cluster`.

    The AUC is that of `anomaly_class` against all other images, also those of classes that the
    training did not have. It is a name, or a number where labels are numbers; None: that of the
    run, and no AUC where the data have none of it or nothing else. ValueError when a class that is
    named is not in the data.
    """
    if top is not None:
        count("score", "top", top)
    loaded = load_fitted(run, device)
    limits, note = _thresholds(loaded, fpr, criterion)
    dataset = images_for(loaded, source, data_dir, split, progress, labels, skip_unreadable)
    positive_class, positive, no_auc = find_anomalies(dataset, loaded.settings, anomaly_class)
    saved = loaded.clusters
    u, v, error = method.score(loaded.model, saved.centers, dataset.images, progress=progress)
    reasons = limits.reasons(v, error)
    columns = _names(dataset) | {
        "normality": v,
        "cluster": nearest_center(u, saved.centers),
        "reconstruction_error": error,
        **({} if saved.errors is None else {"error_quantile": error_quantile(error, saved.errors)}),
        "anomalous": (reasons != "").astype(int),
        "reason": reasons,
    }
    if dataset.labels is not None:
        columns["label"] = classes_of(dataset)
    if top is not None:
        first = np.argsort(limits.margin(v, error), kind="stable")[:top]
        columns = {"rank": np.arange(1, len(first) + 1)} | {k: c[first] for k, c in columns.items()}
    result: dict[str, Any] = {
        "images": len(dataset),
        "threshold": limits.normality,
        "error_threshold": limits.error,
        "anomalous": int((reasons != "").sum()),
        "reasons": {reason: int((reasons == reason).sum()) for reason in REASONS},
        "note": note_of(note, *dataset.notes),
        "no_auc": no_auc,
    }
    if positive_class is not None:
        result["anomaly_class"] = positive_class
        result["prevalence"] = float(positive.mean())
        result["auc"] = {"normality": auc(positive, -v), "reconstruction": auc(positive, error)}
    return columns, result


def _thresholds(run: LoadedRun, fpr: float, criterion: Criterion | None) -> tuple[Thresholds, str]:
    """Return the thresholds by the training images of a run, and a note."""
    saved, note = run.clusters, run.note
    if saved.errors is None and criterion != "cosine":
        lacks = (
            f"{run.path / CLUSTERS} is from before reconstruction errors were kept; "
            f"`l2ae fit --resume --out {run.path}` adds them"
        )
        if criterion is not None:
            raise CheckpointError(f"criterion is {criterion!r} but {lacks}")
        note = "; ".join(filter(None, (note, f"judged by v alone: {lacks}")))
    return saved.thresholds(fpr, criterion), note


def _names(dataset: Dataset) -> dict[str, Array]:
    """What tells the images apart: their number, and the file in the folder that was read."""
    names = {"index": np.arange(len(dataset))}
    return (
        names if dataset.sample_names is None else names | {"file": np.array(dataset.sample_names)}
    )


def note_of(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def images_for(
    run: LoadedRun, source: str | Dataset | None, data_dir: str | None, split: data.Split,
    progress: bool, labels: bool = True, skip_unreadable: bool = False,
) -> Dataset:  # fmt: skip
    """Return the images, prepared as those of the training; grey becomes three channels.

    There are no labels where the run was trained without.
    """
    if isinstance(source, str):
        dataset = data.load(
            source, data_dir=data_dir, split=split, labels=labels and run.settings["labels"],
            preparation=make_preparation(run.settings), skip_unreadable=skip_unreadable,
            progress=progress,
        )  # fmt: skip
    elif split != "all":
        raise ValueError(f"split: {split} was given without data: the images of the training")
    else:
        dataset = source or training_images(
            run.path, data_dir=data_dir, skip_unreadable=skip_unreadable, progress=progress
        )
        if not labels:
            dataset = replace(dataset, labels=None, class_names=None)
    found, expected = dataset.images.shape[1:], run.model.input_shape
    if found == (*expected[:2], 1) and expected[2] == 3:
        return replace(dataset, images=in_colour(dataset.images))
    if found != expected:
        advice = ""
        if found[:2] != expected[:2]:
            advice = "; a run that was trained with --size takes images of any size"
        elif expected[2] == 1:
            advice = "; a run that was trained with --grey takes colour, too"
        raise ValueError(
            f"data: images of {dataset.name} have shape {found} but the run was trained on "
            f"{expected}{advice}"
        )
    return dataset


def training_images(
    run: Path,
    source: str | None = None,
    *,
    data_dir: str | None = None,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Dataset:
    """Return the images that a run directory was trained on, from `source` if they have moved.

    ValueError where they are not there, or are not these images.
    """
    config, settings = read_config(run), run_settings(run)
    if source is not None:
        settings["data"] = source
    where, digest = settings["data"], config["data"]["digest"]
    if not digest:
        raise ValueError(
            f"data: {run} was written by save_run, which does not know the images of the training: "
            "--data names images to score; recluster, before save_run, makes other clusters"
        )
    if where == data.IN_MEMORY:
        raise ValueError(
            f"data: the images of {run} were an array in memory; saved with np.save, --data names "
            "them"
        )
    if where not in data.DATASETS and not expand_user(where).exists():
        raise ValueError(
            f"data: {where}, the images of {run}, is no longer there; if they have moved, --data "
            "tells where"
        )
    dataset = training_data(
        settings, data_dir, by_position="class_names" not in settings,
        skip_unreadable=skip_unreadable, progress=progress,
    )  # fmt: skip
    dataset = as_trained(dataset, digest)
    if dataset.digest != digest:
        raise ValueError(f"data: the images of {where} are not those that {run} was trained on")
    return dataset


def as_trained(dataset: Dataset, digest: str) -> Dataset:
    """Return the images, without labels where the digest, of the run of an estimator, has none."""
    bare = replace(dataset, labels=None, class_names=None)
    return bare if dataset.digest != digest and bare.digest == digest else dataset
