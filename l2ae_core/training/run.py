"""A run directory: what was trained on what (`config.json`), and the trained model itself.

config.json      architecture, data and its digest, seed, training settings, versions
history.jsonl    one record an epoch
checkpoint.npz   the last and the best parameters, and all it takes to go on
metrics.json     scores, when something measured them
self-labelling/  history and checkpoint of the training that goes on with its own labels
.lock            who trains here, while somebody does
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from l2ae_core.data.preparation import Preparation
from l2ae_core.environment import versions
from l2ae_core.files import CHECKPOINT, CONFIG, METRICS, SELF_LABELLING, write_json
from l2ae_core.locks import locked
from l2ae_core.networks.architectures import Architecture, build, require_weights
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.readers import entry, one_line, read_json
from l2ae_core.tables import counted
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.checkpoint import CheckpointError

CONFIG_VERSION = 1
ENTRIES: dict[str, tuple[type, ...]] = {  # of the configuration, besides its version
    "architecture": (dict,),
    "data.name": (str,),
    "data.digest": (str,),
    "seed": (int,),
    "training": (dict,),
    "versions": (dict,),
}
TRAINING_ENTRIES: dict[str, tuple[type, ...]] = {  # where "training" has them
    "epochs": (int,),
    "batch_size": (int,),
    "optimizer": (str,),
    "learning_rate": (float,),
    "reduction": (str,),
    "split": (str,),
    "clusters": (int,),
    "n_init": (int,),
    "weights": (str,),
    "anomaly_class": (int, str, NoneType),
    "class_names": (list, NoneType),
    "keep": (float,),
    "labels": (bool,),
    "size": (list, NoneType),
    "fit": (str,),
    "grey": (bool,),
    "background": (str, NoneType),
    "depth": (str,),
    "image_shape": (list, NoneType),
    "augment": (bool,),
    "rotation": (float,),
    "shift": (float,),
    "scale": (float,),
    "validation": (float,),
    "patience": (int, NoneType),
    "self_label": (bool,),
    "rounds": (int,),
    "concentration": (float,),
    "gamma": (float, NoneType),
    "tol": (float,),
    "label_rotation": (float,),
    "label_shift": (float,),
    "label_scale": (float,),
}
# What older runs, without these entries, were trained with.
NEWER: dict[str, Any] = {
    "labels": True,
    "size": None,
    "fit": "pad",
    "grey": False,
    "background": None,
    "depth": "8",
    "image_shape": None,
    "augment": False,
    "rotation": 10.0,
    "shift": 0.1,
    "scale": 0.0,
    "validation": 0.0,
    "patience": None,
    "self_label": False,
    "rounds": 40,
    "concentration": 5.0,
    "gamma": 0.1,
    "tol": 1e-3,
    "label_rotation": 20.0,
    "label_shift": 0.15,
    "label_scale": 0.2,
}
# The fields of the architecture that older runs do not have, as they were then.
NEWER_ARCHITECTURE: dict[str, Any] = {"kernels": [5, 5, 3]}
# What a resume may change, since the weights up to there do not depend on it.
CHANGEABLE = tuple(
    f"training.{name}"
    for name in ("epochs", "patience", "clusters", "n_init", "weights", "self_label", "rounds",
                 "concentration", "gamma", "tol", "label_rotation", "label_shift", "label_scale")
)  # fmt: skip


def make_config(
    architecture: Architecture,
    *,
    data: str,
    digest: str,
    seed: int,
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of `config.json`.

    `data` and `digest` are the name and checksum of the data set; `training` holds JSON values:
    epochs, batch_size, optimizer, learning_rate, reduction and whatever else the caller chose.
    """
    config = {
        "version": CONFIG_VERSION,
        "architecture": architecture.to_dict(),
        "data": {"name": data, "digest": digest},
        "seed": seed,
        "training": dict(training),
        "versions": versions(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(config))  # tuples become lists, as on disk
    return plain


def create_run(path: Path, config: Mapping[str, Any], *, resume: bool = False) -> None:
    """Make the run directory `path` and write its `config.json`.

    With `resume` the directory has a `config.json` already; it must agree with `config` in all but
    `versions`, the name of the data, the number of epochs and what k-means does afterwards
    (`CHANGEABLE`), and takes over these; epochs may not be fewer than are trained. Call it before
    `fit`.

    Raises CheckpointError when a checkpoint is there already (without `resume`), or when there is
    no run (with it); ValueError, naming the setting, when the settings differ; BlockingIOError when
    another process trains there.
    """
    if resume:
        read_config(path)
    else:
        path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if resume:
            write_json(path / CONFIG, resumed_config(path, config))
            return
        require_new(path)
        write_json(path / CONFIG, config)


def require_new(path: Path) -> None:
    """Raise CheckpointError where something was trained in the run directory `path`."""
    for checkpoint in (path / CHECKPOINT, path / SELF_LABELLING / CHECKPOINT):
        if checkpoint.exists():
            raise CheckpointError(
                f"{checkpoint}: already exists: resume this training or choose another folder"
            )


def resumed_config(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the run `path` as it goes on with `config`; nothing is written.

    Raises what `create_run` raises where it cannot.
    """
    before = read_config(path)
    for name, was, now in _differences(before, config):
        why = f": {config['data']['name']} holds other images" if name == "data.digest" else ""
        raise ValueError(f"fit: {name} is {now!r} but {path} was started with {was!r}{why}")
    was, epochs = (_flat(c).get("training.epochs") for c in (before, config))
    if was != epochs and (path / CHECKPOINT).exists():
        done = checkpoints.load(path / CHECKPOINT).epoch
        if epochs is not None and epochs < done:
            raise ValueError(
                f"fit: training.epochs is {epochs} but {path} has {counted(done, 'epoch')} already"
            )
    before["training"] = dict(config["training"])
    before["data"] = dict(config["data"])  # they may have moved
    return before


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of `config.json` of the run directory `path`.

    Raises CheckpointError when it is missing, is no JSON or of a newer version, or, naming the
    entry, when one is missing or of another type.
    """
    file = path / CONFIG
    if not file.exists():
        raise CheckpointError(f"{file}: missing, so {path} is not a run directory")
    try:
        config: dict[str, Any] = read_json(file)
        found = entry(config, "version", int, where=str(file))
        if found > CONFIG_VERSION:
            raise ValueError(
                f"{file}: has version {found}, newer than {CONFIG_VERSION}, the newest known here"
            )
        for name, kinds in ENTRIES.items():
            entry(config, name, *kinds, where=str(file))
        for name, kinds in TRAINING_ENTRIES.items():
            if name in config["training"]:
                entry(config, f"training.{name}", *kinds, where=str(file))
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    return config


def load_run(path: Path, which: str = "best") -> tuple[AutoEncoder, dict[str, Any]]:
    """Return the trained model of the run directory `path` and its configuration.

    `which` is "best" (the epoch with the lowest training loss), "last", or "self-labelled" (after
    the training with its own labels). Raises CheckpointError when configuration or checkpoint are
    missing, damaged or do not belong together, ValueError for another `which`.
    """
    config, file = read_config(path), path / CHECKPOINT
    if which == "self-labelled":
        file, which = path / SELF_LABELLING / CHECKPOINT, "last"
    checkpoint = checkpoints.load(file)
    try:
        architecture = Architecture.from_dict(config["architecture"])
    except ValueError as error:
        raise CheckpointError(f"{path / CONFIG}: bad architecture: {one_line(error)}") from error
    try:
        require_weights(architecture, checkpoint.params)
    except ValueError as error:
        raise CheckpointError(f"{file}: of another architecture: {error}") from error
    dtype = next(iter(checkpoint.params.values())).dtype
    model = build(architecture, np.random.default_rng(0), dtype)  # weights are replaced below
    checkpoints.check_model(file, checkpoint, model)
    checkpoint.restore(model, which)
    return model, config


def final_weights(path: Path, config: Mapping[str, Any]) -> str:
    """Return which weights of the run `path` its clusters are of, for `load_run`.

    CheckpointError where its configuration does not say so.
    """
    training = NEWER | config["training"]
    if training["self_label"]:
        return "self-labelled"
    if "weights" not in training:
        raise CheckpointError(f"{path / CONFIG}: lacks the setting weights")
    weights: str = training["weights"]
    return weights


def trained_preparation(path: Path, config: Mapping[str, Any]) -> Preparation:
    """Return how the images of the run `path` were prepared; CheckpointError for bad values."""
    training = NEWER | config["training"]
    try:
        return Preparation(**{field.name: training[field.name] for field in fields(Preparation)})
    except ValueError as error:
        raise CheckpointError(f"{path / CONFIG}: bad preparation: {one_line(error)}") from error


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write `metrics.json` of the run directory `path`, atomically."""
    write_json(path / METRICS, dict(metrics))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, before, now) of all settings that differ, but for versions and CHANGEABLE.

    Data are what their digest says; where they stand, and their name, may be another.
    """
    newer = _flat({"training": NEWER, "architecture": NEWER_ARCHITECTURE})
    a, b = newer | _flat(before), newer | _flat(now)
    compared = (a.keys() | b.keys()) - {*CHANGEABLE, "data.name"}
    return [
        (name, a.get(name), b.get(name))
        for name in sorted(compared)
        if a.get(name) != b.get(name) and name[:9] != "versions."
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
