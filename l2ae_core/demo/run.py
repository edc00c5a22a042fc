"""`run_demo`: both experiments, their scores beside chance, and the files."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config

from l2ae_core import anomaly
from l2ae_core.classes import training_data
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.metrics import chance_scores, clustering_scores
from l2ae_core.data import Dataset, load
from l2ae_core.demo import figures
from l2ae_core.demo.experiments import (
    ANOMALY_DIGIT,
    BATCH_SIZE,
    CLASSES,
    EPOCHS,
    DemoClusters,
    DemoScores,
    DemoSettings,
    both,
)
from l2ae_core.environment import versions
from l2ae_core.files import METRICS, check_out, write_json
from l2ae_core.networks.architectures import Norm
from l2ae_core.seeding import rngs
from l2ae_core.settings import DEFAULTS
from l2ae_kernels.cpu.threads import MOST, threads

FLAGGED = 0.05  # share of the training images below τ
INTRODUCTION = (
    "l2ae demo: trains four small networks on 8 × 8 digits, two to cluster and two to find "
    "anomalies;\nunder 90 seconds on two idle cores. The first start on a machine also compiles "
    "the kernels: the first\nbar stands still meanwhile."
)


def run_demo(
    out: Path | None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    anomaly_digit: int = ANOMALY_DIGIT,
    progress: bool = True,
) -> dict[str, Any]:
    """Run the method on the embedded digits, with and without the constraint of Eq. 4.

    Clustering (Section IV-A): trains on all 1,797 images; k-means, k = 10, on the codes.
    Anomalies (Section IV-B): trains on the train split with a tenth of `anomaly_digit`, for three
    fifths of `epochs`; k-means, k = 9; scores the test split by Eq. 5, and by the reconstruction
    error of the network with the constraint. Labels are used for the scores, and to leave the
    anomalies out; never to train or to choose an epoch: each network is that of its lowest loss.

    Returns, and writes to `out`/metrics.json, JSON values: "clustering" with "acc", "nmi", "ari" of
    "l2", "none" and "chance"; "anomaly" with "auc" of "l2", "none", "reconstruction" and "chance",
    and its counts; "pixels", k-means on the images themselves; "settings", "seconds", "versions",
    "figures" (file names). The returned dict has `out` besides, as text or None.

    With `out`, a folder made when missing, the figures are written too; every file is written whole
    or not at all, after all trainings, and metrics.json last.
    Raises ValueError for a digit that is none, NotADirectoryError or PermissionError, before the
    first training, when `out` cannot be written to; KeyboardInterrupt goes through.
    """
    started = perf_counter()
    if anomaly_digit not in range(CLASSES):
        raise ValueError(f"run_demo: anomaly_digit is {anomaly_digit} but expected 0 … 9")
    if out is not None:
        check_out(out / METRICS)  # a mistake shows before a minute of training, not after it
        out.mkdir(parents=True, exist_ok=True)
    settings = DemoSettings(seed, epochs, anomaly_digit, progress)
    settings.say(INTRODUCTION)
    data, test = load("digits"), load("digits", split="test")
    mixed = training_data(
        DEFAULTS | {"split": "train", "anomaly_class": anomaly_digit, "seed": seed}, None
    )  # Section IV-B: all but the share `keep` of the anomalies left out
    clusters, scores = _side_by_side(data, mixed, test, settings)
    metrics: dict[str, Any] = {
        **clustering_metrics(data, clusters, seed),
        "anomaly": anomaly_metrics(mixed, test, scores, anomaly_digit),
        "settings": {
            "data": data.name,
            "images": len(data),
            "seed": seed,
            "epochs": epochs,
            "anomaly_epochs": settings.anomaly_epochs,
            "batch_size": BATCH_SIZE,
            "n_init": DEFAULTS["n_init"],
        },
    }
    drawn = {}
    if out is not None:
        settings.say("drawing the figures")
        drawn = figures.draw(data, clusters, test, scores, metrics, settings)
    metrics |= {
        "figures": list(drawn),
        "seconds": round(perf_counter() - started, 2),
        "versions": versions(),
    }
    if out is not None:
        figures.write(out, drawn)
        write_json(out / METRICS, metrics)
    return metrics | {"out": None if out is None else str(out)}


def _side_by_side(
    data: Dataset, mixed: Dataset, test: Dataset, settings: DemoSettings
) -> tuple[dict[Norm, DemoClusters], dict[Norm, DemoScores]]:
    """Both experiments with both networks, each network on a core of its own.

    Steps on 64 tiny images are too short to be shared by threads, so the network without the
    constraint trains in a second process. The bars show the other one; both take as long.
    """
    quiet = replace(settings, progress=False)
    with parallel_config("loky", inner_max_num_threads=1):
        work = Parallel(n_jobs=min(2, MOST), return_as="generator")
        second = work([delayed(both)("none", data, mixed, test, quiet)])
    with threads(1):
        results: dict[Norm, tuple[DemoClusters, DemoScores]] = {
            "l2": both("l2", data, mixed, test, settings),
            "none": next(second),
        }
    second.close()
    return {n: r[0] for n, r in results.items()}, {n: r[1] for n, r in results.items()}


def clustering_metrics(
    data: Dataset, clusters: dict[Any, DemoClusters], seed: int
) -> dict[str, Any]:
    """Scores of both networks, of chance, and of k-means on the images themselves."""
    assert data.labels is not None  # the digits have labels
    scores = {norm: clustering_scores(data.labels, c.labels) for norm, c in clusters.items()}
    scores["chance"] = chance_scores(data.labels, CLASSES, rngs(seed).split)
    pixels = kmeans(np.asarray(data.images).reshape(len(data), -1), CLASSES, rng=rngs(seed).kmeans)
    return {"clustering": scores, "pixels": clustering_scores(data.labels, pixels.labels)}


def anomaly_metrics(
    train: Dataset, test: Dataset, scores: dict[Any, DemoScores], digit: int
) -> dict[str, Any]:
    """AUC of the three scores; τ of Eq. 5 from the training images, which are not labelled."""
    assert train.labels is not None
    assert test.labels is not None
    anomalous = test.labels == digit  # (N,)
    l2 = scores["l2"]
    tau = anomaly.threshold_at_contamination(l2.train_normality, FLAGGED)
    below = l2.normality.astype(np.float64) < tau  # in float32 τ would be rounded
    return {
        **{norm: {"auc": anomaly.auc(anomalous, -s.normality)} for norm, s in scores.items()},
        "reconstruction": {"auc": anomaly.auc(anomalous, l2.error)},
        "chance": {"auc": 0.5},
        "digit": digit,
        "kept_in_training": DEFAULTS["keep"],
        "train": {
            "images": len(train),
            "anomalies": int((train.labels == digit).sum()),
        },
        "test": {"images": len(test), "anomalies": int(anomalous.sum())},
        "prevalence": float(anomalous.mean()),
        "threshold": {
            "tau": tau,
            "training_share_below": FLAGGED,
            "false_positive_rate": float(np.mean(below[~anomalous])),
            "true_positive_rate": float(np.mean(below[anomalous])),
        },
    }
