"""How well clusters and classes agree. Labels may be any values: integers, gaps, strings.

    acc = max_m Σ_i 1{l_i = m(c_i)} / n                                                    (Eq. 6)

where l_i is the class of sample i, c_i its cluster, and m ranges over the one-to-one mappings
between clusters and classes. With more clusters than classes the surplus clusters are mapped to
nothing and their samples count as wrong; with fewer, the surplus classes do. (Mapping several
clusters to one class is another metric, purity, and is not what Eq. 6 says.)
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from l2ae_kernels.arrays import Array


class Confusion(NamedTuple):
    """Samples counted by class and cluster, matched clusters first in the order of the classes."""

    counts: Array  # (classes, clusters) int64
    classes: Array  # (classes,) values of the true labels, sorted
    clusters: Array  # (clusters,) values of the predicted labels, in the order of the columns


def accuracy(true: Array, predicted: Array) -> float:
    """Return the clustering accuracy of Eq. 6, in [0, 1].

    true (N,) and predicted (N,) hold the class and the cluster of each sample, as any values.
    ValueError when they are not of one length, are empty, or hold NaN.
    """
    counts, _, _ = _contingency(true, predicted)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def matching(true: Array, predicted: Array) -> dict[Any, Any]:
    """Return the mapping m of Eq. 6: cluster -> class, or None for a cluster that gets no class.

    Keys are the values of predicted (N,), values those of true (N,), as Python scalars.
    A class that shares no sample with its cluster is still matched when both are left over.
    """
    counts, classes, clusters = _contingency(true, predicted)
    m: dict[Any, Any] = dict.fromkeys(clusters.tolist())
    for row, column in zip(*linear_sum_assignment(counts, maximize=True), strict=True):
        m[clusters[column].item()] = classes[row].item()
    return m


def confusion(true: Array, predicted: Array) -> Confusion:
    """Return the confusion matrix, its columns arranged by the mapping m of Eq. 6.

    Column i is the cluster of class i, so the diagonal holds the samples that Eq. 6 counts, as long
    as every class has a cluster; with fewer clusters than classes the columns of the classes
    without a cluster are left out. Clusters without a class come last.
    """
    counts, classes, clusters = _contingency(true, predicted)
    _, matched = linear_sum_assignment(counts, maximize=True)  # in the order of the rows
    order = np.concatenate([matched, np.setdiff1d(np.arange(len(clusters)), matched)])
    return Confusion(counts[:, order], classes, clusters[order])


def nmi(true: Array, predicted: Array) -> float:
    """Return the mutual information over the arithmetic mean of both entropies, in [0, 1]."""
    _, row, _, column = _encode(true, predicted)
    return float(normalized_mutual_info_score(row, column))


def ari(true: Array, predicted: Array) -> float:
    """Return the adjusted Rand index: 1 for equal partitions, 0 on average for random ones."""
    _, row, _, column = _encode(true, predicted)
    return float(adjusted_rand_score(row, column))


def clustering_scores(true: Array, predicted: Array) -> dict[str, float]:
    """Return {"acc", "nmi", "ari"} of predicted (N,) against true (N,)."""
    return {
        "acc": accuracy(true, predicted),
        "nmi": nmi(true, predicted),
        "ari": ari(true, predicted),
    }


def chance_scores(
    true: Array, n_clusters: int, rng: np.random.Generator, repeats: int = 20
) -> dict[str, float]:
    """Return the mean {"acc", "nmi", "ari"} of labels that know nothing: the chance level.

    Each repeat draws one of n_clusters labels uniformly for every sample of true (N,). Eq. 6 picks
    the best mapping afterwards, so the accuracy of chance lies above 1 / n_clusters.
    ValueError when n_clusters or repeats is below 1.
    """
    for name, value in {"n_clusters": n_clusters, "repeats": repeats}.items():
        if value < 1:
            raise ValueError(f"chance_scores: {name} is {value} but expected at least 1")
    drawn = [
        clustering_scores(true, rng.integers(n_clusters, size=len(true))) for _ in range(repeats)
    ]
    return {name: float(np.mean([scores[name] for scores in drawn])) for name in drawn[0]}


def _encode(true: Array, predicted: Array) -> tuple[Array, Array, Array, Array]:
    """Return the classes and the class index (N,), the clusters and the cluster index (N,)."""
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.ndim != 1 or true.shape != predicted.shape or true.size == 0:
        raise ValueError(
            f"clustering metrics: true is {true.shape} and predicted is {predicted.shape} "
            "but expected both (N,) with N >= 1"
        )
    for name, labels in {"true": true, "predicted": predicted}.items():
        if labels.dtype.kind in "fc" and np.isnan(labels).any():
            raise ValueError(f"clustering metrics: {name} holds NaN but expected labels")
    classes, row = np.unique(true, return_inverse=True)
    clusters, column = np.unique(predicted, return_inverse=True)
    return classes, row, clusters, column


def _contingency(true: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """Return counts (classes, clusters), and the values that rows and columns stand for."""
    classes, row, clusters, column = _encode(true, predicted)
    shape = (len(classes), len(clusters))
    cells = np.bincount(np.ravel_multi_index((row, column), shape), minlength=shape[0] * shape[1])
    return cells.reshape(shape), classes, clusters
