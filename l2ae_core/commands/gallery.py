"""The gallery of other images, or of the training images of a run that keeps none."""

from collections.abc import Sequence
from pathlib import Path

from l2ae_core import data
from l2ae_core.commands.infer import images_for, load_fitted
from l2ae_core.data import Dataset
from l2ae_core.devices import DeviceName
from l2ae_core.gallery import Gallery, make_gallery


def galleries(
    runs: Sequence[Path],
    source: str,
    *,
    data_dir: str | None = None,
    split: data.Split = "all",
    labels: bool = True,
    skip_unreadable: bool = False,
    device: DeviceName | None = "cpu",
    progress: bool = True,
) -> tuple[list[Gallery], Dataset]:
    """Return the gallery of images by the network and the centers of each run, and the images.

    Nothing is written. The images are prepared as for the first run; arguments and errors are
    those of `commands.cluster`.
    """
    loaded = [load_fitted(run, device) for run in runs]
    dataset = images_for(loaded[0], source, data_dir, split, progress, labels, skip_unreadable)
    made = [
        make_gallery(run.model, run.clusters.centers, dataset, seed=run.settings["seed"],
                     progress=progress)
        for run in loaded
    ]  # fmt: skip
    return made, dataset
