"""A fitted estimator as one .npz file. No entry is a pickle, and none is read as one.

Entries: `format` (a name, a version, the class), `values` (a JSON text: parameters, architecture
and the fitted attributes that are numbers or lists), the arrays among the fitted attributes, and
`params/NAME` and `state/NAME` of the network.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from l2ae_core.files import atomic_file, read_npz
from l2ae_core.layers.base import Params
from l2ae_core.models.architectures import Architecture, build
from l2ae_core.training.history import copy_into

if TYPE_CHECKING:
    from l2ae_core.estimators.base import AutoEncoderBase

E = TypeVar("E", bound="AutoEncoderBase")

FORMAT = "l2ae-estimator"
VERSION = 1
ARRAYS = ("embedding_", "labels_", "cluster_centers_")
OPTIONAL_ARRAYS = ("mean_", "scale_")  # or None
VALUES = ("inertia_", "n_iter_", "seed_", "n_features_in_", "image_shape_", "history_")
OPTIONAL_VALUES = ("offset_", "feature_names_in_")


def save(path: Path, estimator: "AutoEncoderBase") -> None:
    """Write a fitted estimator to `path`; a crash on the way leaves an old file readable."""
    fitted = vars(estimator)
    parameters = estimator.get_params()
    if not isinstance(parameters["random_state"], int | np.integer | None):
        parameters["random_state"] = estimator.seed_
    values = {name: fitted[name] for name in (*VALUES, *OPTIONAL_VALUES) if name in fitted}
    values |= {"parameters": parameters, "architecture": estimator.architecture_.to_dict()}
    entries: Params = {
        "format": np.array([FORMAT, str(VERSION), type(estimator).__name__]),
        "values": np.array(json.dumps(values, default=_plain)),
    }
    arrays = {name: fitted[name] for name in (*ARRAYS, *OPTIONAL_ARRAYS)}
    entries |= {name: a for name, a in arrays.items() if a is not None}
    network = estimator.autoencoder_
    for group, members in {"params": network.params, "state": network.state}.items():
        entries |= {f"{group}/{name}": np.asarray(a, order="C") for name, a in members.items()}
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **entries)


def load(path: Path, cls: type[E]) -> E:
    """Read an estimator of class `cls`; ValueError, naming the file, when it cannot be one."""
    if not path.is_file():
        raise FileNotFoundError(f"load: there is no file {path}")
    entries = read_npz(path)
    _check_format(path, entries, cls.__name__)
    try:
        return _assemble(entries, cls)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"load: {path} lacks or garbles an entry: {error}") from error


def _check_format(path: Path, entries: Params, name: str) -> None:
    mark = entries.get("format")
    if mark is None or mark.shape != (3,) or str(mark[0]) != FORMAT:
        raise ValueError(f"load: {path} is an .npz file, but not an estimator of this library")
    if int(mark[1]) > VERSION:
        raise ValueError(
            f"load: {path} has format {mark[1]}, newer than {VERSION}, the newest known here"
        )
    if str(mark[2]) != name:
        raise ValueError(f"load: {path} holds an {mark[2]} but expected an {name}")


def _assemble(entries: Params, cls: type[E]) -> E:
    values = json.loads(str(entries["values"]))
    estimator = cls(**{name: _tuple(value) for name, value in values["parameters"].items()})
    estimator.architecture_ = Architecture.from_dict(values["architecture"])
    estimator.autoencoder_ = build(estimator.architecture_, np.random.default_rng(0))  # overwritten
    copy_into(estimator.autoencoder_.params, _group(entries, "params/"), "params")
    copy_into(estimator.autoencoder_.state, _group(entries, "state/"), "state")
    fitted: dict[str, Any] = {name: entries[name] for name in ARRAYS}
    fitted |= {name: entries.get(name) for name in OPTIONAL_ARRAYS}
    fitted |= {name: values[name] for name in VALUES}
    fitted |= {name: values[name] for name in OPTIONAL_VALUES if name in values}
    fitted["image_shape_"] = _tuple(fitted["image_shape_"])
    if "feature_names_in_" in fitted:
        fitted["feature_names_in_"] = np.array(fitted["feature_names_in_"], dtype=object)
    for name, value in fitted.items():
        setattr(estimator, name, value)
    return estimator


def _group(entries: Params, prefix: str) -> Params:
    return {key.removeprefix(prefix): a for key, a in entries.items() if key.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Arrays and NumPy scalars for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"save: {value!r} cannot be written as JSON")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
