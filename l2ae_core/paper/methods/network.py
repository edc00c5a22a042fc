"""The paper's own systems: an auto-encoder with or without the constraint, then k-means.

A network is trained by `l2ae_core.commands.fit`, so that RESULTS/trainings/<id> is a run directory
like any other: `l2ae fit --resume`, `cluster`, `score` and `report` take it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_core import commands
from l2ae_core.anomaly import cosine_normality, reconstruction_error
from l2ae_core.clustering.kmeans import Clustering, kmeans
from l2ae_core.commands import TrainedRun
from l2ae_core.data import Dataset
from l2ae_core.directions import unit_rows
from l2ae_core.files import CONFIG
from l2ae_core.images import Images
from l2ae_core.layers import L2Normalize
from l2ae_core.networks import AutoEncoder
from l2ae_core.paper.protocols import (
    CLUSTERS,
    ClusteringResult,
    DetectionResult,
    Partition,
    keep_share,
    kmeans_rng,
)
from l2ae_core.paper.result import Curves, Details, Norms
from l2ae_core.paper.run import CLASSES, ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.training.history import History
from l2ae_core.training.run import load_run
from l2ae_kernels.arrays import Array

EXTREMES = 8  # best and worst reconstructions that the report shows
DIGITS = 6  # significant ones of the curves in a result file


def train(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> TrainedRun:
    """Return the network of a run and its clusters; goes on with a training that was stopped."""
    out = folder.training(run)
    return commands.fit(out, settings_of(run), dataset=dataset, resume=(out / CONFIG).exists(),
                        progress=progress, gallery=False)  # fmt: skip


def trained_start(run: Run, folder: ResultsDir) -> AutoEncoder:
    """Return the network that a run goes on from; ValueError when it is not there, trained."""
    start = run.start
    if start is None or not folder.trained(start):
        raise ValueError(f"reproduce: {run} goes on from {start}, which is not finished")
    model, _ = load_run(folder.training(start))
    return model


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run's training, as `commands.fit` takes them."""
    given = {
        "data": run.data,
        "seed": run.seed,
        "epochs": run.epochs,
        "batch_size": run.batch_size,
        "n_init": run.n_init,
        "clusters": CLASSES if run.digit is None else CLUSTERS,
        **find_system(run.system).settings,
    }
    if run.digit is not None:
        given |= {"split": "train", "anomaly_class": run.digit, "keep": keep_share(run)}
    return given


def cluster(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> ClusteringResult:
    """k-means on the codes; without the constraint also on the codes brought to unit length."""
    trained = train(run, folder, dataset, progress)
    model, history, u = trained.model, trained.history, trained.codes
    others = {"last": trained.last.labels}
    if not isinstance(model.normalize, L2Normalize):
        unit = L2Normalize().forward(u)[0]
        others["post_hoc_l2"] = kmeans(unit, CLASSES, n_init=run.n_init, rng=kmeans_rng(run)).labels
    return ClusteringResult(
        trained.best.labels,
        others,
        {"inertia": trained.best.inertia, "reconstruction_mse": history.best.loss},
        details(history, inertia=inertias(trained.best), norms=_norms(model, dataset.images)),
        seconds(history),
        pictures(dataset.images, trained.errors, lambda index: model.decode(u[index])),
    )


def score(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """Eq. 5 in the readings that the paper leaves open, and the reconstruction error.

    cosine     1 − max_j u·c_j / (|u| |c_j|), Eq. 5 for codes of any length
    dot        −max_j u·c_j / |c_j|, Eq. 5 to the letter; for unit codes the same order as cosine
    euclidean  min_j |u − c_j|
    """
    trained = train(run, folder, images.train, progress)
    model, history, x = trained.model, trained.history, images.test.images
    scores, arrays = anomaly_scores(model, trained.best.centers, x)
    return DetectionResult(
        scores,
        details(history, inertia=inertias(trained.best), norms=_norms(model, x),
                reconstruction_mse=history.best.loss),
        seconds(history),
        arrays,
    )  # fmt: skip


def anomaly_scores(
    model: AutoEncoder, centers: Array, images: Images
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the four anomaly scores (N,) of images (N, H, W, C), and pictures for the report."""
    u = model.encode(images)
    error, arrays = reconstruction_score(model, u, images)
    return cluster_scores(u, centers) | {"reconstruction": error}, arrays


def reconstruction_score(
    model: AutoEncoder, u: Array, images: Images
) -> tuple[Array, dict[str, Array]]:
    """Return the errors (N,) of images (N, H, W, C) of codes u (N, D), and pictures."""
    x, x_hat = np.asarray(images), model.decode(u)
    return reconstruction_error(x, x_hat), extremes(x, x_hat)


def cluster_scores(u: Array, centers: Array) -> dict[str, Array]:
    """Return the three anomaly scores (N,) of codes u (N, D) and centers (K, D)."""
    directions = unit_rows(centers)[0]
    squared = ((u[:, None, :] - centers) ** 2).sum(axis=2)  # (N, K)
    return {
        "cosine": 1 - cosine_normality(u, centers),
        "dot": -(u @ directions.T).max(axis=1),
        "euclidean": np.sqrt(squared.min(axis=1)),
    }


def details(history: History, **more: Any) -> Details:
    """Return what happened epoch by epoch, rounded for a small file, and `more` of `Details`."""
    names = ("loss", "latent_norm_mean", "latent_norm_min")
    curves = Curves(*([_rounded(getattr(r, name)) for r in history] for name in names))
    return Details(history=curves, best_epoch=history.best.epoch, **more)


def seconds(history: History) -> float:
    """The seconds of a training."""
    return sum(record.seconds for record in history)


def inertias(found: Clustering) -> list[float]:
    """The inertia at the end of every restart: which solutions k-means has, and how often."""
    return [_rounded(restart[-1]) for restart in found.restarts]


def extremes(images: Array, reconstructions: Array) -> dict[str, Array]:
    """The images that a network reproduces worst and best, beside what it makes of them."""
    error = reconstruction_error(images, reconstructions)
    return pictures(images, error, lambda index: reconstructions[index])


def pictures(
    images: Images, error: Array, reconstruct: Callable[[Array], Array]
) -> dict[str, Array]:
    """`extremes` by errors (N,) that are known, and a function from indices to reconstructions."""
    order = np.argsort(error, kind="stable")
    chosen = {"best": order[:EXTREMES], "worst": order[: -EXTREMES - 1 : -1]}
    arrays = {}
    for name, index in chosen.items():
        arrays[name] = _bytes(images[index])
        arrays[f"{name}_reconstructions"] = _bytes(reconstruct(index))
    return arrays


def _bytes(images: Array) -> Array:
    """Grey values 0 … 255; what a linear output has outside [0, 1] cannot be shown."""
    shown: Array = np.rint(255 * images.clip(0, 1)).astype(np.uint8)
    return shown


def _norms(model: AutoEncoder, images: Images) -> Norms:
    """Lengths |z| of the codes before the normalization."""
    lengths = np.linalg.norm(model.latent(images), axis=1)
    return Norms(*(_rounded(np.quantile(lengths, q)) for q in (0, 0.25, 0.5, 0.75, 1)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
