"""k-means on the representations: the clustering of Section III-A.

    minimise  inertia = Σ_i |x_i − c_{l_i}|²   over the labels l_i and the centers c_j

Lloyd's iteration alternates the two halves, and each can only lower the inertia:

    assign   l_i = argmin_j |x_i − c_j|²   (then an empty cluster moves to the farthest sample)
    update   c_j = mean of the samples with l_i = j

The loop ends on an assignment, so labels, centers and inertia always belong together. This file
owns the policy; the arithmetic on the samples is in `l2ae_kernels`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from l2ae_core.clustering import rows
from l2ae_core.clustering.init import init_centers
from l2ae_core.clustering.inputs import (
    Recentered,
    as_samples,
    check_arguments,
    check_samples,
    given_centers,
    mean_variance,
    origin_of,
    recenter,
    require_finite,
    warn_if_empty,
)
from l2ae_core.progress import Bar
from l2ae_core.tables import counted
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array, is_dask, to_host
from l2ae_kernels.cuda.device import to_device_of
from l2ae_kernels.reference.restarts import Restarts
from l2ae_kernels.samples import PartedSamples

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Clustering:
    """What k-means found, on the device of the samples. What it found belongs together.

    The labels of a Dask array are one, too, in the chunks of x, and computed from x when they are
    asked for.
    """

    labels: Array  # (N,) int32, the nearest center of each sample; ties go to the lowest index
    centers: Array  # (K, D), in the dtype of the samples; of unit length when spherical
    inertia: float  # Σ_i |x_i − c_{l_i}|², summed in float64
    n_iter: int  # updates of the centers in the best restart
    restarts: list[list[float]] = field(default_factory=list)  # inertia after every assignment
    spherical: bool = False
    recentered: Recentered | None = None  # the centers in use where kmeans took another origin

    def predict(self, x: Array) -> Array:
        """Return the label int32 (N,) of the nearest center for each row of x (N, D).

        x is brought to the dtype and the device of the centers, and to unit length when spherical.
        Labels of a Dask array are one: nothing is computed yet.
        ValueError when x is no (N, D), holds NaN or infinity or, spherical, a row of zeros; of the
        values of a Dask array, when their chunk is met.
        """
        samples = as_samples("predict", x)
        if samples.shape[1] != self.centers.shape[1]:
            raise ValueError(
                f"predict: x is {x.shape} but expected {counted(self.centers.shape[1], 'feature')}"
            )
        if is_dask(x):
            from l2ae_core.clustering import on_dask

            only_centers = replace(self, labels=np.zeros(0, np.int32), restarts=[])
            return on_dask.predict(only_centers.labels_of, samples)
        return self.labels_of("predict", samples)

    def labels_of(self, function: str, samples: Array, first: int = 0) -> Array:
        """Return the labels int32 (N,) of `as_samples`; errors count their rows from `first`."""
        if not isinstance(samples, PartedSamples):
            return self._labels_of(function, samples, first)
        labels = np.empty(len(samples), np.int32)
        for at, part in samples.parts():
            here = self._labels_of(function, part, first + at)
            labels[at : at + len(part)] = to_host(here)
        return to_device_of(self.centers, labels)

    def _labels_of(self, function: str, x: Array, first: int) -> Array:
        require_finite(function, x, first)
        samples = to_device_of(self.centers, x).astype(self.centers.dtype, copy=False)
        if self.spherical:
            samples = rows.unit_rows(function, samples, first)
        centers = self.centers
        if self.recentered is not None:
            samples, centers = recenter(samples, self.recentered.origin), self.recentered.centers
        labels: Array = ops.assign(samples, centers)[0]
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
        where x is: on the CPU, or on the GPU of a CuPy array. Memory maps and large arrays are read
        a part at a time, with the same bits. So is a Dask array, where its chunks are, on any
        scheduler: see below.
    n_init: restarts; the lowest inertia wins, the earliest of equals.
    max_iter: the most updates of the centers in a restart. A restart ends sooner when an assignment
        changes no label, or when Σ_j |c_j' − c_j|² <= tol · (mean variance of the features).
    rng: gives one seed to each restart, so restart r does not depend on n_init.
    init: "k-means++" (greedy), or centers (K, D): then there is one restart, whatever n_init says.
    spherical: spherical k-means. The rows are brought to unit length and so is each mean, hence a
        sample goes to the center with the largest cosine. Plain k-means on unit rows, which the
        paper does, is not the same: its centers lie inside the sphere, and the shorter center
        of a spread-out cluster attracts fewer samples. The inertia is then 2 Σ_i (1 − cos).
    progress: show a bar over the restarts.

    Rows that lie so far from zero that the dtype could not tell centers apart are counted from a
    point in their midst, in a copy of x (`clustering.inputs`). Labels, inertia and `predict` are
    then those of centers without the rounding that the sums `centers` have.

    Chunks of a Dask array may be cut anywhere, but the number of their rows has to be known. Every
    pass makes them again unless they are in memory: `x.persist()` keeps them there. Those that do
    not begin at multiples of 1024 rows are cut anew, in every pass unless they are in memory, and
    up to 512 rows of each then travel between workers. Beside x, distances take as much memory as x
    at most while centers are drawn. The loss of a worker is survived. A task computes on one
    thread, so give a worker as many as it has cores. Machines of one kind compute the same bits.
    `l2ae_core.data.dask_npy` opens files for workers.

    An empty cluster moves to the sample farthest from its center, and the labels follow. When x has
    fewer than K distinct rows, or others that lie within rounding of their center, no such
    sample is left: the surplus clusters stay empty and a UserWarning says so.
    ValueError when x is not (N, D), holds NaN or infinity, has fewer than K rows, or (spherical)
    has a row of zeros, and when another argument is out of range.
    """
    check_arguments(
        x, init, rng, tol=tol, spherical=spherical,
        n_clusters=n_clusters, n_init=n_init, max_iter=max_iter,
    )  # fmt: skip
    samples = check_samples(x, n_clusters, tol, spherical)
    origin = None if spherical else origin_of(samples)
    centers = given_centers(init, samples, n_clusters, spherical, origin)
    if origin is not None:
        samples = recenter(samples, origin)
    if is_dask(x):
        from l2ae_core.clustering import on_dask

        samples = on_dask.held(samples, x)
    shift = tol * mean_variance(samples) if tol > 0 else 0.0
    seeds = rng.integers(2**63, size=n_init if centers is None else 1)
    together = ops.restarts_class(samples, n_clusters).runs_together(samples, n_clusters)
    restarts = ops.restarts(samples, n_clusters, min(together, len(seeds)))
    if not np.isfinite(restarts.max_abs):
        require_finite("kmeans", samples)
    best: Clustering | None = None
    used = 0  # clusters of the best with samples
    histories: list[list[float]] = []
    with Bar(total=len(seeds), desc="k-means", unit="restart", disable=not progress) as bar:
        for run, counts in _runs(restarts, seeds, centers, max_iter, shift, spherical, bar):
            histories.extend(run.restarts)
            if best is None or run.inertia < best.inertia:
                best = replace(run, labels=run.labels.copy(), centers=run.centers.copy())
                used = int(np.count_nonzero(counts))
                bar.set_postfix(inertia=f"{best.inertia:.6g}", refresh=False)
    assert best is not None  # n_init >= 1
    best.restarts = histories
    _log.info("k-means: %d clusters of %d samples, inertia %g, the best of %d restarts",
             n_clusters, len(samples), best.inertia, len(seeds))  # fmt: skip
    if origin is not None:
        moved_back = recenter(best.centers, -origin)
        best = replace(best, centers=moved_back, recentered=Recentered(origin, best.centers))
    if is_dask(x):
        best.labels = best.predict(x)
    warn_if_empty(used, n_clusters, samples)
    return best


