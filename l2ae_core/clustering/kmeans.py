"""k-means on the representations: the clustering of Section III-A.

    minimise  inertia = Σ_i |x_i − c_{l_i}|²   over the labels l_i and the centers c_j

Lloyd's iteration alternates the two halves, and each can only lower the inertia:

    assign   l_i = argmin_j |x_i − c_j|²   (then an empty cluster moves to the worst-served point)
    update   c_j = mean of the points with l_i = j

The loop ends on an assignment, so labels, centers and inertia always belong together. This file
owns the policy; the arithmetic on the points is in `l2ae_kernels`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from l2ae_core.clustering.inputs import (
    as_points,
    check_arguments,
    given_centers,
    require_finite,
    unit_rows,
    warn_if_empty,
)
from l2ae_core.clustering.origin import Moved, from_origin, origin_of
from l2ae_core.clustering.start import start
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, array_module, get_place, moved_to, to_host
from l2ae_kernels.reference.restarts import Restarts

MEMORY = 1 << 26  # bytes that runs side by side may always take


@dataclass(eq=False)
class Clustering:
    """What k-means found, on the device of the points. What it found belongs together."""

    labels: Array  # (N,) int32, the nearest center of each point; ties go to the lowest index
    centers: Array  # (K, D), in the dtype of the points; of unit length when spherical
    inertia: float  # Σ_i |x_i − c_{l_i}|², summed in float64
    n_iter: int  # updates of the centers in the best restart
    restarts: list[list[float]] = field(default_factory=list)  # inertia after every assignment
    spherical: bool = False
    moved: Moved | None = None  # where kmeans counted from another origin: its own centers

    def predict(self, x: Array) -> Array:
        """Return the label int32 (N,) of the nearest center for each row of x (N, D).

        x is brought to the dtype and the device of the centers, and to unit length when spherical.
        ValueError when x holds NaN or its features do not fit.
        """
        points = as_points("predict", x)
        if get_place(points) == "streamed":
            points = np.asarray(points)
        points = moved_to(self.centers, points)
        require_finite("predict", points)
        points = points.astype(self.centers.dtype, copy=False)
        if self.spherical:
            points = unit_rows("predict", points)
        centers = self.centers
        if self.moved is not None:
            points, centers = from_origin(points, self.moved.origin), self.moved.centers
        labels: Array = ops.assign(points, centers)[0]
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

    x: float32 or float64, whose dtype is kept; integers are taken as float64. The work is done
        where x is: on the CPU, or on the GPU of a CuPy array.
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

    Rows that lie so far from zero that the dtype could not tell centers apart are counted from a
    point in their midst, in a copy of x (`clustering.origin`). Labels, inertia and `predict` are
    then those of centers without the rounding that the sums `centers` have.

    An empty cluster moves to the point that is served worst, and the labels follow. When x has
    fewer than K distinct rows, or others that lie within rounding of their center, no such point
    is left: the surplus clusters stay empty and a UserWarning says so.
    ValueError when x is not (N, D), holds NaN or infinity, has fewer than K rows, or (spherical)
    has a row of zeros, and when another argument is out of range.
    """
    check_arguments(
        x, init, rng, tol=tol, spherical=spherical,
        n_clusters=n_clusters, n_init=n_init, max_iter=max_iter,
    )  # fmt: skip
    points = as_points("kmeans", x)
    if spherical or tol > 0:  # else the restarts see it as they look at the points
        require_finite("kmeans", points)
    if len(points) < n_clusters:
        rows = f"{len(points)} rows but expected at least {n_clusters} clusters"
        raise ValueError(f"kmeans: x has {rows}")
    if spherical:
        points = unit_rows("kmeans", points)
    if isinstance(init, str) and init != "k-means++":
        raise ValueError(f'kmeans: init is {init!r} but expected "k-means++" or an array (K, D)')
    origin = None if spherical else origin_of(points)
    given = None
    if not isinstance(init, str):
        given = given_centers(init, points, n_clusters, spherical, origin)
    if origin is not None:
        points = from_origin(points, origin)
    shift = tol * float(points.var(axis=0, dtype=np.float64).mean()) if tol > 0 else 0.0
    seeds = rng.integers(2**63, size=n_init if given is None else 1)
    best: Clustering | None = None
    histories: list[list[float]] = []
    together = _runs_together(points, n_clusters, len(seeds))
    restarts = ops.restarts(points, n_clusters, together)
    if not np.isfinite(restarts.largest):
        require_finite("kmeans", points)
    with tqdm(total=len(seeds), desc="k-means", unit="restart", disable=not progress) as bar:
        for first in range(0, len(seeds), together):
            part = seeds[first : first + together]
            if given is None:
                start(restarts, [np.random.default_rng(seed) for seed in part])
            else:
                restarts.centers[0] = given
            for found in lloyd(restarts, len(part), max_iter, shift, spherical, bar):
                histories.extend(found.restarts)
                if best is None or found.inertia < best.inertia:
                    best = found
                    bar.set_postfix(inertia=f"{best.inertia:.6g}", refresh=False)
    assert best is not None  # n_init >= 1
    best.restarts = histories
    warn_if_empty(best.labels, n_clusters, points)
    if origin is None:
        return best
    return replace(
        best,
        centers=from_origin(best.centers, -origin),
        moved=Moved(origin, best.centers),
    )


