"""What `l2ae cluster` and `l2ae score` are applied to: a run directory, and images.

Images are those of a `source`, as `l2ae fit` has it, or a `Dataset` that was read for the run, as
`training_images` does; None: those of the training.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from l2ae_core import data
from l2ae_core.classes import training_data
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import Dataset
from l2ae_core.data.fetch import expand_user
from l2ae_core.data.stored import in_colour
from l2ae_core.devices import DeviceName, DeviceNetwork, choose_device
from l2ae_core.networks import AutoEncoder
from l2ae_core.seeds.runs import chosen_run
from l2ae_core.settings import make_preparation, run_settings
from l2ae_core.training.run import load_run, read_config


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """The network of a run on a device, its clusters and its settings, for new images."""

    model: AutoEncoder | DeviceNetwork
    clusters: SavedClusters
    settings: dict[str, Any]
    path: Path  # its directory
    note: str = ""  # which run it is and where it runs, if the caller left that open


def load_fitted(
    run: Path, device: DeviceName | None = "cpu", *, self_labelled: bool = True
) -> LoadedRun:
    """Return network and clusters of a finished run, to be run on a device; None: any.

    Of a folder of several seeds it is the chosen run. With self_labelled=False the network is that
    before self-labelling, and the clusters are not those of its codes. CheckpointError when there
    are none, ValueError when device is "cuda" and there is none.
    """
    run, which = chosen_run(run)
    settings = run_settings(run)
    clusters = SavedClusters.load(run)  # the last that a run gets: what lacks them is unfinished
    last_phase = self_labelled and settings["self_label"]
    model, _ = load_run(run, "self-labelled" if last_phase else settings["weights"])
    chosen, note = choose_device(device)
    note = "; ".join(filter(None, (which, note)))
    if chosen is None:
        return LoadedRun(model, clusters, settings, run, note)
    return LoadedRun(DeviceNetwork.move(model, chosen), clusters, settings, run, note)


def note_of(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def images_for(
    run: LoadedRun, source: str | Dataset | None, data_dir: str | None, split: data.Split,
    progress: bool, labels: bool = True, skip_unreadable: bool = False,
) -> Dataset:  # fmt: skip
    """Return the images, prepared as those of the training; grey becomes three channels.

    There are no labels where the run was trained without.
    """
    if isinstance(source, str):
        dataset = data.load(
            source, data_dir=data_dir, split=split, labels=labels and run.settings["labels"],
            preparation=make_preparation(run.settings), skip_unreadable=skip_unreadable,
            progress=progress,
        )  # fmt: skip
    elif split != "all":
        raise ValueError(f"split: {split} was given without data: the images of the training")
    else:
        dataset = source or training_images(run.path, data_dir=data_dir, progress=progress)
        if not labels:
            dataset = replace(dataset, labels=None, class_names=None)
    found, expected = dataset.images.shape[1:], run.model.input_shape
    if found == (*expected[:2], 1) and expected[2] == 3:
        return replace(dataset, images=in_colour(dataset.images))
    if found != expected:
        advice = ""
        if found[:2] != expected[:2]:
            advice = "; a run that was trained with --size takes images of any size"
        elif expected[2] == 1:
            advice = "; a run that was trained with --grey takes colour, too"
        raise ValueError(
            f"data: images of {dataset.name} have shape {found} but the run was trained on "
            f"{expected}{advice}"
        )
    return dataset


def training_images(
    run: Path,
    source: str | None = None,
    *,
    data_dir: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Return the images that a run directory was trained on, from `source` if they have moved.

    Files that cannot be read, and could not then, are left out. ValueError where the images are not
    there, or are not these images.
    """
    config, settings = read_config(run), run_settings(run)
    if source is not None:
        settings["data"] = source
    where, digest = settings["data"], config["data"]["digest"]
    if not digest:
        raise ValueError(
            f"data: {run} was written by save_run, which does not know the images of the training: "
            "--data names images to score; recluster, before save_run, makes other clusters"
        )
    if where == data.IN_MEMORY:
        raise ValueError(
            f"data: the images of {run} were an array in memory; saved with np.save, --data names "
            "them"
        )
    if where not in data.DATASETS and not expand_user(where).exists():
        raise ValueError(
            f"data: {where}, the images of {run}, is no longer there; if they have moved, --data "
            "tells where"
        )
    dataset = trained_data(
        settings, digest, data_dir, by_position="class_names" not in settings, progress=progress
    )
    require_trained(dataset, digest, where, run)
    return dataset


def trained_data(
    settings: dict[str, Any], digest: str, data_dir: str | None, *, by_position: bool,
    progress: bool,
) -> Dataset:  # fmt: skip
    """Return what `training_data` returns for the settings of a run that was trained before.

    Files that cannot be read are left out: whether the run was trained without them, the digest of
    its images tells (`require_trained`). There are no labels where the digest, of the run of an
    estimator, has none.
    """
    dataset = training_data(
        settings, data_dir, by_position=by_position, skip_unreadable=True, progress=progress
    )
    bare = replace(dataset, labels=None, class_names=None)
    return bare if dataset.digest != digest and bare.digest == digest else dataset


def require_trained(dataset: Dataset, digest: str, where: str, run: Path) -> None:
    """Raise ValueError unless the digest is that of the images, naming files that were left out."""
    if dataset.digest != digest:
        raise ValueError(
            "; ".join([f"data: the images of {where} are not those that {run} was trained on",
                       *dataset.notes])
        )  # fmt: skip
