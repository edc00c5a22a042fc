"""The page of one RUN directory: how it was trained, and what came out."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.clusters import SavedClusters
from l2ae_core.figures import epoch_curves, histogram
from l2ae_core.files import CHECKPOINT, CLUSTERS, GALLERY, METRICS, SELF_LABELLING
from l2ae_core.gallery import Gallery
from l2ae_core.paper.tables import percent
from l2ae_core.readers import entry, read_json
from l2ae_core.report.evidence import CLUSTERING
from l2ae_core.report.markup import (
    Markup,
    definitions,
    element,
    figure,
    grid,
    paragraph,
    table,
)
from l2ae_core.report.page import Section, page
from l2ae_core.report.pictures import svg
from l2ae_core.report.run_images import FPR, image_sections
from l2ae_core.tables import counted, duration
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.history import History, read_history
from l2ae_core.training.run import read_config


def run_page(path: Path, gallery: Gallery | None = None, *, progress: bool = False) -> str:
    """Return the page of a run directory, with the images of its own gallery or of another.

    `progress` shows a bar while the map of the codes is drawn.
    Raises ValueError, naming the file, when the configuration is missing or any file is damaged.
    """
    config = read_config(path)
    resume = f"l2ae fit --resume --out {path}"
    metrics = _metrics(path)
    history = _history(path)
    rounds = _history(path / SELF_LABELLING)
    saved = SavedClusters.load(path) if (path / CLUSTERS).exists() else None
    thresholds = None if gallery is None or saved is None else saved.thresholds(FPR)
    if gallery is None and (path / GALLERY).exists():
        gallery = Gallery.load(path)
    sections = [
        *image_sections(gallery, thresholds, config, path, progress),
        Section("scores", "Scores", _scores(metrics, path), resume),
        Section("loss", "Training loss", _loss(history), resume),
        *_self_labelling(config["training"], rounds, path, resume),
        Section("norms", "Length of the codes before normalization", _norms(history), resume),
        Section("normality", "Normality of the training images", _normality(saved), resume),
        Section("configuration", "Configuration", [definitions(_flat(config, "versions"))]),
        Section("environment", "Environment", [definitions(_flat(config.get("versions", {})))]),
    ]
    lead = [paragraph(_what(config, history, rounds), class_="lead")]
    if gallery is not None and thresholds is not None:
        lead.append(paragraph(f"The images are those of {gallery.name}, not of the training."))
    return page(f"Run {path.resolve().name}", lead, sections)


def _what(config: Mapping[str, Any], history: History, rounds: History) -> str:
    epochs, norm = config["training"].get("epochs"), config["architecture"].get("norm")
    where, seed = config["data"]["name"], config["seed"]
    then = f", then {counted(len(rounds), 'round')} of self-labelling" if len(rounds) else ""
    trained = f"{len(history):,} of {counted(epochs or 0, 'epoch')}{then}"
    return f"{trained} on {where}, norm of the code: {norm}, seed {seed}.{_devices(history)}"


def _devices(history: History) -> str:
    """A sentence on what made the steps, nothing where that was the processor alone."""
    epochs = Counter(record.device or "the processor" for record in history)
    if {record.device for record in history} <= {None}:
        return ""
    if len(epochs) == 1:
        return f" Trained by {next(iter(epochs))}."
    parts = [f"{counted(n, 'epoch')} by {device}" for device, n in epochs.items()]
    return f" Trained {', '.join(parts)}."


def _history(path: Path) -> History:
    """Return that of the checkpoint, and the epochs since then of a training that goes on."""
    trained = (path / CHECKPOINT).exists()
    history = checkpoints.load(path / CHECKPOINT).history if trained else History()
    history.records += read_history(path)[len(history) :]
    return history


def _metrics(path: Path) -> dict[str, Any]:
    """Return metrics.json, or nothing while the training has not come to its end."""
    file = path / METRICS
    if not file.exists():
        return {}
    metrics = read_json(file)
    if not isinstance(metrics, dict):
        raise ValueError(f"{file}: expected scores by name but found {type(metrics).__name__}")
    return metrics


def _scores(metrics: Mapping[str, Any], path: Path) -> list[Markup]:
    if not metrics:
        return []
    file, rows, chance = str(path / METRICS), [], None
    rows_of = {"best": "best weights", "last": "last weights"}
    if "self_labelled" in metrics:
        rows_of["self_labelled"] = "self-labelled"
    labelled = [k for k in CLUSTERING if k in entry(metrics, "best", dict, where=file)]
    for which, name in rows_of.items():
        scores = entry(metrics, which, dict, where=file)
        names = [k for k in labelled if k in scores]
        found = {k: percent(entry(metrics, f"{which}.{k}", float, where=file)) for k in names}
        mse = ""  # of the self-labelled network no mean over the images as they are is known
        if which != "self_labelled":
            mse = f"{entry(metrics, f'reconstruction_mse.{which}', float, where=file):.5f}"
        inertia = entry(metrics, f"{which}.inertia", float, where=file)
        cells = [found.get(k, "") for k in labelled]
        rows.append([name, *cells, mse, f"{inertia:.6g}"])
        if "chance" in scores:
            chance = entry(metrics, f"{which}.chance", dict, where=file)
    if chance is not None:
        cells = [percent(entry(chance, k, float, where=f"{file}: chance")) for k in labelled]
        rows.append(["chance", *cells, "", ""])
    note = "Of the training images. Best weights: those of the epoch with the lowest training loss."
    if labelled:
        note += " ACC (Eq. 6), NMI and ARI in percent, of k-means on the codes."
    if "self_labelled" in metrics:
        note += " Self-labelled: after it went on training with its own clusters as labels."
    columns = ["", *(k.upper() for k in labelled), "loss of the epoch", "inertia of k-means"]
    return [table(columns, rows, note=note)]


def _loss(history: History) -> list[Markup]:
    if not len(history):
        return []
    curves = {"loss": [history.losses]}
    held_out = [r.validation_loss for r in history if r.validation_loss is not None]
    if held_out:
        curves = {"training": [history.losses], "validation": [held_out]}
    log = min(history.losses + held_out) > 0
    drawn = epoch_curves(curves, y="loss", log=log)
    best = min(history, key=lambda record: record.watched)  # of equal losses the first
    spent = duration(sum(r.seconds for r in history))
    whose = " on the images that are held out" if held_out else ""
    caption = (
        f"Loss of the training. Lowest{whose} in epoch {best.epoch}: {best.watched:.5f}. "
        f"{spent} in all."
    )
    panel = element("div", svg(drawn, "loss-curve", caption), class_="panel")
    return [figure(grid([panel]), caption=caption)]


def _self_labelling(
    training: Mapping[str, Any], rounds: History, path: Path, resume: str
) -> list[Section]:
    """The labels that change and KL(P‖Q), round by round; nothing for a run without."""
    if not training.get("self_label", False):
        return []
    if not len(rounds):
        return [Section("self-labelling", "Self-labelling", [], resume)]
    where = str(path / SELF_LABELLING)
    changes, kl = (
        [float(entry(r.extra, name, float, where=where)) for r in rounds]
        for name in ("label_change", "kl")
    )
    drawn = {
        "labels that change, %": epoch_curves(
            {"": [[100 * change for change in changes]]}, x="round", y="labels that change, %",
            log=False,
        ),
        "KL(P‖Q)": epoch_curves({"": [kl]}, x="round", y="KL(P‖Q)", log=min(kl) > 0),
    }  # fmt: skip
    panels = [
        element("div", svg(chart, f"round-{i}", f"{name} by round"), class_="panel")
        for i, (name, chart) in enumerate(drawn.items())
    ]
    spent = duration(sum(r.seconds for r in rounds))
    caption = (
        f"{len(rounds)} of at most {counted(training.get('rounds', 0), 'round')}, {spent} in all. "
        "Labels that change: images whose cluster, argmax q, is another one than a round before; "
        f"it ends when fewer than {100 * training.get('tol', 0):g} % do. KL(P‖Q): from the soft "
        "assignment q of all images, none of them warped, to its target p."
    )
    return [Section("self-labelling", "Self-labelling", [figure(grid(panels), caption=caption)])]


def _norms(history: History) -> list[Markup]:
    if not len(history):
        return []
    curves = {"mean |z|": [r.latent_norm_mean for r in history],
              "least |z|": [r.latent_norm_min for r in history]}  # fmt: skip
    panels = []
    for i, (name, values) in enumerate(curves.items()):
        drawn = epoch_curves({name: [values]}, y=name, log=min(values) > 0)
        panels.append(element("div", svg(drawn, f"norm-{i}", f"{name} by epoch"), class_="panel"))
    caption = (
        "Length |z| of the codes before the normalization, of the first 1,000 images after each "
        "epoch: the mean and the least."
    )
    return [figure(grid(panels), caption=caption)]


def _normality(clusters: SavedClusters | None) -> list[Markup]:
    """How normal the training images are, by Eq. 5 and by their reconstructions; the inertia."""
    if clusters is None:
        return []
    limits = clusters.thresholds(FPR)
    sides = {"normality": (clusters.normality, limits.normality, "normality v (Eq. 5)", "τ")}
    if clusters.errors is not None:
        sides["error"] = (clusters.errors, limits.error, "reconstruction error", "ε")
    K, D = clusters.centers.shape
    caption = (
        f"{counted(K, 'cluster')} of codes of length {D}, inertia {clusters.inertia:.6g}. Scores "
        f"of the {counted(len(clusters.normality), 'training image')}: v, the cosine to the "
        "nearest center, and the squared differences of image and reconstruction, summed over the "
        f"pixels. Dashed: the thresholds below τ or above ε of which {FPR:.0%} of the images lie, "
        f"as in l2ae score --fpr {FPR}."
    )
    panels = []
    for name, (scores, threshold, x, symbol) in sides.items():
        values = scores.astype(np.float64)  # bins of float32 could have no width
        assert threshold is not None
        drawn = histogram({"training images": values}, threshold, x=x, symbol=symbol)
        panels.append(element("div", svg(drawn, name, caption), class_="panel"))
    return [figure(grid(panels), caption=caption)]


def _flat(tree: Mapping[str, Any], *left_out: str, prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and name not in left_out:
            pairs += _flat(value, prefix=f"{prefix}{name}.")
        elif name not in left_out:
            pairs.append((f"{prefix}{name}", json.dumps(value) if value is not None else "none"))
    return [(name, text.strip('"')) for name, text in pairs]
