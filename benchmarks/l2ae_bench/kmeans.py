"""k-means from given centers for a given number of iterations; ours beside scikit-learn and faiss.

Every contender starts from the same centers, makes the same number of updates and ends on an
assignment, so that labels, centers and inertia belong together; the inertias are compared before
anything is timed. The number is below that of convergence: an early end would win time for another
result. faiss trains on all samples, not on 256 a cluster, and its last assignment is timed too.

The data are made:

    70000x10     ten groups of unit vectors, as the codes of an auto-encoder are
    70000x784    images as sparse as MNIST's: in each of ten groups the same 150 of 784 pixels are
                 bright, most of the others are 0 and some hold noise
    200000x64    256 groups of unit vectors
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from l2ae_bench import peers
from l2ae_bench.comparison import OURS, Comparison, require_agreement
from l2ae_bench.work import Work
from l2ae_core.clustering.kmeans import kmeans
from l2ae_kernels.arrays import Array

ITERATIONS = 25  # the default of faiss; scikit-learn's 300 would be cut short by convergence
INERTIA = 1e-3  # relative; the same path from the same centers, up to ties and rounding


@dataclass(frozen=True)
class SampleSet:
    """n samples of d features for k clusters, in `groups` groups."""

    n: int
    d: int
    k: int
    groups: int
    noise: float  # standard deviation, around centers of length 1
    images: bool = False

    def make(self) -> tuple[Array, Array]:
        """Return the samples float32 (n, d) and k of them as the first centers."""
        rng = np.random.default_rng(0)
        group = rng.integers(self.groups, size=self.n)
        x = self._images(group, rng) if self.images else self._vectors(group, rng)
        return x, x[rng.choice(self.n, self.k, replace=False)].copy()

    def _vectors(self, group: Array, rng: np.random.Generator) -> Array:
        middles = rng.standard_normal((self.groups, self.d), dtype=np.float32)
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        x = rng.standard_normal((self.n, self.d), dtype=np.float32)
        x *= np.float32(self.noise)
        x += middles[group]
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x

    def _images(self, group: Array, rng: np.random.Generator) -> Array:
        bright = np.zeros((self.groups, self.d), np.float32)
        for pattern in bright:
            pattern[rng.choice(self.d, 150, replace=False)] = rng.random(150) + 0.2
        x = rng.standard_normal((self.n, self.d), dtype=np.float32)
        x *= np.float32(self.noise)
        x += bright[group]
        x -= np.float32(self.noise)  # most pixels that are not bright fall below zero
        return np.clip(x, 0, 1, out=x)


WORKLOADS = {
    "kmeans-70000x10-k10": SampleSet(70_000, 10, 10, groups=10, noise=0.3),
    "kmeans-70000x784-k10": SampleSet(70_000, 784, 10, groups=10, noise=0.5, images=True),
    "kmeans-200000x64-k256": SampleSet(200_000, 64, 256, groups=256, noise=0.15),
}


def comparison(workload: str, threads: int, samples: SampleSet | None = None) -> Comparison:
    """Return the contenders of a workload, compared; without faiss where it is not installed."""
    p = WORKLOADS[workload] if samples is None else samples
    x, centers = p.make()
    iterations = _iterations(x, centers)
    runs: dict[str, Callable[[], float]] = {
        OURS: partial(_ours, x, centers, iterations),
        "sklearn-lloyd": partial(_sklearn_inertia, x, centers, iterations, "lloyd"),
        "sklearn-elkan": partial(_sklearn_inertia, x, centers, iterations, "elkan"),
    }
    if peers.installed("faiss"):
        runs["faiss"] = partial(_faiss, x, centers, iterations, threads)
    inertia = {name: run() for name, run in runs.items()}
    agreement = max(
        require_agreement(f"{workload}, {name}", "the inertias",
                          abs(found - inertia[OURS]) / inertia[OURS], INERTIA)
        for name, found in inertia.items()
    )  # fmt: skip
    return Comparison(dict(runs), agreement, lloyd_work(x, len(centers), iterations + 1))


def lloyd_work(x: Array, k: int, assignments: int) -> Work:
    """Return the work of some assignments: every sample with every center, and x read once each."""
    n, d = x.shape
    return Work(2.0 * n * d * k * assignments, float(x.nbytes * assignments))


def _iterations(x: Array, centers: Array) -> int:
    """Return how many updates every contender makes: fewer than until the labels stay."""
    found = kmeans(x, len(centers), init=centers, max_iter=ITERATIONS, tol=0,
                   rng=np.random.default_rng(0))  # fmt: skip
    return ITERATIONS if found.n_iter == ITERATIONS else max(1, found.n_iter - 1)


def _ours(x: Array, centers: Array, iterations: int) -> float:
    found = kmeans(x, len(centers), init=centers, max_iter=iterations, tol=0,
                   rng=np.random.default_rng(0))  # fmt: skip
    return found.inertia


def _sklearn_inertia(x: Array, centers: Array, iterations: int, algorithm: str) -> float:
    return float(sklearn_kmeans(x, centers, iterations, algorithm).inertia_)


def sklearn_kmeans(x: Array, centers: Array, iterations: int, algorithm: str) -> Any:
    """Return scikit-learn's KMeans, fitted with that many updates from the centers."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    peer = KMeans(len(centers), init=centers, n_init=1, max_iter=iterations, tol=0.0,
                  algorithm=algorithm)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is to stop before
        return peer.fit(x)


def _faiss(x: Array, centers: Array, iterations: int, threads: int) -> float:
    faiss = peers.load("faiss")
    faiss.omp_set_num_threads(threads)
    n, d = x.shape
    peer = faiss.Kmeans(d, len(centers), niter=iterations, nredo=1, verbose=False,
                        min_points_per_centroid=1, max_points_per_centroid=n)  # fmt: skip
    peer.train(x, init_centroids=centers)
    distances, _ = peer.index.search(x, 1)
    return float(distances.sum(dtype=np.float64))
