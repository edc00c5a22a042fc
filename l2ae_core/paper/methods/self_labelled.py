"""Self-labelling: goes on from the trained network of another run (`System.start`)."""

import numpy as np

from l2ae_core import method
from l2ae_core.clustering.kmeans import Clustering
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT
from l2ae_core.images import Images
from l2ae_core.networks import AutoEncoder
from l2ae_core.paper.methods import network
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
from l2ae_core.refinement import SelfLabelled, SelfLabelling, self_label
from l2ae_core.seeding import rngs
from l2ae_core.training.augment import Warp


def settings(run: Run) -> SelfLabelling:
    """The settings of the system, whose `warp` has the three ranges of a warp, or is None."""
    chosen = dict(find_system(run.system).settings)
    ranges = chosen.pop("warp")
    warp = None if ranges is None else Warp(*ranges)
    K = CLASSES if run.digit is None else CLUSTERS
    return SelfLabelling(K, warp=warp, n_init=run.n_init, batch_size=run.batch_size, **chosen)


def train(
    run: Run, folder: ResultsDir, images: Images, progress: bool
) -> tuple[AutoEncoder, SelfLabelled]:
    """Return the network of the start after its self-labelling; goes on with one that was stopped.

    ValueError when the network of the start is not there or half trained.
    """
    model = network.trained_start(run, folder)
    out = folder.training(run)
    found = self_label(
        model, images, kmeans_rng(run), settings(run), rng=rngs(run.seed).shuffle, run_dir=out,
        resume=(out / CHECKPOINT).exists(), progress=progress,
    )  # fmt: skip
    return model, found


def cluster(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> ClusteringResult:
    """k-means on the codes; argmax q is kept as "argmax", k-means of the start as "start"."""
    model, found = train(run, folder, dataset.images, progress)
    u, clustering = method.cluster(
        model, dataset.images, CLASSES, rng=kmeans_rng(run), n_init=run.n_init, progress=progress
    )
    return ClusteringResult(
        clustering.labels,
        {"start": found.start_labels, "argmax": found.labels},
        {"rounds": len(found.history), "mean_max_q": found.history[-1].extra["mean_max_q"]},
        _details(run, found, clustering),
        found.seconds,
        network.extremes(np.asarray(dataset.images), model.decode(u)),
    )


def score(run: Run, folder: ResultsDir, images: Partition, progress: bool) -> DetectionResult:
    """Eq. 5 by k-means on the codes, in its three readings, and the reconstruction error."""
    model, found = train(run, folder, images.train.images, progress)
    _, clustering = method.cluster(
        model, images.train.images, CLUSTERS, rng=kmeans_rng(run), n_init=run.n_init,
        progress=progress,
    )  # fmt: skip
    scores, arrays = network.anomaly_scores(model, clustering.centers, images.test.images)
    return DetectionResult(scores, _details(run, found, clustering), found.seconds, arrays)


def _details(run: Run, found: SelfLabelled, clustering: Clustering) -> Details:
    return Details(
        refinement=found.rounds(), stopped=found.stopped, settings=settings(run).to_dict(),
        inertia=network.inertias(clustering),
    )  # fmt: skip
