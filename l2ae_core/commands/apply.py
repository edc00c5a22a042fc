"""`l2ae cluster` and `l2ae score` as functions: a table with a row for each image.

Rows are computed some at a time, in the order of the images, so that a table of any length is
written while it grows (`l2ae_core.tables.write_rows`).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import data, method
from l2ae_core.anomaly import auc, nearest_center
from l2ae_core.classes import classes_of, find_anomalies
from l2ae_core.cluster_folders import Way, check_folders, require_files, write_folders
from l2ae_core.commands.infer import LoadedRun, images_for, load_fitted, note_of
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName
from l2ae_core.files import CLUSTERS
from l2ae_core.images import AT_ONCE, parts
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.settings import run_settings
from l2ae_core.tables import Columns, Table, join_rows
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.verdict import REASONS, Criterion, Thresholds, error_quantile
from l2ae_kernels import ops
from l2ae_kernels.ops.checks import count


def cluster(
    run: Path, source: str | Dataset | None = None, **how: Any
) -> tuple[Columns, dict[str, Any]]:
    """Return the columns and the scores of `cluster_table`, which has the same arguments."""
    return cluster_table(run, source, **how).whole()


def score(
    run: Path, source: str | Dataset | None = None, **how: Any
) -> tuple[Columns, dict[str, Any]]:
    """Return the columns and the rest of `score_table`, which has the same arguments."""
    return score_table(run, source, **how).whole()


def cluster_table(
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
    cluster: str | None = None,
    progress: bool = True,
) -> Table:
    """Return the cluster of every image by the centers of the run; the result are the scores.

    Columns: index, file where images are files, cluster, and label, the name of the class, where
    the data have labels; only then there are scores. The network runs on `device`; None takes
    a GPU if there is one, and "note" says what was taken; or on the workers of a Dask scheduler,
    whose address `cluster` is, with the same rows (`l2ae_core.distributed.workers`). `copy_to` and
    `link_to` become folders with a folder for each cluster, as `cluster_folders.write_folders`
    makes them, after the last rows.

    Images are prepared as those of the training. With labels=False there are none, as always where
    the training had none; with `skip_unreadable` files that cannot be read are left out, as they
    always are of the images of the training, and "note" says which.
    """
    folders: list[tuple[Path, Way]] = [(copy_to, "copy")] if copy_to is not None else []
    folders += [(link_to, "link")] if link_to is not None else []
    where = source if isinstance(source, str) else run_settings(chosen_run(run)[0])["data"]
    for out, way in folders:
        check_folders(out, where, way)
    if copy_to is not None and link_to is not None and copy_to.resolve() == link_to.resolve():
        raise ValueError(f"link_to: {link_to} is copy_to, too: choose another folder")
    loaded = load_fitted(run, _device(device, cluster))
    dataset = images_for(loaded, source, data_dir, split, progress, labels, skip_unreadable)
    if link_to is not None:
        require_files(where, dataset)
    place = _place(cluster)
    result: dict[str, Any] = {"note": note_of(loaded.note, *dataset.notes)}

    def chunks() -> Iterator[Columns]:
        names, centers = _names_of(dataset), loaded.clusters.centers
        kept = np.empty(len(dataset) if folders or dataset.labels is not None else 0, np.int32)
        with place as here:
            codes = here.encoded(loaded.model, dataset.images, progress=progress)
            for part, u in zip(parts(len(dataset)), codes, strict=True):
                clusters, _ = ops.assign(u, centers)
                if kept.size:
                    kept[part] = clusters
                yield names(part) | {"cluster": clusters} | _classes(dataset, part)
        if dataset.labels is not None:
            seed = loaded.settings["seed"]
            result.update(method.agreement(dataset.labels, kept, len(centers), seed))
        for out, way in folders:
            write_folders(out, dataset, kept, len(centers), where, way, progress=progress)

    return Table(len(dataset), chunks(), result)


def score_table(
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
    cluster: str | None = None,
    progress: bool = True,
) -> Table:
    """Return how normal every image is; the result has the thresholds and, with labels, the AUC.

    Columns: index, file where images are files, normality v (Eq. 5, in [−1, 1], high is normal),
    cluster, reconstruction_error (Σ over pixels and channels), error_quantile (share of the
    training images whose error is smaller), anomalous, reason ("" for normal ones), and label as in
    `cluster_table`. The criterion is that of `l2ae_core.verdict`; None is "both", or "cosine" where
    the run is so old that it has no errors, which "note" says. Outside of the thresholds lies at
    most the share `fpr` of the training images. With `top` there are only so many rows, the least
    normal first by `Thresholds.margin`, and a column rank, from 1. `device` and `cluster` are those
    of `cluster_table`.

    The AUC is that of `anomaly_class` against all other images, also those of classes that the
    training did not have. It is a name, or a number where labels are numbers; None: that of the
    run, and no AUC where the data have none of it or nothing else. ValueError when a class that is
    named is not in the data.
    """
    if top is not None:
        count("score", "top", top)
    loaded = load_fitted(run, _device(device, cluster))
    limits, note = _thresholds(loaded, fpr, criterion)
    dataset = images_for(loaded, source, data_dir, split, progress, labels, skip_unreadable)
    N = len(dataset)
    positive_class, positive, no_auc = find_anomalies(dataset, loaded.settings, anomaly_class)
    place = _place(cluster)
    result: dict[str, Any] = {
        "images": N,
        "threshold": limits.normality,
        "error_threshold": limits.error,
        "anomalous": 0,
        "reasons": dict.fromkeys(REASONS, 0),
        "note": note_of(note, *dataset.notes),
        "no_auc": no_auc,
    }

    def chunks() -> Iterator[Columns]:
        names, saved = _names_of(dataset), loaded.clusters
        errors = None if saved.errors is None else np.sort(saved.errors)
        scores = np.empty((2, 0 if positive_class is None else N))  # v and error of every image
        with place as here:
            found = here.scored(loaded.model, saved.centers, dataset.images, progress=progress)
            for part, (u, v, error) in zip(parts(N), found, strict=True):
                reasons = limits.reasons(v, error)
                for reason in REASONS:
                    result["reasons"][reason] += int((reasons == reason).sum())
                if scores.size:
                    scores[:, part] = v, error
                yield names(part) | {
                    "normality": v,
                    "cluster": nearest_center(u, saved.centers),
                    "reconstruction_error": error,
                    **({} if errors is None else
                       {"error_quantile": error_quantile(error, errors, ascending=True)}),
                    "anomalous": (reasons != "").astype(int),
                    "reason": reasons,
                    **_classes(dataset, part),
                }  # fmt: skip
        result["anomalous"] = sum(result["reasons"].values())
        if positive_class is not None:
            by_v, by_error = auc(positive, -scores[0]), auc(positive, scores[1])
            result["anomaly_class"] = positive_class
            result["prevalence"] = float(positive.mean())
            result["auc"] = {"normality": by_v, "reconstruction": by_error}

    if top is None:
        return Table(N, chunks(), result)
    return Table(min(top, N), _least_normal(chunks(), limits, top), result)


def _least_normal(chunks: Iterator[Columns], limits: Thresholds, top: int) -> Iterator[Columns]:
    """Yield the `top` least normal rows, sorted, with their rank; few others are kept."""

    def first(some: list[Columns]) -> Columns:
        rows = join_rows(some)
        margin = limits.margin(rows["normality"], rows["reconstruction_error"])
        order = np.argsort(margin, kind="stable")[:top]
        return {name: column[order] for name, column in rows.items()}

    kept: list[Columns] = []
    for columns in chunks:
        kept.append(columns)
        if sum(len(rows["index"]) for rows in kept) >= 2 * max(top, AT_ONCE):
            kept = [first(kept)]
    rows = first(kept)
    rows = {"rank": np.arange(1, len(rows["index"]) + 1)} | rows
    yield from ({name: column[part] for name, column in rows.items()}
                for part in parts(len(rows["index"])))  # fmt: skip


def _place(cluster: str | None) -> AbstractContextManager[Any]:
    """Return what encodes and scores images: this process, or the workers of a Dask scheduler."""
    if cluster is None:
        return nullcontext(method)
    from l2ae_core.distributed.workers import Workers

    return Workers(cluster)


def _device(device: DeviceName | None, cluster: str | None) -> DeviceName | None:
    """Return the device of this process; ValueError for a GPU beside the workers of a cluster."""
    if cluster is not None and device == "cuda":
        raise ValueError(f"cluster: {cluster} was given with device cuda: workers have processors")
    return device if cluster is None else "cpu"


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


def _names_of(dataset: Dataset) -> Callable[[slice], Columns]:
    """What tells some images apart: their number, and the file in the folder that was read."""
    names = dataset.sample_names
    if names is None:
        return lambda part: {"index": np.arange(part.start, part.stop)}
    dtype = f"<U{max(map(len, names))}"
    return lambda part: {
        "index": np.arange(part.start, part.stop),
        "file": np.array(names[part], dtype),
    }


def _classes(dataset: Dataset, part: slice) -> Columns:
    return {} if dataset.labels is None else {"label": classes_of(dataset, part)}