def _runs(
    restarts: Restarts,
    seeds: Array,
    centers: Array | None,
    max_iter: int,
    shift: float,
    spherical: bool,
    bar: Bar,
) -> Iterator[tuple[Clustering, Array]]:
    """Yield the run of each seed, or the one from `centers`, in order; see `lloyd`."""
    together = len(restarts.centers)
    for first in range(0, len(seeds), together):
        part = seeds[first : first + together]
        if centers is None:
            init_centers(restarts, [np.random.default_rng(seed) for seed in part])
        else:
            restarts.centers[0] = centers
        yield from lloyd(restarts, len(part), max_iter, shift, spherical, bar)


def lloyd(
    restarts: Restarts, runs: int, max_iter: int, shift: float, spherical: bool, bar: Bar
) -> Iterator[tuple[Clustering, Array]]:
    """Iterate the first `runs` restarts from their centers, side by side, and yield them in order.

    A run ends after an assignment that changes no label, after a step with Σ_j |c_j' − c_j|² <=
    shift, or after max_iter updates. With it come the sizes (K,) of its clusters. All are views of
    what `restarts` has: they last until the next runs begin.
    """
    active = list(range(runs))
    restarts.reset()
    restarts.assign(active)
    fill_empty(restarts, active)
    histories = [[float(restarts.inertia[r])] for r in active]
    while active:
        remaining = [max_iter + 1 - len(histories[r]) for r in active]
        iterated = restarts.iterate(active, remaining, shift, spherical)
        fill_empty(restarts, active)
        for r, (inertias, _) in zip(active, iterated, strict=True):
            histories[r] += [*inertias[:-1], float(restarts.inertia[r])]  # filling lowers the last
        ongoing = [
            r
            for r, (_, moved) in zip(active, iterated, strict=True)
            if restarts.changed[r] and moved > shift and len(histories[r]) <= max_iter
        ]
        bar.update(len(active) - len(ongoing))
        active = ongoing
    for r, history in enumerate(histories):
        both = restarts.labels[r], restarts.centers[r]
        labels, centers = (to_device_of(restarts.x, a) for a in both)
        found = Clustering(labels, centers, history[-1], len(history) - 1, [history], spherical)
        yield found, restarts.counts[r]


def fill_empty(restarts: Restarts, active: list[int]) -> None:
    """Move the empty clusters of the active runs, each to the sample farthest from its center.

    Until none is empty; the labels are always those of an assignment to the moved centers.
    """
    x = restarts.x
    # Copies of one sample can lie this far from their mean, by the rounding of its sum.
    rounding = np.finfo(x.dtype).eps + len(x) * np.finfo(np.float64).eps
    limit = x.shape[1] * (rounding * restarts.max_abs) ** 2
    for r in active:
        if restarts.counts[r].min() == 0:
            restarts.fill(r, limit)
