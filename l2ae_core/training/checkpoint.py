"""Checkpoints: everything a training needs to go on with the very same bits, in one .npz file.

Entries of the file: `format` (a name and a version), `epoch`, the arrays `params/NAME`,
`state/NAME` (BatchNorm's running statistics), `optimizer/NAME`, `best_params/NAME`,
`best_state/NAME`, `hooks/NAME` (the memory of training/hooks.py), the scalars `best_epoch` and
`best_loss`, and four JSON texts: `rng` (the state of the shuffle's generator), `history` (a list of
records), `settings`, and `entries`, the sorted names of all other entries: damage to the directory
of a zip file can hide some of them without a wrong checksum. No entry is a pickle, and none is read
as one.
"""

import json
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core.array_readers import array_entry, array_group, float_group, json_entry, read_npz
from l2ae_core.files import atomic_file
from l2ae_core.layers.base import HasArrays, Params
from l2ae_core.readers import entry
from l2ae_core.training.history import (
    Best,
    History,
    check_memory,
    copy_into,
    first_difference,
    parse_records,
)
from l2ae_kernels.arrays import Array

FORMAT = "l2ae-checkpoint"
VERSION = 1


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
    groups = {
        "params": checkpoint.params,
        "state": checkpoint.state,
        "optimizer": checkpoint.optimizer,
        "best_params": best.params,
        "best_state": best.state,
        "hooks": checkpoint.hooks,
    }
    entries: Params = {
        "format": np.array([FORMAT, str(VERSION)]),
        "epoch": np.array(checkpoint.epoch),
        "best_epoch": np.array(best.epoch),
        "best_loss": np.array(best.loss),
        "rng": _json_array(checkpoint.rng),
        "history": _json_array(checkpoint.history.to_dicts()),
        "settings": _json_array(checkpoint.settings),
    }
    for group, arrays in groups.items():
        for name, a in arrays.items():
            entries[f"{group}/{name}"] = np.asarray(a, order="C")
    entries["entries"] = _json_array(sorted(entries))
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **entries)


def load(path: Path, model: HasArrays | None = None) -> Checkpoint:
    """Read a checkpoint; with `model`, check that names, shapes and dtypes of its arrays agree.

    Raises CheckpointError when the file is missing, truncated, damaged, foreign, of a newer
    format or of another architecture.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint")
    try:
        entries = read_npz(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    _check_format(path, entries)
    try:
        checkpoint = _assemble(entries, str(path))
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if model is not None:
        check_model(path, checkpoint, model)
    return checkpoint


def _check_format(path: Path, entries: Params) -> None:
    mark = entries.get("format")
    known = mark is not None and mark.shape == (2,) and str(mark[0]) == FORMAT
    if mark is None or not known or not str(mark[1]).isdecimal():
        raise CheckpointError(f"{path}: an .npz file, but not a checkpoint of this library")
    if int(mark[1]) > VERSION:
        raise CheckpointError(
            f"{path}: written in format {mark[1]}, newer than {VERSION}, the newest known here"
        )


def _assemble(entries: Params, where: str) -> Checkpoint:
    names = json_entry(entries, "entries", where)
    missing = set(map(str, names)) - entries.keys() if isinstance(names, list) else {"entries"}
    if missing:
        raise ValueError(f"{where}: the checkpoint lacks {', '.join(map(repr, sorted(missing)))}")
    records = parse_records(json_entry(entries, "history", where), where)
    epoch, best_epoch = (
        int(array_entry(entries, name, 0, "iu", where)) for name in ("epoch", "best_epoch")
    )
    if len(records) != epoch or not 0 <= best_epoch <= epoch:
        raise ValueError(
            f"{where}: epoch is {epoch} and best_epoch {best_epoch} but history has "
            f"{len(records)} records"
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
    for what, found, wanted in pairs:
        difference = first_difference(found, wanted)
        if difference:
            raise CheckpointError(
                f"{path}: the checkpoint is of another architecture: {what} {difference}"
            )
    try:
        check_memory(checkpoint.optimizer, model.params)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _json_array(value: Any) -> Array:
    """A JSON text as an array of characters; arrays inside (MT19937's key) become lists."""
    return np.array(json.dumps(value, default=lambda a: a.tolist()))
