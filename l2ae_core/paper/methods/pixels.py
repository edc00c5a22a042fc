"""Controls that train no network: what an auto-encoder has to beat.

Pixels are taken as vectors. The detectors are scikit-learn's; k-means is ours.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from l2ae_core.anomaly import reconstruction_error
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.data import Dataset
from l2ae_core.paper.protocols import (
    CLUSTERS,
    ClusteringResult,
    DetectionResult,
    Partition,
    kmeans_rng,
)
from l2ae_core.paper.result import Details
from l2ae_core.paper.run import CLASSES, ResultsDir, Run
from l2ae_core.paper.systems import find_system
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

MOST_SEED = 2**32 - 1  # that scikit-learn takes


def cluster(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> ClusteringResult:
    """k-means on the images themselves."""
    found = kmeans(_vectors(dataset), CLASSES, n_init=run.n_init, rng=kmeans_rng(run),
                   progress=progress)  # fmt: skip
    inertia = [restart[-1] for restart in found.restarts]
    return ClusteringResult(found.labels, {}, {"inertia": found.inertia}, Details(inertia=inertia))


def score_kmeans(
    run: Run, folder: ResultsDir, images: Partition, progress: bool
) -> DetectionResult:
    """Distance to the nearest of the centers of the training images."""
    found = kmeans(_vectors(images.train), CLUSTERS, n_init=run.n_init, rng=kmeans_rng(run),
                   progress=progress)  # fmt: skip
    _, squared = ops.assign(_vectors(images.test), found.centers)
    return DetectionResult({"euclidean": np.sqrt(squared)})


def score_pca(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """Reconstruction error of the first principal components, as many as the codes are long."""
    settings = find_system(run.system).settings
    pca = PCA(settings["components"], svd_solver="covariance_eigh").fit(_vectors(images.train))
    x = _vectors(images.test)
    x_hat = pca.inverse_transform(pca.transform(x))
    return DetectionResult({"reconstruction": reconstruction_error(x, x_hat)})


def score_forest(
    run: Run, folder: ResultsDir, images: Partition, progress: bool
) -> DetectionResult:
    """Isolation forest."""
    trees = find_system(run.system).settings["trees"]
    seed = int(kmeans_rng(run).integers(MOST_SEED))
    forest = IsolationForest(n_estimators=trees, random_state=seed)
    forest.fit(_vectors(images.train))
    return DetectionResult({"isolation": -forest.score_samples(_vectors(images.test))})


def score_neighbours(
    run: Run, folder: ResultsDir, images: Partition, progress: bool
) -> DetectionResult:
    """Distance to the k-th nearest training image."""
    k = find_system(run.system).settings["neighbours"]
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_vectors(images.train))
    distances, _ = index.kneighbors(_vectors(images.test))
    return DetectionResult({"distance": distances[:, -1]})


def _vectors(dataset: Dataset) -> Array:
    return np.asarray(dataset.images).reshape(len(dataset), -1)  # (N, H·W·C)
