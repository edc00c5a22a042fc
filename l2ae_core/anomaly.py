"""Unsupervised anomaly detection (Section III-B) and how it is measured (Section IV-B).

    v_i = max_j u_i · c_j / |c_j|                                                          (Eq. 5)

The normality score v is the largest cosine between a unit representation and a centroid: a high v
is a normal sample, and v < τ is called an anomaly. It lies in [−1, 1], for the representations are
signed (the paper's [0, 1] does not hold in general), so it is never clipped.

Two directions occur, and every name here says which one it takes: `normality` is high for normal
samples, `anomaly_score` is high for anomalies. −v, 1 − v and the reconstruction error are anomaly
scores. In ROC and AUC the anomalies are the positives.

A threshold lies between two scores, never at one: the score of one sample differs by rounding with
the number of samples that are scored together, with the device and with the BLAS, and should not
change sides by that. It can only where the two scores are no farther apart than rounding is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_core.directions import unit_rows
from l2ae_core.images import parts
from l2ae_kernels.arrays import Array

# How far rounding can move a score of Eq. 5. Networks have float32 weights, whatever the dtype of
# the codes; their longest sums have 2,000 terms of either sign, so that another order of summation
# moves a cosine by about √2000 ≈ 45 units of rounding. The next power of two is taken.
ROUNDING = 64 * float(np.finfo(np.float32).eps)


def normality(u: Array, centers: Array) -> Array:
    """Return v (N,) of Eq. 5 for unit representations u (N, D) and k-means centers (K, D).

    The centers are brought to unit length here. u is taken as it is, so v may leave [−1, 1] by an
    ulp. For a network without the unit-norm constraint use `cosine_normality`.
    ValueError when shapes do not fit, something is not finite, or a center is zero.
    """
    return _over_centers("normality", u, centers, np.max)


def nearest_center(u: Array, centers: Array) -> Array:
    """Return the index (N,) of the center that attains the maximum in Eq. 5.

    It can differ from the k-means label: k-means compares u·c − |c|²/2, Eq. 5 compares u·c/|c|.
    """
    return _over_centers("nearest_center", u, centers, np.argmax)


def cosine_normality(z: Array, centers: Array, *, first: int = 0) -> Array:
    """Return max_j z_i · c_j / (|z_i| |c_j|) (N,): Eq. 5 for representations of any length.

    This is how a network without the constraint is scored, with its centers (K, D) found on z
    (N, D) itself. The paper does not say what it did there. ValueError as in `normality`, and when
    a row of z is zero: it has no direction; errors count the rows from `first`.
    """

    def directions(z: Array, start: int) -> Array:
        units, zero = unit_rows(z)
        if zero is not None:
            row = first + start + zero
            raise ValueError(f"cosine_normality: row {row} of z is zero but expected a direction")
        return units

    return _over_centers("cosine_normality", z, centers, np.max, directions)


def large_clusters(sizes: Array, share: float) -> Array:
    """Return which clusters of sizes (K,) are large, (K,) bool: the fewest that hold the share of
    all samples, from the largest on, of equal ones the first. The others are small.

    For Eq. 5 with more centers than classes: anomalies among the training samples can have a
    center of their own, which `centers[large]` leaves out. This is α of CBLOF (He, Xu and Deng,
    Pattern Recognition Letters 24, 2003). It fails where the anomalies fill a large cluster.
    ValueError unless sizes are counts, not all zero, and share is in (0, 1].
    """
    sizes = np.asarray(sizes)
    if (
        sizes.ndim != 1
        or sizes.dtype.kind not in "iu"
        or sizes.min(initial=0) < 0
        or not sizes.any()
    ):
        raise ValueError(
            f"large_clusters: sizes are {sizes!r} but expected counts (K,), not all of them zero"
        )
    if not 0 < share <= 1:
        raise ValueError(f"large_clusters: share is {share} but expected a number in (0, 1]")
    order = np.argsort(-sizes.astype(np.int64), kind="stable")
    held = np.cumsum(sizes[order])
    enough = share * float(held[-1]) * (1 - 4 * np.finfo(np.float64).eps)  # 0.07 · 100 is above 7
    large = np.zeros(len(sizes), bool)
    large[order[: np.searchsorted(held, enough) + 1]] = True
    return large


def reconstruction_error(x: Array, x_hat: Array) -> Array:
    """Return Σ (x_hat − x)² over all but the first axis: (N,) float64, an anomaly score.

    Integers, bool and float16 are subtracted as float64, in which no difference wraps around.
    ValueError when x (N, ...) and x_hat differ in shape.
    """
    if x.shape != x_hat.shape or x.ndim < 2:
        raise ValueError(
            f"reconstruction_error: x is {x.shape} and x_hat is {x_hat.shape} "
            "but expected one shape (N, ...)"
        )
    difference = (_real(x_hat) - _real(x)).reshape(len(x), -1)
    error: Array = np.square(difference).sum(axis=1, dtype=np.float64)
    return error


def roc(anomalous: Array, anomaly_score: Array) -> tuple[Array, Array, Array]:
    """Return false-positive rates, true-positive rates and thresholds of the ROC curve.

    anomalous (N,) is bool, True for an anomaly: the positive class. anomaly_score (N,) is high for
    anomalies; a sample is called one when its score is at or above the threshold. The curve goes
    from (0, 0), at a threshold of infinity, to (1, 1).
    ValueError when only one of the two kinds occurs, or a score is not finite.
    """
    from sklearn.metrics import roc_curve

    fpr, tpr, thresholds = roc_curve(*_scored("roc", anomalous, anomaly_score))
    return fpr, tpr, thresholds


def auc(anomalous: Array, anomaly_score: Array) -> float:
    """Return the area under the ROC curve: P(an anomaly scores above a normal sample), ties half.

    0.5 is chance, and what a constant score gets. Arguments and errors are those of `roc`.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_scored("auc", anomalous, anomaly_score)))


