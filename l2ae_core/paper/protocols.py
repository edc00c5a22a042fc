"""How the paper compares systems: by clusters of all images, or by finding one digit.

Clustering (Tables I–III): fit and cluster all images, then compare with the labels, which are
looked at here and nowhere else, after everything has been trained and clustered.

Detection (Tables IV and V): one digit is the anomaly, the other nine are normal. Training: the
train split, with a random tenth of the anomaly (none of it for systems that train on normal images
alone). k-means with k = 9. Scores: all test images, the anomaly being positive.
"""

from dataclasses import dataclass, field

import numpy as np

from l2ae_core import data
from l2ae_core.anomaly import auc, auprc, contaminate, roc
from l2ae_core.clustering.metrics import chance_scores, clustering_scores, confusion
from l2ae_core.data import Dataset
from l2ae_core.paper.result import (
    ClusteringDetails,
    Count,
    Details,
    DetectionDetails,
    Environment,
    Result,
    Roc,
    Seconds,
)
from l2ae_core.paper.run import CLASSES, ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.seeding import rngs
from l2ae_kernels.arrays import Array

CLUSTERS = CLASSES - 1  # in detection
KEEP = 0.1  # share of the anomaly that stays in training
CURVE_POINTS = 101  # of a ROC curve in a result file


@dataclass(frozen=True, eq=False)
class ClusteringResult:
    """What a method makes of a data set.

    `others` are clusterings of the same images by name: "post_hoc_l2" (codes brought to unit length
    after training), "last" (weights of the last epoch), "start" (before a refinement).
    """

    labels: Array  # (N,)
    others: dict[str, Array] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)  # that are not functions of labels
    details: Details = field(default_factory=Details)
    seconds: float = 0.0  # of training
    arrays: dict[str, Array] = field(default_factory=dict)  # images for the report
    clusters: int = CLASSES  # how many there may be
    chance: dict[str, float] = field(default_factory=dict)  # of those of `scores` that have one


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """Anomaly scores of the test images by name, high for anomalies."""

    scores: dict[str, Array]  # (N,) each
    details: Details = field(default_factory=Details)
    seconds: float = 0.0  # of training
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Partition:
    """The images that one run trains on, and those that it scores."""

    train: Dataset
    test: Dataset
    anomalous: Array  # (N,) bool, of the test images


def load_all(run: Run, folder: ResultsDir) -> Dataset:
    """Return train and test images together, as DEC, IDEC and DCEC use them."""
    dataset = data.load(run.data, data_dir=folder.data_dir, split="all")
    if dataset.labels is None:
        raise ValueError(f"reproduce: {dataset.name} has no labels, so there is nothing to compare")
    return dataset


def kmeans_rng(run: Run) -> np.random.Generator:
    """Return the generator of the first centers of k-means."""
    return rngs(run.seed).kmeans


def keep_share(run: Run) -> float:
    """Share of the anomaly class in training."""
    return 0.0 if find_system(run.system).normals_only else KEEP


def partition(run: Run, folder: ResultsDir) -> Partition:
    """Draw the partition of a run: the seed says which tenth of the anomaly stays."""
    train = data.load(run.data, data_dir=folder.data_dir, split="train")
    test = data.load(run.data, data_dir=folder.data_dir, split="test")
    if train.labels is None or test.labels is None:
        raise ValueError(f"reproduce: {run.data} has no labels, so no class can be the anomaly")
    assert run.digit is not None  # of a run of detection
    kept = contaminate(train.labels, run.digit, keep=keep_share(run), rng=rngs(run.seed).split)
    return Partition(train.subset(kept), test, test.labels == run.digit)


def compare_clusters(
    run: Run, dataset: Dataset, found: ClusteringResult, seconds: float, environment: Environment
) -> Result:
    """Compare the labels that were found with the true ones; `seconds` are those of all."""
    true = dataset.labels
    assert true is not None  # of `load_all`
    scores: dict[str, float] = clustering_scores(true, found.labels)
    for name, labels in found.others.items():
        scores |= {f"{name}.{k}": v for k, v in clustering_scores(true, labels).items()}
    counts = confusion(true, found.labels)
    details = ClusteringDetails(
        **vars(found.details), images=len(dataset), confusion=counts.counts.tolist(),
        classes=counts.classes.tolist(),
    )  # fmt: skip
    chance = chance_scores(true, found.clusters, np.random.default_rng(run.seed))
    return Result(run, scores | found.scores, chance | found.chance, details,
                  Seconds(found.seconds, seconds), environment)  # fmt: skip


def measure_detection(
    run: Run, images: Partition, found: DetectionResult, seconds: float, environment: Environment
) -> Result:
    """Measure every score by AUC and by the area under precision and recall."""
    y, train_labels = images.anomalous, images.train.labels
    assert train_labels is not None
    scores: dict[str, float] = {}
    for name, s in found.scores.items():
        scores |= {f"{name}.auc": auc(y, s), f"{name}.auprc": auprc(y, s)}
    grid = np.linspace(0, 1, CURVE_POINTS)
    tpr = {name: _curve(y, s, grid) for name, s in found.scores.items()}
    details = DetectionDetails(
        **vars(found.details),
        images=Count(len(images.train), len(images.test)),
        anomalies=Count(int((train_labels == run.digit).sum()), int(y.sum())),
        roc=Roc(grid.round(4).tolist(), tpr),
    )
    chance = {"auc": 0.5, "auprc": float(y.mean())}
    return Result(run, scores, chance, details, Seconds(found.seconds, seconds), environment)


def _curve(anomalous: Array, score: Array, grid: Array) -> list[float]:
    """The true-positive rates of the ROC curve at given false-positive rates."""
    fpr, tpr, _ = roc(anomalous, score)
    rates: list[float] = np.interp(grid, fpr, tpr).round(4).tolist()
    return rates
