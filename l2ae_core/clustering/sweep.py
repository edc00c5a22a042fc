"""How many clusters? k-means of several numbers of clusters K, and what three criteria prefer.

    inertia     Σ_i |x_i − c_{l_i}|² of the best restart. It falls with K: steeply while real groups
                are told apart, slowly once they are cut up. Preferred is the elbow between.
    silhouette  mean of (b − a) / max(a, b), a and b being the mean distances of a sample to its own
                and to the nearest other cluster. Preferred is the highest.
    agreement   mean NMI between the labels of RUNS k-means that differ in their first centers, each
                the best of RESTARTS. Few clusters agree most easily: preferred is the largest
                K within CLOSE of the highest. Beyond it the clusters depend on the seed.

The three may differ, and none of them knows what the clusters are for: this is advice. Silhouette
and agreement are those of a random sample of the rows, the same for every K.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from l2ae_core.clustering.agreement import agreement_between_runs
from l2ae_core.clustering.inputs import as_samples, require_finite
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.progress import Bar
from l2ae_core.seeding import rngs
from l2ae_core.tables import counted
from l2ae_kernels.arrays import Array, to_host
from l2ae_kernels.cpu.blas import single_threaded_blas
from l2ae_kernels.ops.checks import count

SAMPLE_SIZE = 5000  # the time and the memory of a silhouette grow with its square
RUNS = 10  # k-means that are compared with each other: 45 pairs
RESTARTS = 4  # of each; a single one often ends in a poor local optimum, whatever K
LEAST = 2  # clusters; one has no silhouette, and always agrees with itself
CLOSE = 0.02  # agreements that differ by less count as equal


@dataclass(frozen=True)
class SweepRow:
    """What k-means of one number of clusters found; `silhouette` is NaN where it is not defined."""

    k: int
    inertia: float  # of the best restart
    silhouette: float  # in [−1, 1]
    agreement: float  # in [0, 1]
    smallest: int  # samples in the smallest cluster


@dataclass(frozen=True)
class Preferred:
    """The number of clusters that each criterion prefers; None where it has no preference."""

    inertia: int | None
    silhouette: int | None
    agreement: int | None


def check_sweep(clusters: Sequence[int], sample_size: int, n: int | None = None) -> None:
    """Raise ValueError unless n rows can be clustered so; None: as far as can be said before.

    A silhouette wants fewer clusters than samples.
    """
    count("sweep", "sample_size", sample_size, least=LEAST + 1)
    if not len(clusters):
        raise ValueError(f"sweep: clusters is empty but expected integers ≥ {LEAST}")
    for k in clusters:
        count("sweep", "clusters", k, least=LEAST)
        if n is not None and k >= n:
            raise ValueError(
                f"sweep: clusters is {k} but expected fewer than the {counted(n, 'image')}"
            )
        if k >= sample_size:
            raise ValueError(
                f"sweep: clusters is {k} but expected fewer than sample_size, {sample_size}"
            )


def sweep(
    x: Array,
    clusters: Sequence[int],
    *,
    seed: int,
    n_init: int = 20,
    sample_size: int = SAMPLE_SIZE,
    progress: bool = False,
) -> list[SweepRow]:
    """Cluster the rows of x (N, D) into each number of clusters; return one row a number.

    The row of a number does not depend on the others. Its inertia is that of
    `kmeans(x, k, n_init=n_init, rng=rngs(seed).kmeans)`, as a run with this seed and k has it.
    ValueError when a number is below 2, or not below N and sample_size, and as in `kmeans`.
    """
    samples = as_samples("sweep", x)
    check_sweep(clusters, sample_size, len(samples))
    require_finite("sweep", samples)
    chosen = rngs(seed).split.permutation(len(samples))[:sample_size]
    chosen.sort()
    part = to_host(samples[chosen])  # (S, D)
    rows = []
    with Bar(clusters, desc="k-means", unit="K", disable=not progress) as bar:
        for k in bar:
            bar.set_postfix(K=k)
            rng = rngs(seed).kmeans
            found = kmeans(samples, k, n_init=n_init, rng=rng)
            labels = to_host(found.labels)
            smallest = int(np.bincount(labels, minlength=k).min())
            scores = silhouette(part, labels[chosen]), _agreement(part, k, rng)
            rows.append(SweepRow(int(k), found.inertia, *scores, smallest))
    return rows


def silhouette(x: Array, labels: Array) -> float:
    """Return the mean silhouette of x (S, D); NaN when the sample is in one cluster."""
    if not 1 < len(np.unique(labels)) < len(labels):
        return float("nan")
    from sklearn.metrics import silhouette_score

    with single_threaded_blas():  # a product may round otherwise when threads divide it
        return float(silhouette_score(x.astype(np.float64), labels))


def _agreement(x: Array, k: int, rng: Generator) -> float:
    """Return the mean NMI between RUNS clusterings of x (S, D), with first centers by `rng`."""
    labels = [kmeans(x, k, n_init=RESTARTS, rng=rng).labels for _ in range(RUNS)]
    return float(agreement_between_runs(labels).mean.mean())


def preferred(rows: Sequence[SweepRow]) -> Preferred:
    """Return the number of clusters that each criterion prefers among `rows`.

    There is nothing to prefer in fewer than two rows, and no elbow in fewer than three. Clusters of
    which one is empty are not preferred for their silhouette or agreement. Of equal silhouettes it
    is that of the lowest number.
    """
    if len(rows) < 2:
        return Preferred(None, None, None)
    rows = sorted(rows, key=lambda row: row.k)
    filled = [row for row in rows if row.smallest > 0]
    defined = [row for row in filled if not np.isnan(row.silhouette)]
    enough = max((row.agreement for row in filled), default=1.0) - CLOSE
    return Preferred(
        inertia=_elbow(rows),
        silhouette=max(defined, key=lambda row: row.silhouette).k if defined else None,
        agreement=max((row.k for row in filled if row.agreement >= enough), default=None),
    )


def _elbow(rows: Sequence[SweepRow]) -> int | None:
    """Return the K that lies farthest below the line between the ends of the curve of inertia.

    Both axes go from 0 to 1 (Satopää et al. 2011), so the elbow depends on the ends. None when no K
    lies below the line.
    """
    k, inertia = (np.array([getattr(row, name) for row in rows]) for name in ("k", "inertia"))
    fall = inertia[0] - inertia[-1]
    if fall <= 0:
        return None
    below = (k[-1] - k) / (k[-1] - k[0]) - (inertia - inertia[-1]) / fall
    best = int(below.argmax())
    return int(k[best]) if below[best] > np.finfo(np.float32).eps else None
