"""The protocol of Tables IV and V: one digit is the anomaly, the other nine are normal.

Training: the train split, with a random tenth of the anomaly (none of it for systems that train on
normal images alone). k-means with k = 9. Scores: all test images, the anomaly being positive.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from l2ae_core import data
from l2ae_core.anomaly import auc, auprc, contaminate, roc
from l2ae_core.data import Dataset
from l2ae_core.paper.run import CLASSES, Folder, Result, Run
from l2ae_core.paper.systems import find_system
from l2ae_core.seeding import rngs
from l2ae_kernels.arrays import Array

CLUSTERS = CLASSES - 1
KEEP = 0.1  # share of the anomaly that stays in training
CURVE_POINTS = 101  # of a ROC curve in a result file


@dataclass(eq=False)
class Scored:
    """What a method gives back: anomaly scores of the test images, high for anomalies, by name."""

    scores: dict[str, Array]  # (N,) each
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # of training
    arrays: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Partition:
    """The images that one run trains on, and those that it scores."""

    train: Dataset
    test: Dataset
    anomalous: Array  # (N,) bool, of the test images


def keep_share(run: Run) -> float:
    """Share of the anomaly class in training."""
    return 0.0 if find_system(run.system).clean else KEEP


def partition(run: Run, folder: Folder) -> Partition:
    """Draw the partition of a run: the seed says which tenth of the anomaly stays."""
    train = data.load(run.data, data_dir=folder.data_dir, split="train")
    test = data.load(run.data, data_dir=folder.data_dir, split="test")
    if train.labels is None or test.labels is None:
        raise ValueError(f"reproduce: {run.data} has no labels, so no class can be the anomaly")
    kept = contaminate(train.labels, run.digit, keep=keep_share(run), rng=rngs(run.seed).split)
    return Partition(train.subset(kept), test, test.labels == run.digit)


def to_result(run: Run, images: Partition, found: Scored, environment: dict[str, Any]) -> Result:
    """Measure every score by AUC and by the area under precision and recall."""
    y = images.anomalous
    scores = {n: {"auc": auc(y, s), "auprc": auprc(y, s)} for n, s in found.scores.items()}
    assert images.train.labels is not None
    details = found.details | {
        "images": {"train": len(images.train), "test": len(images.test)},
        "anomalies": {
            "train": int((images.train.labels == run.digit).sum()),
            "test": int(y.sum()),
        },
        "roc": {name: _curve(y, s) for name, s in found.scores.items()},
    }
    chance = {"auc": 0.5, "auprc": float(y.mean())}
    return Result(run.config, scores, chance, details, {"training": found.seconds}, environment)


def _curve(anomalous: Array, score: Array) -> dict[str, list[float]]:
    """The ROC curve at evenly spaced false-positive rates, for a small file."""
    fpr, tpr, _ = roc(anomalous, score)
    grid = np.linspace(0, 1, CURVE_POINTS)
    return {"fpr": grid.round(4).tolist(), "tpr": np.interp(grid, fpr, tpr).round(4).tolist()}
