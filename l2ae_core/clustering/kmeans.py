"""k-means on the representations: the clustering of Section III-A.

    minimise  inertia = Σ_i |x_i − c_{l_i}|²   over the labels l_i and the centers c_j

Lloyd's iteration alternates the two halves, and each can only lower the inertia:

    assign   l_i = argmin_j |x_i − c_j|²   (then an empty cluster moves to the worst-served point)
    update   c_j = mean of the points with l_i = j

The loop ends on an assignment, so labels, centers and inertia always belong together. This file
owns the policy; the arithmetic on the points is in `l2ae_kernels`.
"""

import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from l2ae_core.clustering.start import kmeans_plus_plus
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array


@dataclass(eq=False)
class Clustering:
    """What k-means found. `labels`, `centers` and `inertia` belong together."""

    labels: Array  # (N,) int32, the nearest center of each point; ties go to the lowest index
    centers: Array  # (K, D), in the dtype of the points; of unit length when spherical
    inertia: float  # Σ_i |x_i − c_{l_i}|², summed in float64
    n_iter: int  # updates of the centers in the best restart
    restarts: list[list[float]] = field(default_factory=list)  # inertia after every assignment
    spherical: bool = False

    def predict(self, x: Array) -> Array:
        """Return the label int32 (N,) of the nearest center for each row of x (N, D).

        x is brought to the dtype of the centers, and to unit length when spherical.
        ValueError when x holds NaN or its features do not fit.
        """
        points = _points("predict", x).astype(self.centers.dtype, copy=False)
        if self.spherical:
            points = _unit_rows("predict", points)
        labels: Array = ops.assign(points, self.centers)[0]
        return labels


def kmeans(
    x: Array,
    n_clusters: int,
    *,
    n_init: int = 20,
    max_iter: int = 300,
    tol: float = 0.0,
    rng: np.random.Generator,
    init: str | Array = "k-means++",
    spherical: bool = False,
    progress: bool = False,
) -> Clustering:
    """Cluster the rows of x (N, D) into n_clusters and return the best of n_init restarts.

    x: float32 or float64, whose dtype is kept; integers are taken as float64.
    n_init: restarts; the lowest inertia wins, the earliest of equals.
    max_iter: the most updates of the centers in a restart. A restart ends sooner when an assignment
        changes no label, or when Σ_j |c_j' − c_j|² <= tol · (mean variance of the features).
    rng: gives one seed to each restart, so restart r does not depend on n_init.
    init: "k-means++" (greedy), or centers (K, D): then there is one restart, whatever n_init says.
    spherical: spherical k-means. The rows are brought to unit length and so is each mean, hence a
        point goes to the center with the largest cosine. Plain k-means on unit rows, which the
        paper does, is not the same: its centers lie inside the sphere, and the shorter center
        of a spread-out cluster attracts fewer points. The inertia is then 2 Σ_i (1 − cos).
    progress: show a bar over the restarts.

    An empty cluster moves to the point that is served worst, and the labels follow. When x has
    fewer than K distinct rows no such point is left: the surplus clusters stay empty and a
    UserWarning says so.
    ValueError when x is not (N, D), holds NaN or infinity, has fewer than K rows, or (spherical)
    has a row of zeros, and when another argument is out of range.
    """
    points = _points("kmeans", x)
    _check(points, n_clusters, n_init, max_iter, tol)
    if spherical:
        points = _unit_rows("kmeans", points)
    starts = None if isinstance(init, str) else _given_centers(init, points, n_clusters, spherical)
    if isinstance(init, str) and init != "k-means++":
        raise ValueError(f'kmeans: init is {init!r} but expected "k-means++" or an array (K, D)')
    shift = tol * float(points.var(axis=0, dtype=np.float64).mean()) if tol > 0 else 0.0
    seeds = rng.integers(2**63, size=n_init if starts is None else 1)
    best: Clustering | None = None
    restarts: list[list[float]] = []
    bar = tqdm(seeds, desc="k-means", unit="restart", disable=not progress)
    for seed in bar:
        centers = (
            kmeans_plus_plus(points, n_clusters, np.random.default_rng(seed))
            if starts is None
            else starts
        )
        found = lloyd(points, centers, max_iter=max_iter, shift=shift, spherical=spherical)
        restarts.extend(found.restarts)
        if best is None or found.inertia < best.inertia:
            best = found
            bar.set_postfix(inertia=f"{best.inertia:.6g}", refresh=False)
    assert best is not None  # n_init >= 1
    best.restarts = restarts
    _warn_if_empty(best)
    return best


