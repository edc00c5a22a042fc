"""Eq. 5 with more centers than classes: on the codes of another run's network (`System.start`).

A class that is not round on the sphere needs several centers. But then the anomalies among the
training images get a center of their own, too, and are normal by Eq. 5. Their cluster is a small
one: centers of small clusters are left out, as in CBLOF (`l2ae_core.anomaly.large_clusters`).
"""

import numpy as np

from l2ae_core import method
from l2ae_core.anomaly import cosine_normality, large_clusters
from l2ae_core.paper.methods import network
from l2ae_core.paper.protocols import DetectionResult, Partition, kmeans_rng
from l2ae_core.paper.result import Details
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.systems import find_system


def score(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """The four scores, Eq. 5 over the centers of large clusters; "all" is its cosine over all."""
    K, share = (find_system(run.system).settings[name] for name in ("clusters", "share"))
    model = network.trained_start(run, folder)
    _, clustering = method.cluster(
        model, images.train.images, K, rng=kmeans_rng(run), n_init=run.n_init, progress=progress
    )
    large = large_clusters(np.bincount(clustering.labels, minlength=K), share)
    scores, arrays = network.anomaly_scores(model, clustering.centers[large], images.test.images)
    scores["all"] = 1 - cosine_normality(model.encode(images.test.images), clustering.centers)
    return DetectionResult(scores, Details(inertia=network.inertias(clustering)), arrays=arrays)