def auprc(anomalous: Array, anomaly_score: Array) -> float:
    """Return the area under the curve of precision and recall, as average precision.

    Chance is the share of anomalies, not 0.5. Arguments and errors are those of `roc`.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_scored("auprc", anomalous, anomaly_score)))


def threshold_at_fpr(normality_of_normals: Array, fpr: float) -> float:
    """Return a τ below which lies at most the share `fpr` of known normal samples, as many as can.

    normality_of_normals (N,): high is normal, as Eq. 5; fpr in [0, 1). τ is halfway between the
    lowest score that is to stay above it and the next lower one; below all scores, by what rounding
    can do to one, where none is to lie under it. With ties the share below τ can be smaller than
    asked for, never larger.
    ValueError when out of range or not finite.
    """
    allowed = allowed_outside("threshold_at_fpr: fpr", fpr, np.size(normality_of_normals))
    return threshold_below("threshold_at_fpr", normality_of_normals, allowed)


def threshold_at_contamination(normality: Array, contamination: float) -> float:
    """Return a τ below which lies at most the share `contamination` of samples, as many as can.

    normality (N,) of the training samples, anomalies among them: high is normal, as Eq. 5;
    contamination in [0, 1). Everything else is as in `threshold_at_fpr`.
    """
    function = "threshold_at_contamination"
    allowed = allowed_outside(f"{function}: contamination", contamination, np.size(normality))
    return threshold_below(function, normality, allowed)


def allowed_outside(name: str, share: float, n: int) -> int:
    """Return how many of n samples are at most the share; ValueError unless it is in [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(f"{name} is {share} but expected a share in [0, 1)")
    # The product is raised by a few ulps: 0.29 · 100 is 28.999… in floating point.
    return min(int(share * n * (1 + 4 * np.finfo(np.float64).eps)), max(n - 1, 0))


def threshold_below(function: str, scores: Array, allowed: int) -> float:
    """Return a τ below which lie at most `allowed` < N of the scores (N,), as many as can.

    ValueError, naming the function, when there are no scores or not all are finite.
    """
    scores = require_scores(function, scores)
    # With `allowed` samples below it, the next one in order is the lowest that stays above.
    lowest = np.partition(scores, allowed)[allowed]
    lower = scores[scores < lowest]
    if not lower.size:
        return float(lowest) - ROUNDING * max(1.0, abs(float(lowest)))
    return _halfway(float(lower.max()), float(lowest))


def require_scores(function: str, scores: Array) -> Array:
    """Return scores as an array; ValueError, naming the function, unless finite (N,), N ≥ 1."""
    scores = np.asarray(scores)
    if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"{function}: scores are {scores.shape} but expected finite (N,), N ≥ 1")
    return scores


