"""The gallery of other images, or of the training images of a run that keeps none."""

from pathlib import Path

from l2ae_core import data
from l2ae_core.commands.infer import images_for, load_fitted
from l2ae_core.devices import DeviceName
from l2ae_core.gallery import Gallery, make_gallery


def gallery(
    run: Path,
    source: str,
    *,
    data_dir: str | None = None,
    split: data.Split = "all",
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> Gallery:
    """Return the gallery of images by the network and the centers of a run; nothing is written.

    Arguments and errors are those of `commands.cluster`.
    """
    loaded = load_fitted(run, device)
    dataset = images_for(loaded, source, data_dir, split, progress)
    seed = loaded.settings["seed"]
    return make_gallery(
        loaded.model, loaded.clusters.centers, dataset, seed=seed, progress=progress
    )
