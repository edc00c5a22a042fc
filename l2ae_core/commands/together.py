"""The trainings of several runs at once, on a device."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from l2ae_core import method
from l2ae_core.commands.begin import Prepared, begun
from l2ae_core.data import Dataset
from l2ae_core.files import CONFIG
from l2ae_core.settings import TRAIN_ARGUMENTS, make_warp
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.together import fit_together
from l2ae_kernels.cuda.device import Device


class Request(NamedTuple):
    """A run to train: the arguments of `fit` that differ from run to run."""

    out: Path
    given: dict[str, Any]
    dataset: Dataset


def train_together(
    requests: Sequence[Request], device: Device, *, micro_batch: int | None = None,
    progress: bool = True,
) -> list[Exception | None]:  # fmt: skip
    """Train networks as `fit` does, at once on a device; goes on with those that were begun.

    micro_batch: that of `training.loop.fit`, of all whose network has no batch norm.
    Returns why each failed, None for those that did not. Their clusters are not made:
    `fit(..., resume=True)` finds the trained network and makes them.
    """
    failed: dict[int, Exception] = {}
    arguments: dict[int, dict[str, Any]] = {}
    with ExitStack() as stack:
        for i, (out, given, dataset) in enumerate(requests):
            resume = (out / CONFIG).exists()
            try:
                prepared = begun(stack, out, given, dataset, None, resume, False, 10, False, device)
            except (ValueError, OSError, CheckpointError) as error:
                failed[i] = error
            else:
                arguments[i] = _arguments(prepared) | {"run_dir": out, "resume": resume}
                if "batch" not in (prepared.architecture.norm, prepared.architecture.hidden_norm):
                    arguments[i]["micro_batch"] = micro_batch
        ended = fit_together(list(arguments.values()), device, progress=progress)
    for i, found in zip(arguments, ended, strict=True):
        if isinstance(found, Exception):
            failed[i] = found
    return [failed.get(i) for i in range(len(requests))]


def _arguments(prepared: Prepared) -> dict[str, Any]:
    """The arguments of `training.loop.fit` for a training; those of `method.train`."""
    settings, architecture, dataset = prepared
    chosen = ("optimizer", "learning_rate", "seed", "validation")
    start = method.begin(
        dataset.images, architecture, warp=make_warp(settings), **{k: settings[k] for k in chosen}
    )
    return start | {name: settings[name] for name in TRAIN_ARGUMENTS if name not in chosen}
