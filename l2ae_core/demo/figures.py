"""The figures of the demo; see `l2ae_core.figures`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from l2ae_core import figures
from l2ae_core.anomaly import roc
from l2ae_core.data import Dataset
from l2ae_core.demo.experiments import NAMES, DemoClusters, DemoScores, DemoSettings
from l2ae_core.files import METRICS
from l2ae_core.tables import counted


def draw(
    data: Dataset,
    clusters: dict[Any, DemoClusters],
    test: Dataset,
    scored: dict[Any, DemoScores],
    metrics: dict[str, Any],
    settings: DemoSettings,
) -> dict[str, Figure]:
    """Return the figures by file name; all are drawn before the first is written."""
    assert data.labels is not None  # the digits have labels
    assert test.labels is not None
    epochs = counted(settings.epochs, "epoch")
    whole = f"{data.name}, N = {len(data):,}, seed {settings.seed}, {epochs}"
    digit, l2 = settings.anomaly_digit, clusters["l2"]
    held_out = (
        f"{test.name}, anomalies: digit {digit}, seed {settings.seed}, "
        f"{counted(settings.anomaly_epochs, 'epoch')}"
    )
    v, anomalous = scored["l2"].normality, test.labels == digit
    tau = metrics["anomaly"]["threshold"]["tau"]
    scores = {
        "Eq. 5, l2 constraint": -scored["l2"].normality,
        "Eq. 5, no constraint": -scored["none"].normality,
        "reconstruction error, l2 constraint": scored["l2"].error,
    }
    return {
        "embedding.png": figures.embedding_scatter(
            {NAMES[norm]: c.codes for norm, c in clusters.items()},
            data.labels,
            {NAMES[norm]: c.labels for norm, c in clusters.items()},
            title=whole,
            seed=settings.seed,
        ),
        "confusion.png": figures.matched_confusion(
            data.labels, l2.labels, title=f"{whole}, l2 constraint"
        ),
        "loss.png": figures.epoch_curves(
            {NAMES[norm]: [c.history.losses] for norm, c in clusters.items()},
            y="mean squared error per pixel",
            title=whole,
        ),
        "reconstructions.png": figures.reconstructions(
            np.asarray(data.images), l2.model.decode(l2.codes), title=f"{whole}, l2 constraint"
        ),
        "roc.png": figures.roc_curves(
            {name: [roc(anomalous, score)[:2]] for name, score in scores.items()}, title=held_out
        ),
        "scores.png": figures.histogram(
            {"normal": v[~anomalous], "anomalies": v[anomalous]},
            tau,
            x="normality v (Eq. 5)",
            title=f"{held_out}, l2 constraint",
        ),
    }


def write(out: Path, drawn: dict[str, Figure]) -> None:
    """Remove metrics.json, which belongs to the figures before, and write the figures."""
    (out / METRICS).unlink(missing_ok=True)
    for name, figure in drawn.items():
        figures.save(figure, out / name)
