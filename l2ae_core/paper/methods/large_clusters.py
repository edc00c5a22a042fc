"""Eq. 5 with more centers than classes: on the codes of another run's network (`System.start`).

A class that is not round on the sphere needs several centers. But then the anomalies among the
training images get a center of their own, too, and are normal by Eq. 5. Their cluster is a small
one: centers of small clusters are left out, as in CBLOF (`l2ae_core.anomaly.large_clusters`).
Which clusters are small is a matter of luck, so that a score is the mean over several clusterings.
"""

import numpy as np

from l2ae_core import method
from l2ae_core.anomaly import cosine_normality, large_clusters
from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.paper.methods import network
from l2ae_core.paper.protocols import DetectionResult, Partition, kmeans_rng
from l2ae_core.paper.result import Details
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.systems import find_system


def score(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """The four scores, Eq. 5 over the centers of large clusters, in the mean over the clusterings.

    all       the cosine over all centers
    single_i  the cosine over the centers of large clusters of one clustering, i from 0 on

    The clusterings share the restarts of the run.
    """
    K, share, count = (
        find_system(run.system).settings[name] for name in ("clusters", "share", "clusterings")
    )
    model = network.trained_start(run, folder)
    train = method.encode(model, images.train.images, progress=progress)  # (N, D)
    u = model.encode(images.test.images)
    rng, n_init = kmeans_rng(run), max(1, run.n_init // count)
    clusterings = [
        kmeans(train, K, n_init=n_init, rng=rng, progress=progress) for _ in range(count)
    ]
    each = []
    for found in clusterings:
        large = large_clusters(np.bincount(found.labels, minlength=K), share)
        scores = network.cluster_scores(u, found.centers[large])
        each.append(scores | {"all": 1 - cosine_normality(u, found.centers)})
    error, arrays = network.reconstruction_score(model, u, images.test.images)
    return DetectionResult(
        {name: np.mean([scores[name] for scores in each], axis=0) for name in each[0]}
        | {f"single_{i}": scores["cosine"] for i, scores in enumerate(each)}
        | {"reconstruction": error},
        Details(inertia=[end for found in clusterings for end in network.inertias(found)]),
        arrays=arrays,
    )