def contaminate(
    labels: Array, anomaly_class: object, *, keep: float = 0.1, rng: np.random.Generator
) -> Array:
    """Return the sorted indices of the training part of Section IV-B.

    It has every sample of the other classes and a random share `keep` of `anomaly_class`, rounded
    to whole samples; the rest of that class is left out.
    ValueError when keep is not in [0, 1] or no label equals anomaly_class.
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"contaminate: keep is {keep} but expected a share in [0, 1]")
    anomalous = np.asarray(labels) == anomaly_class
    members = np.flatnonzero(anomalous)
    if members.size == 0:
        raise ValueError(f"contaminate: anomaly_class is {anomaly_class!r} but no label equals it")
    kept = rng.choice(members, size=round(keep * members.size), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(~anomalous), kept]))


def _real(a: Array) -> Array:
    """Return `a` as an array, integers, bool and float16 as float64."""
    a = np.asarray(a)
    return a.astype(np.float64) if a.dtype.kind in "iub" or a.dtype == np.float16 else a


def _over_centers(
    function: str,
    u: Array,
    centers: Array,
    reduce: Callable[..., Any],
    prepare: Callable[[Array, int], Array] | None = None,
) -> Array:
    """Return `reduce` over the centers of u · c / |c| (N, K): (N,), of some samples at a time.

    The parts of u are `prepare`d: each with the position of its first row.
    """
    u, centers = np.asarray(u), _real(centers)
    if u.ndim != 2 or centers.ndim != 2 or u.shape[1] != centers.shape[1] or len(centers) == 0:
        raise ValueError(
            f"{function}: representations are {u.shape} and centers are {centers.shape} "
            "but expected (N, D) and (K, D) with equal D and K >= 1"
        )
    _require_finite(function, "centers", centers)
    units, zero = unit_rows(centers)
    if zero is not None:
        raise ValueError(f"{function}: center {zero} is zero but expected a direction")
    directions = units.T  # (D, K)

    def reduced(part: slice) -> Array:
        some = _real(u[part])
        if prepare is not None:
            some = prepare(some, part.start)
        _require_finite(function, "representations", some)
        found: Array = reduce(_products(some, directions), axis=1)
        return found

    return np.concatenate([reduced(part) for part in parts(len(u))])


def _products(u: Array, directions: Array) -> Array:
    """Return u · c (n, K) of representations u (n, D) and directions c (D, K).

    For K = 1 without BLAS: its products of a matrix and a vector sum up a row by where it lies
    among the others, and by the number of threads.
    """
    if directions.shape[1] > 1:
        return u @ directions
    products: Array = (u * directions[:, 0]).sum(axis=1, keepdims=True)
    return products


def _require_finite(function: str, name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{function}: {name} hold NaN or infinity but expected numbers")


def _scored(function: str, anomalous: Array, anomaly_score: Array) -> tuple[Array, Array]:
    anomalous, anomaly_score = np.asarray(anomalous), np.asarray(anomaly_score)
    if anomalous.ndim != 1 or anomalous.shape != anomaly_score.shape or anomalous.dtype != bool:
        raise ValueError(
            f"{function}: anomalous is {anomalous.shape} {anomalous.dtype} and anomaly_score is "
            f"{anomaly_score.shape} but expected bool (N,) and (N,)"
        )
    if anomalous.all() or not anomalous.any():
        raise ValueError(
            f"{function}: anomalous is True for {int(anomalous.sum())} of {anomalous.size} samples "
            "but expected both kinds"
        )
    if not np.isfinite(anomaly_score).all():
        raise ValueError(f"{function}: anomaly_score holds NaN or infinity but expected numbers")
    return anomalous, anomaly_score


def _halfway(low: float, high: float) -> float:
    """Return τ with low < τ <= high, halfway; τ = high where no number lies between the two."""
    middle = low / 2 + high / 2  # the sum of the two may overflow
    return middle if low < middle < high else high
