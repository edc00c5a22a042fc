"""DEC, IDEC and DCEC: go on from the trained network of another run (`System.start`)."""

from dataclasses import replace

import numpy as np

from l2ae_core.baselines.dec import DecSettings, refine
from l2ae_core.data import Dataset
from l2ae_core.files import CHECKPOINT
from l2ae_core.paper.methods import network
from l2ae_core.paper.protocols import ClusteringResult, kmeans_rng
from l2ae_core.paper.result import Details
from l2ae_core.paper.run import CLASSES, ResultsDir, Run
from l2ae_core.paper.systems import find_system

OTHERWISE = "usps"  # whose settings small data sets take


def settings(run: Run) -> DecSettings:
    """The settings of the authors' code for the data set, or for the one that is nearest."""
    method = find_system(run.system).settings["variant"]
    known = run.data if run.data in ("mnist", "usps") else OTHERWISE
    return replace(
        DecSettings.reference(method, known),
        n_clusters=CLASSES, n_init=run.n_init, batch_size=run.batch_size,
    )  # fmt: skip


def cluster(run: Run, folder: ResultsDir, dataset: Dataset, progress: bool) -> ClusteringResult:
    """Refine the network of the start, whose k-means labels are kept as "start".

    ValueError when the network of the start is not there or half trained.
    """
    model = network.trained_start(run, folder)
    out, chosen = folder.training(run), settings(run)
    found = refine(model, dataset.images, kmeans_rng(run), chosen, run_dir=out,
                   resume=(out / CHECKPOINT).exists(), progress=progress)  # fmt: skip
    history = [vars(record) for record in found.history]
    return ClusteringResult(
        found.labels,
        {"start": found.start_labels},
        {"iterations": found.iterations},
        Details(refinement=history, stopped=found.stopped, settings=chosen.to_dict()),
        found.seconds,
        network.extremes(np.asarray(dataset.images), model.reconstruct(dataset.images)),
    )
