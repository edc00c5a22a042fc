"""`l2ae cluster` and `l2ae score` as functions: a run directory, and other images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import data, method
from l2ae_core.anomaly import auc, nearest_center, threshold_at_fpr
from l2ae_core.classes import classes_of, find_anomalies
from l2ae_core.clustering.sweep import SAMPLE_SIZE, SweepRow, check_sweep
from l2ae_core.clustering.sweep import sweep as sweep_codes
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName, DeviceNetwork, choose_device
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeding import rngs
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.settings import (
    run_settings,
)
from l2ae_core.training.run import load_run
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """The network of a run on a device, its clusters and its settings, for new images."""

    model: AutoEncoder | DeviceNetwork
    clusters: SavedClusters
    settings: dict[str, Any]
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
        return LoadedRun(model, clusters, settings, note)
    return LoadedRun(DeviceNetwork.move(model, chosen), clusters, settings, note)


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
    loaded = load_fitted(run, device)
    dataset = _images_for(loaded, source, data_dir, split, progress)
    centers = loaded.clusters.centers
    labels, _ = ops.assign(loaded.model.encode(dataset.images), centers)
    columns = _names(dataset) | {"cluster": labels}
    result: dict[str, Any] = {"note": loaded.note}
    if dataset.labels is not None:
        columns["label"] = classes_of(dataset)
        rng = rngs(loaded.settings["seed"]).kmeans
        result |= method.agreement(dataset.labels, labels, len(centers), rng)
    return columns, result


def sweep(
    run: Path,
    source: str,
    clusters: Sequence[int],
    *,
    sample_size: int = SAMPLE_SIZE,
    data_dir: str | None = None,
    split: data.Split = "all",
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[list[SweepRow], dict[str, Any]]:
    """Cluster the codes of the images anew into each number of clusters; return a row a number.

    The centers of the run are not used, and stay; its seed and its n_init are used. The second
    value has "images", a text about these for the title of a figure, "note" as in `cluster`, and
    "resumable": whether the run may be resumed with another number of clusters.
    Codes are those before self-labelling, which gathers them around the centers of the run: every
    criterion would prefer as many clusters as it was given.
    """
    check_sweep(clusters, sample_size)
    loaded = load_fitted(run, device, self_labelled=False)
    dataset = _images_for(loaded, source, data_dir, split, progress)
    check_sweep(clusters, sample_size, len(dataset))
    seed, n_init = (loaded.settings[name] for name in ("seed", "n_init"))
    u = loaded.model.encode(dataset.images)
    rows = sweep_codes(
        u, clusters, seed=seed, n_init=n_init, sample_size=sample_size, progress=progress
    )
    before = "by the codes before self-labelling" if loaded.settings["self_label"] else ""
    note = "; ".join(filter(None, (before, loaded.note)))
    return rows, {
        "images": f"{dataset.name}, N = {len(dataset):,}, seed {seed}",
        "note": note,
        "resumable": not loaded.settings["self_label"],
    }


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
    cluster, reconstruction_error, anomalous (v < τ), and label as in `cluster`. τ leaves the share
    `fpr` of the training images below it. `device` as in `cluster`.

    The AUC is that of `anomaly_class` against all other images, also those of classes that the
    training did not have. It is a name, or a number where labels are numbers; None: that of the
    run, and no AUC where the data have none of it or nothing else. ValueError when a class that is
    named is not in the data.
    """
    loaded = load_fitted(run, device)
    tau = threshold_at_fpr(loaded.clusters.normality, fpr)
    dataset = _images_for(loaded, source, data_dir, split, progress)
    positive_class, positive, reason = find_anomalies(dataset, loaded.settings, anomaly_class)
    centers = loaded.clusters.centers
    u, v, error = method.score(loaded.model, centers, dataset.images)
    anomalous = v.astype(np.float64) < tau  # in float32 τ would be rounded, perhaps to a score
    columns = _names(dataset) | {
        "normality": v,
        "cluster": nearest_center(u, centers),
        "reconstruction_error": error,
        "anomalous": anomalous.astype(int),
    }
    if dataset.labels is not None:
        columns["label"] = classes_of(dataset)
    result: dict[str, Any] = {"threshold": tau, "anomalous": int(anomalous.sum())}
    result |= {"note": loaded.note, "no_auc": reason}
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
    run: LoadedRun, source: str, data_dir: str | None, split: data.Split, progress: bool
) -> Dataset:
    """Return the images, in the shape of those of the training; grey becomes three channels."""
    dataset = data.load(source, data_dir=data_dir, split=split, progress=progress)
    found, expected = dataset.images.shape[1:], run.model.input_shape
    if found == (*expected[:2], 1) and expected[2] == 3:
        return replace(dataset, images=np.repeat(dataset.images, 3, axis=3))
    if found != expected:
        raise ValueError(
            f"data: images of {dataset.name} have shape {found} but the run was trained on "
            f"{expected}"
        )
    return dataset
