"""The protocol of Tables I–III: fit and cluster all images, then compare with the labels.

Labels are looked at here and nowhere else: after everything has been trained and clustered.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from l2ae_core.clustering.metrics import chance_scores, clustering_scores, confusion
from l2ae_core.data import Dataset
from l2ae_core.paper.run import CLASSES, Folder, Result, Run
from l2ae_core.seeding import rngs
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Clustered:
    """What a method gives back: labels, others worth a score, and what to tell about the run.

    `others` are clusterings of the same images by name: "after" (codes brought to unit length after
    training), "last" (weights of the last epoch), "start" (before a refinement).
    """

    labels: Array  # (N,)
    others: dict[str, Array] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)  # that are not functions of labels
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # of training
    arrays: dict[str, Array] = field(default_factory=dict)  # images for the report
    clusters: int = CLASSES  # how many there may be
    chance: dict[str, Any] = field(default_factory=dict)  # of those of `scores` that are accuracies


def load_all(run: Run, folder: Folder) -> Dataset:
    """Return train and test images together, as DEC, IDEC and DCEC use them."""
    from l2ae_core import data

    return data.load(run.data, data_dir=folder.data_dir, split="all")


def to_result(run: Run, dataset: Dataset, found: Clustered, environment: dict[str, Any]) -> Result:
    """Compare the labels that were found with the true ones."""
    true = dataset.labels
    if true is None:
        raise ValueError(f"reproduce: {dataset.name} has no labels, so there is nothing to compare")
    scores: dict[str, Any] = clustering_scores(true, found.labels)
    scores |= {name: clustering_scores(true, labels) for name, labels in found.others.items()}
    counts = confusion(true, found.labels)
    details = found.details | {
        "images": len(dataset),
        "confusion": counts.counts.tolist(),
        "classes": counts.classes.tolist(),
    }
    chance = chance_scores(true, found.clusters, np.random.default_rng(run.seed))
    return Result(run.config, scores | found.scores, chance | found.chance, details,
                  {"training": found.seconds}, environment)  # fmt: skip


def seeded(run: Run) -> np.random.Generator:
    """The stream of the starts of k-means."""
    return rngs(run.seed).kmeans
