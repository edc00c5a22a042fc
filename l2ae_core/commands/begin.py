"""How a run begins, or goes on: its settings and images, checked, and its directory, locked."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from l2ae_core.classes import training_data
from l2ae_core.commands.checks import (
    checked_settings,
    prepare,
    require_resumable,
    require_there,
    require_trainable,
)
from l2ae_core.commands.infer import require_trained, trained_data
from l2ae_core.commands.outlook import first_lines, say
from l2ae_core.data import Dataset
from l2ae_core.files import CLUSTERS, GALLERY, METRICS
from l2ae_core.locks import locked
from l2ae_core.networks import Architecture
from l2ae_core.seeds.runs import holds_seeds
from l2ae_core.settings import DEFAULTS, run_settings
from l2ae_core.training.run import create_run, read_config, require_new, resumed_config
from l2ae_kernels.cuda.device import Device


class Prepared(NamedTuple):
    """A training that nothing stands in the way of."""

    settings: dict[str, Any]
    architecture: Architecture
    dataset: Dataset


def begun(
    stack: ExitStack, out: Path, given: dict[str, Any], dataset: Dataset | None,
    data_dir: str | None, resume: bool, skip_unreadable: bool, checkpoint_every: int | str,
    progress: bool, device: Device | None,
) -> Prepared:  # fmt: skip
    """Lock `out` and write what the run is, when all is known to be right."""
    if resume:
        run_settings(out)  # CheckpointError where there is no run, and nothing to lock
        stack.enter_context(locked(out))
    else:
        require_new(out)
    before = run_settings(out) if resume else DEFAULTS
    digest = read_config(out)["data"]["digest"] if resume else ""
    settings = checked_settings(before, given, checkpoint_every)
    named = not resume or "class_names" in before  # older runs keep no names of classes
    given_images = dataset is not None
    if dataset is None:
        if resume:
            require_there(out, settings["data"])
            dataset = trained_data(
                settings, digest, data_dir, by_position=not named, progress=progress
            )
        else:
            dataset = training_data(
                settings, data_dir, skip_unreadable=skip_unreadable, progress=progress
            )
    if resume:
        require_resumable(out, before, settings)
        if not given_images:
            require_trained(dataset, digest, settings["data"], out)
    architecture, config = prepare(dataset, settings, named=named)
    require_trainable(architecture, settings, device)
    if not resume:  # not before everything is known to be right
        if holds_seeds(out):
            raise ValueError(f"fit: {out} holds runs of several seeds: choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(out))
    if resume:
        resumed_config(out, config)  # raises where this run cannot go on so
        if any(settings[k] != before.get(k) for k in settings if k != "data"):
            for name in (CLUSTERS, GALLERY, METRICS):  # not those of the configuration to come
                (out / name).unlink(missing_ok=True)
    create_run(out, config, resume=resume)
    if progress and not given_images:
        say(first_lines(dataset, architecture, settings))
    return Prepared(settings, architecture, dataset)
