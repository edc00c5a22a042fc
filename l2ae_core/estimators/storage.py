"""A fitted estimator as one .npz file. No entry is a pickle, and none is read as one.

Entries, beside those of every file (npz.py; the detail of the kind is the class): `values` (a JSON
text: parameters, architecture and the fitted attributes that are numbers or lists), the arrays
among the fitted attributes, and `params/NAME` and `state/NAME` of the network.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator

from l2ae_core.array_readers import array_entry, float_group, json_entry
from l2ae_core.data import Preparation
from l2ae_core.estimators.parameters import OBJECTS, SWITCHES, check_parameters
from l2ae_core.files import check_out
from l2ae_core.layers.base import Params
from l2ae_core.networks.architectures import Architecture, build, require_weights
from l2ae_core.npz import Kind
from l2ae_core.readers import entry, one_line
from l2ae_core.training.history import copy_into, parse_records
from l2ae_core.typed_json import from_json

E = TypeVar("E")

ARRAYS = ("embedding_", "labels_", "cluster_centers_")
SCALING = ("mean_", "scale_")
OPTIONAL_ARRAYS = (*SCALING, "reconstruction_errors_")  # or None
# Parameters that belong to one call of fit.
NOT_KEPT = ("callbacks", "run_dir", "resume", "device")
VALUES: dict[str, tuple[type, ...]] = {
    "inertia_": (float,),
    "seed_": (int,),
    "n_features_in_": (int,),
    "image_shape_": (list, NoneType),
    "history_": (list,),
}
OPTIONAL_VALUES: dict[str, tuple[type, ...]] = {
    "n_iter_": (int,),  # none of a run, which does not keep it
    "offset_": (float,),
    "error_threshold_": (float, NoneType),  # older files of detectors have none
    "feature_names_in_": (list,),
    "self_labelling_history_": (list, NoneType),  # older files have none
}


@dataclass(frozen=True)
class Round:
    """A dict of `self_labelling_history_`, as it has to be."""

    round: int  # counts from 1
    loss: float
    label_change: float
    kl: float
    reconstruction: float | None
    mean_max_q: float


def save(path: Path, estimator: BaseEstimator) -> None:
    """Write a fitted estimator to `path`; a crash on the way leaves an old file readable.

    ValueError where `path` is a file of a run directory, and for what a run lacks without its X.
    """
    check_out(path)
    fitted = vars(estimator)
    if "embedding_" not in fitted:
        raise ValueError(
            "save: the estimator has no embedding_: from_run(run, X) with the images of the run "
            "has one, or keep the folder of the run itself"
        )
    parameters = {k: v for k, v in estimator.get_params().items() if k not in NOT_KEPT}
    if isinstance(parameters["validation"], np.ndarray):
        del parameters["validation"]
    if not isinstance(parameters["random_state"], int | np.integer | None):
        parameters["random_state"] = estimator.seed_
    for name, kind in OBJECTS.items():
        if isinstance(parameters[name], kind):
            parameters[name] = parameters[name].to_dict()
    values = {name: fitted[name] for name in (*VALUES, *OPTIONAL_VALUES) if name in fitted}
    values |= {"parameters": parameters, "architecture": estimator.architecture_.to_dict()}
    found = {name: fitted[name] for name in (*ARRAYS, *OPTIONAL_ARRAYS)}
    network = estimator.autoencoder_
    arrays = {name: np.asarray(a) for name, a in found.items() if a is not None}
    arrays |= {"params": network.params, "state": network.state}
    _kind(type(estimator)).write(path, arrays, {"values": values})


def load(path: Path, cls: type[E]) -> E:
    """Read an estimator of class `cls`; ValueError, naming the file, when it cannot be one."""
    if not path.exists():
        raise FileNotFoundError(f"load: there is no file {path}")
    entries = _kind(cls).read(path)
    try:
        return _assemble(entries, cls, str(path))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"load: {path} lacks or garbles an entry: {one_line(error)}") from error


def _kind(cls: type) -> Kind:
    return Kind("l2ae-estimator", "an estimator", detail=cls.__name__, optional=("entries",))


def _assemble(entries: Params, cls: type[E], where: str) -> E:
    values = json_entry(entries, "values", where)
    architecture = Architecture.from_dict(entry(values, "architecture", dict, where=where))
    parameters = entry(values, "parameters", dict, where=where)
    parameters = {"slope": architecture.slope} | parameters  # older files have it there alone
    estimator: Any = cls(**{name: _parameter(name, value) for name, value in parameters.items()})
    params, state = (float_group(entries, f"{group}/", where) for group in ("params", "state"))
    require_weights(architecture, params)
    estimator.architecture_ = architecture
    estimator.autoencoder_ = build(architecture, np.random.default_rng(0))  # overwritten
    copy_into(estimator.autoencoder_.params, params, "params")
    copy_into(estimator.autoencoder_.state, state, "state")
    check_parameters(estimator.get_params())
    fitted = _fitted_arrays(entries, architecture, where) | _fitted_values(values, where)
    _check_shape(fitted, architecture)
    for name, value in fitted.items():
        setattr(estimator, name, value)
    made: E = estimator
    return made


def _fitted_arrays(entries: Params, architecture: Architecture, where: str) -> dict[str, Any]:
    D = architecture.latent_dim
    u = array_entry(entries, "embedding_", 2, "f", where)
    centers = array_entry(entries, "cluster_centers_", 2, "f", where)
    labels = array_entry(entries, "labels_", 1, "iu", where)
    if u.shape != (len(labels), D) or centers.shape[1] != D or not labels.size:
        raise ValueError(
            f"embedding_ is {u.shape}, labels_ {labels.shape} and cluster_centers_ {centers.shape} "
            f"but expected N and K rows of {D}"
        )
    if labels.min() < 0 or labels.max() >= len(centers):
        raise ValueError(f"labels_ has {labels.max()} but expected less than {len(centers)}, K")
    optional = {n: array_entry(entries, n, 1, "f", where) for n in OPTIONAL_ARRAYS if n in entries}
    errors = optional.get("reconstruction_errors_")
    if errors is not None and (errors.shape != labels.shape or errors.min() < 0):
        raise ValueError(
            f"reconstruction_errors_ is {errors.shape} but expected {labels.shape}, numbers ≥ 0"
        )
    fitted = {"embedding_": u, "labels_": labels, "cluster_centers_": centers}
    return fitted | dict.fromkeys(OPTIONAL_ARRAYS) | optional


def _check_shape(fitted: dict[str, Any], architecture: Architecture) -> None:
    """Raise ValueError unless the features, their scaling and the network's images agree."""
    shape, F = architecture.input_shape, fitted["n_features_in_"]
    found = {name: a.shape for name in SCALING if (a := fitted[name]) is not None}
    if math.prod(shape) != F or fitted["image_shape_"] not in (None, shape):
        raise ValueError(
            f"n_features_in_ is {F} and image_shape_ {fitted['image_shape_']} but the network "
            f"takes {shape}"
        )
    if found and found != dict.fromkeys(SCALING, (F,)):
        raise ValueError(f"mean_ and scale_ are {found} but expected ({F},)")


def _fitted_values(values: dict[str, Any], where: str) -> dict[str, Any]:
    fitted = {name: entry(values, name, *kinds, where=where) for name, kinds in VALUES.items()}
    for name, kinds in OPTIONAL_VALUES.items():
        if name in values:
            fitted[name] = entry(values, name, *kinds, where=where)
    if "offset_" in fitted:
        fitted.setdefault("error_threshold_", None)
    parse_records(fitted["history_"], where)
    rounds = fitted.setdefault("self_labelling_history_", None)
    for i, found in enumerate(from_json(list[Round], rounds or [], "self_labelling_history_")):
        if found.round != i + 1:
            raise ValueError(f"self_labelling_history_[{i}] is that of round {found.round}")
    fitted["image_shape_"] = _tuple(fitted["image_shape_"])
    if "feature_names_in_" in fitted:
        fitted["feature_names_in_"] = np.array(fitted["feature_names_in_"], dtype=object)
    return fitted


def _parameter(name: str, value: Any) -> Any:
    """Return a parameter as it was before JSON."""
    if name == "preparation" and isinstance(value, dict):
        return Preparation.from_dict(value)
    if name in SWITCHES and isinstance(value, dict):
        return from_json(SWITCHES[name], value, name)
    return _tuple(value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
