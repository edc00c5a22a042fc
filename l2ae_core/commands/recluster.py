"""Other clusters for a trained network: criteria for their number, and one number saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2ae_core import data
from l2ae_core.clustering.sweep import SAMPLE_SIZE, SweepRow, check_sweep
from l2ae_core.clustering.sweep import sweep as sweep_codes
from l2ae_core.clusters import SavedClusters
from l2ae_core.commands.infer import images_for, load_fitted, note_of, training_images
from l2ae_core.commands.train import TrainedRun, fit
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName
from l2ae_core.files import GALLERY
from l2ae_core.seeds.runs import holds_seeds
from l2ae_core.settings import run_settings


def sweep(
    run: Path,
    source: str | Dataset | None,
    clusters: Sequence[int],
    *,
    sample_size: int = SAMPLE_SIZE,
    data_dir: str | None = None,
    split: data.Split = "all",
    labels: bool = True,
    skip_unreadable: bool = False,
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[list[SweepRow], dict[str, Any]]:
    """Cluster the codes of the images anew into each number of clusters; return a row a number.

    The centers of the run are not used, and stay; its seed and its n_init are used. The second
    value has "images", a text about these for the title of a figure, "note" as in `cluster`, and
    "reclusterable": whether the run can get another number of clusters.
    Codes are those before self-labelling, which gathers them around the centers of the run: every
    criterion would prefer as many clusters as it was given.
    """
    check_sweep(clusters, sample_size)
    loaded = load_fitted(run, device, self_labelled=False)
    dataset = images_for(loaded, source, data_dir, split, progress, labels, skip_unreadable)
    check_sweep(clusters, sample_size, len(dataset))
    seed, n_init = (loaded.settings[name] for name in ("seed", "n_init"))
    u = loaded.model.encode(dataset.images)
    rows = sweep_codes(
        u, clusters, seed=seed, n_init=n_init, sample_size=sample_size, progress=progress
    )
    before = "by the codes before self-labelling" if loaded.settings["self_label"] else ""
    note = note_of(before, loaded.note, *dataset.notes)
    return rows, {
        "images": f"{dataset.name}, N = {len(dataset):,}, seed {seed}",
        "note": note,
        "reclusterable": not loaded.settings["self_label"],
    }


def recluster(
    run: Path,
    n_clusters: int,
    *,
    source: str | None = None,
    data_dir: str | None = None,
    progress: bool = True,
) -> TrainedRun:
    """Cluster the training images of a finished run into n_clusters; write all that follows.

    No weight of the network depends on the number, so nothing is trained: the run becomes what
    `fit` with this number makes. `source` tells where the images are if they have moved.
    ValueError for a number that is none, for a run that went on with its clusters as labels and for
    a folder of several seeds, each of which tells what to do; CheckpointError for a run that is not
    finished.
    """
    if holds_seeds(run):
        raise ValueError(
            f"save: {run} holds runs of several seeds; l2ae fit --resume --clusters {n_clusters} "
            f"--out {run} clusters them all anew and compares them"
        )
    SavedClusters.load(run)  # what lacks them is unfinished
    if run_settings(run)["self_label"]:
        raise ValueError(
            f"save: {run} went on training with its clusters as labels, so that its codes depend "
            f"on their number; l2ae fit --self-label --clusters {n_clusters} trains another run"
        )
    dataset = training_images(run, source, data_dir=data_dir, progress=progress)
    given = {"clusters": n_clusters} | ({} if source is None else {"data": source})
    return fit(
        run, given, dataset=dataset, resume=True, progress=progress,
        gallery=(run / GALLERY).exists(),
    )  # fmt: skip
