"""What each method does for the two protocols: `cluster` for Tables I–III, `score` for IV and V.

A method that has no answer to a protocol has no entry in its table.
"""

from collections.abc import Callable
from typing import TypeAlias

from l2ae_core.data import Dataset
from l2ae_core.paper.methods import (
    generative,
    large_clusters,
    network,
    pixels,
    refined,
    self_labelled,
)
from l2ae_core.paper.protocols import ClusteringResult, DetectionResult, Partition
from l2ae_core.paper.run import ResultsDir, Run
from l2ae_core.paper.systems import MethodName

Cluster: TypeAlias = Callable[[Run, ResultsDir, Dataset, bool], ClusteringResult]
Score: TypeAlias = Callable[[Run, ResultsDir, Partition, bool], DetectionResult]

CLUSTER: dict[MethodName, Cluster] = {
    "network": network.cluster,
    "refined": refined.cluster,
    "self-labelled": self_labelled.cluster,
    "vae": generative.cluster_vae,
    "gmvae": generative.cluster_gmvae,
    "pixels": pixels.cluster,
}
SCORE: dict[MethodName, Score] = {
    "network": network.score,
    "self-labelled": self_labelled.score,
    "large-clusters": large_clusters.score,
    "vae": generative.score_vae,
    "drae": generative.score_drae,
    "pixels": pixels.score_kmeans,
    "pca": pixels.score_pca,
    "forest": pixels.score_forest,
    "neighbours": pixels.score_neighbours,
}
