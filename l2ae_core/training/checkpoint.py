"""Checkpoints: everything a training needs to go on with the very same bits, in one .npz file.

Entries, beside those of every file (npz.py): `epoch`, the arrays `params/NAME`, `state/NAME`
(BatchNorm's running statistics), `optimizer/NAME`, `best_params/NAME`, `best_state/NAME`,
`hooks/NAME` (the memory of training/hooks.py), the scalars `best_epoch` and `best_loss`, and the
JSON texts `rng` (the state of the shuffle's generator), `history` (a list of records), `settings`.
"""

import re
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.array_readers import array_entry, array_group, float_group, json_entry
from l2ae_core.layers.base import HasArrays, Params
from l2ae_core.npz import Kind
from l2ae_core.readers import entry
from l2ae_core.tables import counted
from l2ae_core.training.history import (
    Best,
    History,
    check_memory,
    copy_into,
    first_difference,
    parse_records,
)
from l2ae_kernels.arrays import Array
from l2ae_kernels.ops.checks import count

KIND = Kind("l2ae-checkpoint", "a checkpoint")


def checkpoint_interval(every: int | str) -> tuple[int | None, float]:
    """Return epochs and minutes between two checkpoints, whichever end first.

    10 is 10 epochs or one minute; "5min" is five minutes and no number of epochs. ValueError for
    anything else.
    """
    if isinstance(every, str):
        found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?) ?min", every)
        if found is None or float(found[1]) == 0:
            raise ValueError(
                f"fit: checkpoint_every is {every!r} but expected epochs, such as 10, or minutes, "
                "such as '5min'"
            )
        return None, float(found[1])
    count("fit", "checkpoint_every", every)
    return every, 1.0


class CheckpointError(ValueError):
    """A checkpoint or run directory cannot be used; the message names the file and the reason."""


@dataclass(eq=False)
class Checkpoint:
    """The state of a training after a whole number of epochs."""

    params: Params
    state: Params
    optimizer: Params  # Optimizer.state_dict()
    rng: dict[str, Any]  # Generator.bit_generator.state
    history: History
    settings: dict[str, Any]  # of JSON values: what must be equal to go on
    hooks: Params = field(default_factory=dict)  # Hooks.state_dict()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    def restore(self, model: HasArrays, which: str = "last") -> None:
        """Copy the "last" or the "best" parameters and state into `model`, in place.

        Raises ValueError for another `which`, or when the arrays of the model are others.
        """
        if which not in ("last", "best"):
            raise ValueError(f"Checkpoint: which is {which!r} but expected 'last' or 'best'")
        if which == "best":
            self.history.restore_best(model)
        else:
            copy_into(model.params, self.params, "params")
            copy_into(model.state, self.state, "state")


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, atomically: a crash on the way leaves the old file readable."""
    best = checkpoint.history.best
    arrays: dict[str, Array | Params] = {
        "params": checkpoint.params,
        "state": checkpoint.state,
        "optimizer": checkpoint.optimizer,
        "best_params": best.params,
        "best_state": best.state,
        "hooks": checkpoint.hooks,
        "epoch": np.array(checkpoint.epoch),
        "best_epoch": np.array(best.epoch),
        "best_loss": np.array(best.loss),
    }
    texts = {
        "rng": checkpoint.rng,
        "history": checkpoint.history.to_dicts(),
        "settings": checkpoint.settings,
    }
    KIND.write(path, arrays, texts)


def load(path: Path, model: HasArrays | None = None) -> Checkpoint:
    """Read a checkpoint; with `model`, check that names, shapes and dtypes of its arrays agree.

    Raises CheckpointError when the file is missing, truncated, damaged, foreign, of a newer
    format or of another architecture.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint")
    try:
        checkpoint = _assemble(KIND.read(path), str(path))
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if model is not None:
        check_model(path, checkpoint, model)
    return checkpoint


def _assemble(entries: Params, where: str) -> Checkpoint:
    records = parse_records(json_entry(entries, "history", where), where)
    epoch, best_epoch = (
        int(array_entry(entries, name, 0, "iu", where)) for name in ("epoch", "best_epoch")
    )
    if len(records) != epoch or not 0 <= best_epoch <= epoch:
        raise ValueError(
            f"{where}: epoch is {epoch} and best_epoch {best_epoch} but history has "
            f"{counted(len(records), 'record')}"
        )
    best = Best(
        best_epoch,
        float(array_entry(entries, "best_loss", 0, "f", where)) if best_epoch else inf,
        float_group(entries, "best_params/", where),
        float_group(entries, "best_state/", where),
    )
    values = {name: json_entry(entries, name, where) for name in ("rng", "settings")}
    return Checkpoint(
        params=float_group(entries, "params/", where),
        state=float_group(entries, "state/", where),
        optimizer=array_group(entries, "optimizer/"),
        rng=entry(values, "rng", dict, where=where),
        history=History(records, best),
        settings=entry(values, "settings", dict, where=where),
        hooks=array_group(entries, "hooks/"),
    )


def check_model(path: Path, checkpoint: Checkpoint, model: HasArrays) -> None:
    """Raise CheckpointError unless the checkpoint of `path` has the arrays of `model`."""
    best = checkpoint.history.best
    pairs: list[tuple[str, Params, Params]] = [
        ("parameter", checkpoint.params, model.params),
        ("state", checkpoint.state, model.state),
        ("best parameter", best.params, model.params),
        ("best state", best.state, model.state),
    ]
    for what, found, expected in pairs:
        difference = first_difference(found, expected)
        if difference:
            raise CheckpointError(
                f"{path}: the checkpoint is of another architecture: {what} {difference}"
            )
    try:
        check_memory(checkpoint.optimizer, model.params)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
