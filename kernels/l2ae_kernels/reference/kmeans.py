"""The two halves of a k-means iteration, in plain NumPy.

    assign   a_i = argmin_j |x_i − c_j|²                          the nearest center of each sample
    update   s_j = Σ_{i: a_i = j} x_i,   n_j = |{i: a_i = j}|     the new centers are s_j / n_j

These functions are the specification of every faster rung. Distances come from differences, never
from |x|² − 2x·c + |c|²: the expansion cancels when the samples lie far from the origin, and
duplicates would no longer be at distance 0. Sums are float64 and counts are integers.
"""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array


def assign(
    x: Array, centers: Array, out_labels: Array | None = None, out_distances: Array | None = None
) -> tuple[Array, Array]:
    """Return the label of the nearest center and the squared distance to it, for each sample.

    x (n, d) and centers (k, d) are float32 or float64, of one dtype. labels (n,) are int32 in
    [0, k), equal distances go to the lowest index; distances (n,) are squared Euclidean, in the
    dtype of x. A distance that is NaN counts as infinite: a center with NaN is nearest to no
    sample, a sample with NaN has label 0 and an infinite distance.
    ValueError when shapes or dtypes do not fit.
    """
    check_samples(x, centers)
    labels, distances = output_buffers(x, out_labels, out_distances)
    all_distances = np.stack([((x - c) ** 2).sum(axis=1) for c in centers], axis=1)  # (n, k)
    all_distances[np.isnan(all_distances)] = np.inf
    labels[:] = all_distances.argmin(axis=1)  # argmin takes the first of equals
    distances[:] = all_distances[np.arange(len(x)), labels]
    return labels, distances


def update(x: Array, labels: Array, k: int) -> tuple[Array, Array]:
    """Return the sum of the samples of each cluster and their number.

    x (n, d) float32 or float64, labels (n,) integers in [0, k). sums (k, d) are float64, counts
    (k,) int64; both are zero for an empty cluster. The centers are sums / counts.
    ValueError when shapes do not fit or a label is not in [0, k).
    """
    check_labels(x, labels, k)
    sums = np.zeros((k, x.shape[1]), np.float64)
    for j in range(k):
        sums[j] = x[labels == j].sum(axis=0, dtype=np.float64)
    return sums, np.bincount(labels, minlength=k).astype(np.int64)


def check_samples(x: Array, centers: Array) -> None:
    """Raise ValueError unless x (n, d) and centers (k, d) fit each other."""
    if x.ndim != 2 or centers.ndim != 2 or x.shape[1] != centers.shape[1] or len(centers) == 0:
        raise ValueError(
            f"assign: x is {x.shape} and centers are {centers.shape} "
            "but expected (n, d) and (k, d) with equal d and k >= 1"
        )
    if x.dtype != centers.dtype or x.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"assign: x is {x.dtype} and centers are {centers.dtype} "
            "but expected both float32 or both float64"
        )


def check_labels(x: Array, labels: Array, k: int) -> None:
    """Raise ValueError unless labels (n,) name clusters of [0, k) for the samples x (n, d)."""
    if x.ndim != 2 or labels.shape != (len(x),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"update: x is {x.shape} and labels are {labels.shape} {labels.dtype} "
            "but expected (n, d) and (n,) integers"
        )
    if k < 1:
        raise ValueError(f"update: k is {k} but expected at least 1")
    if labels.size and (labels.min() < 0 or labels.max() >= k):
        raise ValueError(
            f"update: labels span {labels.min()} to {labels.max()} but expected 0 to {k - 1}"
        )


def output_buffers(x: Array, labels: Array | None, distances: Array | None) -> tuple[Array, Array]:
    """Return labels (n,) and distances (n,) to write to: those given, if they fit, or new ones."""
    n = len(x)
    if labels is None:
        labels = np.empty(n, np.int32)
    if distances is None:
        distances = np.empty(n, x.dtype)
    _check_buffer("out_labels", labels, (n,), np.dtype(np.int32))
    _check_buffer("out_distances", distances, (n,), x.dtype)
    return labels, distances


def _check_buffer(name: str, out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"assign: {name} is {out.shape} {out.dtype} but expected C-contiguous {shape} {dtype}"
        )
