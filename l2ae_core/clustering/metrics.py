"""How well clusters and classes agree. Labels may be any values: integers, gaps, strings, objects.

    acc = max_m Σ_i 1{l_i = m(c_i)} / n                                                    (Eq. 6)

where l_i is the class of sample i, c_i its cluster, and m ranges over the one-to-one mappings
between clusters and classes. With more clusters than classes the surplus clusters are mapped to
nothing and their samples count as wrong; with fewer, the surplus classes do. (Mapping several
clusters to one class is another metric, purity, and is not what Eq. 6 says.)
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array


class Confusion(NamedTuple):
    """Samples counted by class and cluster, matched clusters first in the order of the classes."""

    counts: Array  # (classes, clusters) int64
    classes: Array  # (classes,) values of the true labels, sorted
    clusters: Array  # (clusters,) values of the predicted labels, in the order of the columns


def accuracy(true: Array, predicted: Array) -> float:
    """Return the clustering accuracy of Eq. 6, in [0, 1].

    true (N,) and predicted (N,) hold the class and the cluster of each sample, as any values.
    ValueError when they are not of one length, are empty, or hold NaN, None or a masked entry.
    """
    counts, _, _ = _contingency(true, predicted)
    rows, columns = _matched(counts)
    return float(counts[rows, columns].sum() / counts.sum())


def matching(true: Array, predicted: Array) -> dict[Any, Any]:
    """Return the mapping m of Eq. 6: cluster -> class, or None for a cluster that gets no class.

    Keys are the values of predicted (N,), values those of true (N,), as Python scalars.
    A class that shares no sample with its cluster is still matched when both are left over.
    """
    counts, classes, clusters = _contingency(true, predicted)
    keys, values = clusters.tolist(), classes.tolist()
    m: dict[Any, Any] = dict.fromkeys(keys)
    for row, column in zip(*_matched(counts), strict=True):
        m[keys[column]] = values[row]
    return m


def confusion(true: Array, predicted: Array) -> Confusion:
    """Return the confusion matrix, its columns arranged by the mapping m of Eq. 6.

    Column i is the cluster of class i, so the diagonal holds the samples that Eq. 6 counts, as long
    as every class has a cluster; with fewer clusters than classes the columns of the classes
    without a cluster are left out. Clusters without a class come last.
    """
    counts, classes, clusters = _contingency(true, predicted)
    _, matched = _matched(counts)  # in the order of the rows
    order = np.concatenate([matched, np.setdiff1d(np.arange(len(clusters)), matched)])
    return Confusion(counts[:, order], classes, clusters[order])


def nmi(true: Array, predicted: Array) -> float:
    """Return the mutual information over the arithmetic mean of both entropies, in [0, 1]."""
    from sklearn.metrics import normalized_mutual_info_score

    _, row, _, column = _encode(true, predicted)
    return float(normalized_mutual_info_score(row, column))


def ari(true: Array, predicted: Array) -> float:
    """Return the adjusted Rand index: 1 for equal partitions, 0 on average for random ones."""
    from sklearn.metrics import adjusted_rand_score

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


def encode_labels(function: str, name: str, labels: Any) -> tuple[Array, Array]:
    """Return the distinct values of labels (N,), in order, and the index (N,) of each label.

    Values that have no order, as of mixed types, are sorted by type and text. ValueError, with the
    names of function and argument, for NaN, None, masked entries and what cannot be a key.
    """
    if np.ma.is_masked(labels):
        raise ValueError(f"{function}: {name} holds masked entries but expected labels")
    labels = _as_labels(labels)
    if labels.dtype.kind in "fcmM" and (labels != labels).any():
        raise ValueError(f"{function}: {name} holds NaN but expected labels")
    if labels.dtype.kind != "O":
        values, index = np.unique(labels, return_inverse=True)
        return values, index
    keys = labels.tolist()
    for key in keys:
        if _is_missing(key):
            raise ValueError(f"{function}: {name} holds {key!r} but expected labels")
    try:
        positions = dict.fromkeys(keys)
    except TypeError as error:
        raise ValueError(f"{function}: {name} holds what is no label: {error}") from error
    positions = {key: i for i, key in enumerate(_sorted(positions))}
    values = np.empty(len(positions), object)
    for key, i in positions.items():
        values[i] = key
    return values, np.array([positions[key] for key in keys], np.int64)


def _as_labels(labels: Any) -> Array:
    """Return labels as an array; of objects where NumPy would make text of what is none."""
    array = np.asarray(labels)
    text = array.dtype.kind in "US" and isinstance(labels, list | tuple)
    if array.dtype.kind == "T" or (text and not all(isinstance(v, str | bytes) for v in labels)):
        return np.asarray(labels, object)
    return array


def _is_missing(key: Any) -> bool:
    """Whether a value is None, or not equal to itself as NaN; pandas' NA cannot even say so."""
    try:
        return key is None or not bool(key == key)
    except (TypeError, ValueError):
        return type(key).__name__ == "NAType"


def _sorted(keys: Iterable[Any]) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=lambda key: (type(key).__name__, str(key)))


def _encode(true: Array, predicted: Array) -> tuple[Array, Array, Array, Array]:
    """Return the classes and the class index (N,), the clusters and the cluster index (N,)."""
    shapes = np.shape(_as_labels(true)), np.shape(_as_labels(predicted))
    if len(shapes[0]) != 1 or shapes[0] != shapes[1] or shapes[0] == (0,):
        raise ValueError(
            f"clustering metrics: true is {shapes[0]} and predicted is {shapes[1]} "
            "but expected both (N,) with N >= 1"
        )
    classes, row = encode_labels("clustering metrics", "true", true)
    clusters, column = encode_labels("clustering metrics", "predicted", predicted)
    return classes, row, clusters, column


def _contingency(true: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """Return counts (classes, clusters), and the values that rows and columns stand for."""
    classes, row, clusters, column = _encode(true, predicted)
    shape = (len(classes), len(clusters))
    cells = np.bincount(np.ravel_multi_index((row, column), shape), minlength=shape[0] * shape[1])
    return cells.reshape(shape), classes, clusters


def _matched(counts: Array) -> tuple[Array, Array]:
    """Return rows and columns of the one-to-one mapping with the largest sum of counts."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(counts, maximize=True)
    return rows, columns
