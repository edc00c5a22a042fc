"""The two halves of a k-means iteration, in plain NumPy.

    assign   a_i = argmin_j |x_i − c_j|²                          the nearest center of each sample
    update   s_j = Σ_{i: a_i = j} x_i,   n_j = |{i: a_i = j}|     the new centers are s_j / n_j

These functions are the specification of every faster rung. Distances come from differences, never
from |x|² − 2x·c + |c|²: the expansion cancels when the samples lie far from the origin, and
duplicates would no longer be at distance 0. Sums are float64 and counts are integers.
"""

import numpy as np

from l2ae_kernels.arrays import Array


def assign(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return the label of the nearest center and the squared distance to it, for each sample.

    x (n, d) and centers (k, d) are float32 or float64, of one dtype. labels (n,) are int32 in
    [0, k), equal distances go to the lowest index; distances (n,) are squared Euclidean, in the
    dtype of x. A distance that is NaN counts as infinite: a center with NaN is nearest to no
    sample, a sample with NaN has label 0 and an infinite distance.
    """
    all_distances = np.stack([((x - c) ** 2).sum(axis=1) for c in centers], axis=1)  # (n, k)
    all_distances[np.isnan(all_distances)] = np.inf
    labels = all_distances.argmin(axis=1).astype(np.int32)  # argmin takes the first of equals
    return labels, all_distances[np.arange(len(x)), labels]


def update(x: Array, labels: Array, k: int) -> tuple[Array, Array]:
    """Return the sum of the samples of each cluster and their number.

    x (n, d) float32 or float64, labels (n,) integers in [0, k). sums (k, d) are float64, counts
    (k,) int64; both are zero for an empty cluster. The centers are sums / counts.
    """
    sums = np.zeros((k, x.shape[1]), np.float64)
    for j in range(k):
        sums[j] = x[labels == j].sum(axis=0, dtype=np.float64)
    return sums, np.bincount(labels, minlength=k).astype(np.int64)
