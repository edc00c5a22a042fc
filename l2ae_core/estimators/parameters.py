"""The parameters of the estimators, checked when `fit` is called: __init__ only stores them."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from l2ae_core.data import Preparation
from l2ae_core.networks.architectures import Architecture, least_side
from l2ae_core.refinement import SelfLabelling
from l2ae_core.refinement.self_labelling import WIDE
from l2ae_core.settings import CHOICES as SETTINGS
from l2ae_core.settings import check_values, require_unit_codes
from l2ae_core.training.augment import Warp
from l2ae_kernels.ops.checks import count, number

COUNTS = ("n_clusters", "latent_dim", "epochs", "batch_size", "n_init")
CHOICES = {
    "model": ("auto", *SETTINGS["model"]),
    **{n: SETTINGS[n] for n in ("norm", "hidden_norm", "optimizer", "reduction", "weights")},
    "scale": ("auto", "standard", "none"),
}
SWITCHES: dict[str, type] = {"augment": Warp, "self_label": SelfLabelling}  # or True or False
OBJECTS: dict[str, type] = {**SWITCHES, "preparation": Preparation}  # written as JSON


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the parameter, its value and what was expected."""
    check_values(parameters, COUNTS, CHOICES)
    for name, kind in SWITCHES.items():
        if not isinstance(parameters[name], bool | np.bool_ | kind):
            raise ValueError(
                f"fit: {name} is {parameters[name]!r} but expected True, False or a {kind.__name__}"
            )
    make_self_labelling(parameters, warps=True)
    if not isinstance(parameters["affine"], bool | np.bool_):
        raise ValueError(f"fit: affine is {parameters['affine']!r} but expected True or False")
    if not isinstance(parameters["preparation"], Preparation | None):
        raise ValueError(
            f"fit: preparation is {parameters['preparation']!r} but expected a Preparation or None"
        )
    _check_end(parameters)


def _check_end(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for a bad patience, validation, or callbacks."""
    if parameters["patience"] is not None:
        count("fit", "patience", parameters["patience"])
    if not isinstance(parameters["validation"], np.ndarray):
        number("fit", "validation", parameters["validation"], most=1)
    if not isinstance(parameters["callbacks"], tuple | list):
        raise ValueError(
            f"fit: callbacks is {parameters['callbacks']!r} but expected a list of functions"
        )


def make_architecture(
    parameters: Mapping[str, Any], shape: tuple[int, int, int] | None, features: int
) -> Architecture:
    """Return the network for images of a shape; a table is an image of one pixel, F channels."""
    model = parameters["model"]
    if shape is None:
        require_images(parameters)
    if model == "auto":
        cae = shape is not None and min(shape[:2]) >= least_side(parameters["filters"])
        model = "cae" if cae else "dense"
    return Architecture(
        model=model,
        input_shape=shape or (1, 1, features),
        latent_dim=int(parameters["latent_dim"]),
        norm=parameters["norm"],
        hidden_norm=parameters["hidden_norm"],
        affine=bool(parameters["affine"]),
        slope=float(parameters["slope"]),
        hidden=tuple(map(int, parameters["hidden"])),
        filters=tuple(map(int, parameters["filters"])),
        kernels=tuple(map(int, parameters["kernels"])),
    )


def make_warp(parameters: Mapping[str, Any]) -> Warp | None:
    """Return how `augment` warps the images of the training, None where it does not."""
    chosen = parameters["augment"]
    if isinstance(chosen, Warp):
        return chosen
    return Warp() if chosen else None


def make_self_labelling(parameters: Mapping[str, Any], warps: bool) -> SelfLabelling | None:
    """Return how `self_label` goes on after the training, None where it does not.

    True takes the other parameters of the estimator, and a warp unless `warps` is False, as for a
    table. ValueError for settings that do not fit these.
    """
    chosen, n_clusters = parameters["self_label"], int(parameters["n_clusters"])
    if not isinstance(chosen, SelfLabelling):
        if not chosen:
            return None
        chosen = SelfLabelling(
            n_clusters,
            learning_rate=float(parameters["learning_rate"]),
            batch_size=int(parameters["batch_size"]),
            n_init=int(parameters["n_init"]),
            warp=WIDE if warps else None,
        )
    if chosen.n_clusters != n_clusters:
        raise ValueError(
            f"fit: self_label has n_clusters={chosen.n_clusters} but the estimator has "
            f"n_clusters={n_clusters}: expected one number"
        )
    require_unit_codes(chosen, parameters["norm"])
    return chosen


def require_images(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError where the parameters ask for images; called when X is a table (N, F)."""
    problem = "but X is a table (N, F): expected images (N, H, W[, C]), or image_shape=(H, W[, C])"
    if parameters["model"] == "cae":
        raise ValueError(f"fit: model is 'cae' {problem}")
    if make_warp(parameters) is not None:
        raise ValueError(f"fit: augment is {parameters['augment']!r} {problem}")
    chosen = make_self_labelling(parameters, warps=False)
    if chosen is not None and chosen.warp is not None:
        raise ValueError(f"fit: self_label has warp={chosen.warp!r} {problem}, or warp=None")


def check_contamination(contamination: Any) -> None:
    """Raise ValueError unless contamination is "auto" or a number in (0, 0.5]."""
    good = isinstance(contamination, Real) and 0 < float(contamination) <= 0.5
    if not good and not (isinstance(contamination, str) and contamination == "auto"):
        raise ValueError(
            f"contamination is {contamination!r} but expected 'auto' or a number in (0, 0.5]"
        )


def check_criterion(criterion: Any) -> None:
    """Raise ValueError unless criterion is one of a detector."""
    if criterion not in ("cosine", "both"):
        raise ValueError(f"criterion is {criterion!r} but expected 'cosine' or 'both'")