def _runs_together(x: Array, n_clusters: int, runs: int) -> int:
    """Return how many runs share a pass over x: as many as fit the memory that x takes twice."""
    each = ops.restarts_class(x).bytes_per_run(len(x), n_clusters)
    return max(1, min(runs, max(MEMORY, 2 * x.nbytes) // each))


def lloyd(
    restarts: Restarts, runs: int, max_iter: int, shift: float, spherical: bool, bar: tqdm
) -> Iterator[Clustering]:
    """Run the first `runs` restarts from their centers, side by side, and yield them in order.

    A run ends after an assignment that changes no label, after a step with Σ_j |c_j' − c_j|² <=
    shift, or after max_iter updates.
    """
    active = list(range(runs))
    restarts.forget()
    assign_and_fill(restarts, active)
    histories = [[float(restarts.inertia[r])] for r in active]
    while active:
        left = [max_iter + 1 - len(histories[r]) for r in active]
        moved = _iterate(restarts, active, left, histories, shift, spherical)
        going = [
            r
            for r, distance in zip(active, moved, strict=True)
            if restarts.changed[r] and distance > shift and len(histories[r]) <= max_iter
        ]
        bar.update(len(active) - len(going))
        active = going
    for r, history in enumerate(histories):
        found = restarts.labels[r].copy(), restarts.centers[r].copy()
        labels, centers = (moved_to(restarts.x, a) for a in found)
        yield Clustering(labels, centers, history[-1], len(history) - 1, [history], spherical)


def _iterate(
    restarts: Restarts,
    which: list[int],
    left: list[int],
    histories: list[list[float]],
    shift: float,
    spherical: bool,
) -> list[float]:
    """Iterate the runs `which` once or more, and return Σ_j |c_j' − c_j|² of the last iteration.

    A device may go through many iterations by itself; it comes back at the end of a run, and where
    a cluster is empty. left: how many iterations a run may still take.
    """
    ahead = restarts.run_ahead(which, left, shift, spherical)
    if ahead is None:
        moved = [move_to_means(restarts, r, spherical) for r in which]
        restarts.assign(which)
    else:
        moved = [distance for _, distance in ahead]
        for r, (inertias, _) in zip(which, ahead, strict=True):
            histories[r].extend(inertias[:-1])
    _fill_empty(restarts, which)
    for r in which:
        histories[r].append(float(restarts.inertia[r]))
    return moved


def assign_and_fill(restarts: Restarts, which: list[int]) -> None:
    """Assign the points in the runs `which`, and move empty clusters.

    An empty cluster moves to the point that lies farthest from its center until none is empty; the
    labels are always those of an assignment to the moved centers.
    """
    restarts.assign(which)
    _fill_empty(restarts, which)


def _fill_empty(restarts: Restarts, which: list[int]) -> None:
    for r in which:
        if restarts.counts[r].min() == 0:
            _fill(restarts, r)


def _fill(restarts: Restarts, r: int) -> None:
    x, centers = restarts.x, restarts.centers[r]
    labels, distances = restarts.nearest(x, centers)
    counts = restarts.counts[r]
    # Copies of one point can lie this far from their mean, by the rounding of its sum.
    rounding = np.finfo(x.dtype).eps + len(x) * np.finfo(np.float64).eps
    limit = x.shape[1] * (rounding * restarts.largest) ** 2
    while counts.min() == 0 and distances.max() > limit:
        _move_to_worst_served(restarts, int(counts.argmin()), centers, labels, distances)
        counts = to_host(array_module(x).bincount(labels, minlength=len(centers)))
        restarts.adopt(r, labels, distances)
        restarts.changed[r] = len(x)  # or fewer; but this run goes on


def _move_to_worst_served(
    restarts: Restarts, j: int, centers: Array, labels: Array, distances: Array
) -> None:
    """Move the empty cluster j to the point farthest from its center, and update the assignment.

    Nobody was assigned to j, so only points that are now nearer to j change: Σ distances falls, and
    the point itself stays with j. The loop around it ends after at most K moves.
    """
    x = restarts.x
    centers[j] = to_host(x[int(distances.argmax())])
    to_j = restarts.nearest(x, centers[j : j + 1])[1]
    nearer = (to_j < distances) | ((to_j == distances) & (labels > j))  # ties: the lowest index
    labels[nearer] = j
    distances[nearer] = to_j[nearer]


def move_to_means(restarts: Restarts, r: int, spherical: bool) -> float:
    """Move the centers of run r to the mean of their points; return Σ_j |c_j' − c_j|².

    Spherical: means are brought to unit length. A cluster without points keeps its center, and so
    does, when spherical, one whose points cancel: their mean has no direction.
    """
    sums, counts, centers = restarts.sums[r], restarts.counts[r], restarts.centers[r]
    size = np.linalg.norm(sums, axis=1) if spherical else counts
    size = size[:, None]  # (K, 1)
    means = np.where(size > 0, sums / np.where(size > 0, size, 1), centers).astype(centers.dtype)
    difference = (means - centers).astype(np.float64)
    centers[:] = means
    return float((difference * difference).sum())  # no BLAS: its threads would spin for a while
