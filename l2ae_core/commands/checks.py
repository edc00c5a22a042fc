"""What `l2ae fit` refuses before the first step, and the settings that it goes on with."""

from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import data
from l2ae_core.data import Dataset
from l2ae_core.data.fetch import expand_user
from l2ae_core.files import CHECKPOINT, SELF_LABELLING
from l2ae_core.method import batches_of
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.settings import (
    ARCHITECTURE,
    NOT_TRAINING,
    PREPARATION,
    SELECTION,
    check_settings,
    make_preparation,
)
from l2ae_core.tables import counted
from l2ae_core.training.lower import require_stages
from l2ae_core.training.run import make_config, read_config
from l2ae_core.training.validation import share_of
from l2ae_kernels.cuda.device import Device

ARRAYS = (".npy", ".npz")


def checked_settings(
    before: dict[str, Any], given: dict[str, Any], checkpoint_every: int | str
) -> dict[str, Any]:
    """Return the settings of a training, checked: those of `before`, overridden by `given`."""
    given = {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    settings = before | given
    check_settings(settings, given, checkpoint_every)
    preparation = make_preparation(settings)
    settings |= {name: getattr(preparation, name) for name in PREPARATION}
    if settings["data"] not in (*data.DATASETS, data.IN_MEMORY):  # resumed from any folder
        settings["data"] = str(expand_user(settings["data"]).resolve())
        if given.get("image_shape") is not None and Path(settings["data"]).suffix not in ARRAYS:
            raise ValueError(
                f"fit: image_shape is {given['image_shape']} but has no effect, since "
                f"{settings['data']} is no file of an array (N, F)"
            )
    return settings


def require_there(out: Path, source: str) -> None:
    """Raise ValueError where the images of the run `out` have moved, telling how to go on."""
    if source == data.IN_MEMORY:
        raise ValueError(
            f"fit: the images of {out} were an array in memory; saved with np.save, they go on as "
            f"l2ae fit --resume --data FILE.npy --out {out}"
        )
    if source not in data.DATASETS and not Path(source).exists():
        raise ValueError(
            f"fit: {source}, the images of {out}, is no longer there; if they have moved, "
            f"l2ae fit --resume --data WHERE --out {out} goes on with them"
        )


def require_resumable(out: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise ValueError where the images, or what self-labelling went on from, would change.

    Nor can a run go on that an estimator wrote at its end, without the memory of the optimizer.
    """
    if not read_config(out)["data"]["digest"]:
        raise ValueError(f"fit: {out} was written by save_run and cannot be resumed")
    for name in SELECTION:
        if settings[name] != before[name]:
            raise ValueError(
                f"fit: {name} is {settings[name]!r} but {out} was started with {before[name]!r}"
            )
    if not (out / SELF_LABELLING / CHECKPOINT).exists():
        return
    for name in settings:
        if name != "data" and settings[name] != before[name]:  # images may have moved
            raise ValueError(
                f"fit: {name} is {settings[name]!r} but {out} has a self-labelled network of "
                f"{name} {before[name]!r}: choose another folder"
            )


def prepare(
    dataset: Dataset, settings: dict[str, Any], *, named: bool = True
) -> tuple[Architecture, dict[str, Any]]:
    """Return the architecture for the training images, and the content of config.json.

    `settings` take over the names of the classes, if `named`. ValueError for images that cannot be
    trained on or clustered.
    """
    if named:
        names = dataset.class_names
        settings["class_names"] = None if names is None else list(names)
    _require_clusterable(dataset, settings["clusters"])
    if settings["validation"]:
        share_of(len(dataset), settings["validation"])
    H, W, C = dataset.images.shape[1:]
    architecture = make_architecture((H, W, C), settings)
    config = make_config(
        architecture,
        data=settings["data"],
        digest=dataset.digest,
        seed=settings["seed"],
        training={k: v for k, v in settings.items() if k not in NOT_TRAINING},
    )
    return architecture, config


def require_trainable(
    architecture: Architecture, settings: dict[str, Any], device: Device | None
) -> None:
    """Raise ValueError, naming it, for what a device cannot train; None is the processor."""
    if device is None:
        return
    if settings["self_label"]:
        raise ValueError(
            f"fit: self_label is on but device is {device}: self-labelling runs on the processor; "
            "train on the device, then go on with --resume --self-label"
        )
    if settings["optimizer"] != "adam":
        raise ValueError(f"fit: optimizer is {settings['optimizer']!r} but {device} has adam alone")
    require_stages(build(architecture, rngs(0).init), str(device))


def make_architecture(shape: tuple[int, int, int], settings: dict[str, Any]) -> Architecture:
    """Return the network for images of a shape (H, W, C); ValueError where there is none."""
    return Architecture(input_shape=shape, **{k: settings[k] for k in ARCHITECTURE})


def _require_clusterable(dataset: Dataset, n_clusters: int) -> None:
    x = dataset.images
    if len(x) < n_clusters:
        raise ValueError(
            f"fit: clusters is {n_clusters} but there {'is' if len(x) == 1 else 'are'} only "
            f"{counted(len(x), 'training image')}"
        )
    if len(x) > 1 and all((x[some] == x[0]).all() for some in batches_of(x)):
        raise ValueError(
            f"fit: all {len(x)} images of {dataset.name} are equal: there is nothing to tell apart"
        )