def lloyd(
    x: Array, centers: Array, *, max_iter: int, shift: float = 0.0, spherical: bool = False
) -> Clustering:
    """Run one restart on checked x (N, D) from centers (K, D), which it may change.

    Ends after an assignment that changes no label, after a step with Σ_j |c_j' − c_j|² <= shift,
    or after max_iter updates.
    """
    step = lloyd_step(x, centers)
    history = [step.inertia]
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        before, centers = step, mean(step, spherical=spherical)
        moved = float(((centers - before.centers) ** 2).sum(dtype=np.float64))
        step = lloyd_step(x, centers)
        history.append(step.inertia)
        if np.array_equal(step.labels, before.labels) or moved <= shift:
            break
    return Clustering(step.labels, step.centers, step.inertia, n_iter, [history], spherical)


class Step(NamedTuple):
    """One pass over the points: the assignment to `centers`, and what the next centers need."""

    centers: Array  # (K, D)
    labels: Array  # (N,) int32
    inertia: float
    sums: Array  # (K, D) float64, of the points of each cluster
    counts: Array  # (K,) int64


def lloyd_step(x: Array, centers: Array) -> Step:
    """Assign every point of x (N, D), move empty clusters, and sum up the clusters.

    An empty cluster moves to the point that lies farthest from its center, in place in `centers`,
    until none is empty; the labels are always those of an assignment to the moved centers.
    """
    labels, distances = ops.assign(x, centers)
    sums, counts = ops.update(x, labels, len(centers))
    if counts.min() == 0:
        # Copies of one point can lie this far from their mean, by the rounding of its sum.
        rounding = np.finfo(x.dtype).eps + len(x) * np.finfo(np.float64).eps
        limit = x.shape[1] * (rounding * float(np.abs(x).max())) ** 2
        while counts.min() == 0 and distances.max() > limit:
            _move_to_worst_served(int(counts.argmin()), x, centers, labels, distances)
            sums, counts = ops.update(x, labels, len(centers))
    return Step(centers, labels, float(distances.sum(dtype=np.float64)), sums, counts)


def _move_to_worst_served(
    j: int, x: Array, centers: Array, labels: Array, distances: Array
) -> None:
    """Move the empty cluster j to the point farthest from its center, and update the assignment.

    Nobody was assigned to j, so only points that are now nearer to j change: Σ distances falls, and
    the point itself stays with j. The loop around it ends after at most K moves.
    """
    centers[j] = x[distances.argmax()]
    to_j = ops.assign(x, centers[j : j + 1])[1]
    nearer = (to_j < distances) | ((to_j == distances) & (labels > j))  # ties: the lowest index
    labels[nearer] = j
    distances[nearer] = to_j[nearer]


def mean(step: Step, *, spherical: bool = False) -> Array:
    """Return the new centers (K, D): the mean of each cluster, brought to unit length if spherical.

    A cluster without points keeps its center, and so does, when spherical, one whose points cancel:
    their mean has no direction.
    """
    size = np.linalg.norm(step.sums, axis=1) if spherical else step.counts
    size = size[:, None]  # (K, 1)
    means = step.sums / np.where(size > 0, size, 1)
    return np.where(size > 0, means, step.centers).astype(step.centers.dtype)


def _unit_rows(function: str, x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not lengths.all():
        row = int(lengths[:, 0].argmin())
        raise ValueError(f"{function}: row {row} of x is zero but a direction was expected")
    unit: Array = x / lengths
    return unit


def _points(function: str, x: Array) -> Array:
    points = np.ascontiguousarray(x)
    if points.dtype.kind in "iub" or points.dtype == np.float16:
        points = points.astype(np.float64)
    if points.ndim != 2 or points.dtype not in (np.float32, np.float64):
        raise ValueError(f"{function}: x is {points.shape} {points.dtype} but expected real (N, D)")
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(f"{function}: row {row} of x holds NaN or infinity but expected numbers")
    return points


def _check(x: Array, n_clusters: int, n_init: int, max_iter: int, tol: float) -> None:
    counts = {"n_clusters": n_clusters, "n_init": n_init, "max_iter": max_iter}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"kmeans: {name} is {value} but expected at least 1")
    if tol < 0:
        raise ValueError(f"kmeans: tol is {tol} but expected at least 0")
    if len(x) < n_clusters:
        raise ValueError(f"kmeans: x has {len(x)} rows but expected at least {n_clusters} clusters")


def _given_centers(init: Array, x: Array, n_clusters: int, spherical: bool) -> Array:
    centers = np.array(init, dtype=x.dtype, order="C")
    if centers.shape != (n_clusters, x.shape[1]) or not np.isfinite(centers).all():
        raise ValueError(
            f"kmeans: init is {centers.shape} but expected finite ({n_clusters}, {x.shape[1]})"
        )
    return _unit_rows("kmeans: init", centers) if spherical else centers


def _warn_if_empty(clustering: Clustering) -> None:
    n_clusters = len(clustering.centers)
    used = len(np.unique(clustering.labels))
    if used < n_clusters:
        warnings.warn(
            f"kmeans: {n_clusters - used} of {n_clusters} clusters stay empty, "
            "because x has fewer distinct rows than that",
            stacklevel=3,
        )
