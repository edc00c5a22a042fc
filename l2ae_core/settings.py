"""The settings of `l2ae fit`: defaults, what each may be, and those that a run was started with."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from l2ae_core.data import Preparation, Split
from l2ae_core.data.preparation import Fit
from l2ae_core.files import CONFIG
from l2ae_core.networks.architectures import Architecture, HiddenNorm, ModelName, Norm
from l2ae_core.readers import one_line
from l2ae_core.refinement import SelfLabelling
from l2ae_core.training.augment import Warp
from l2ae_core.training.checkpoint import CheckpointError, checkpoint_interval
from l2ae_core.training.loss import Reduction
from l2ae_core.training.run import NEWER, read_config
from l2ae_kernels.ops.checks import count, number

DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "split": "all",
    "model": "cae",
    "norm": "l2",
    "hidden_norm": "none",
    "affine": False,
    "slope": 0.01,
    "latent_dim": 10,
    "hidden": (500, 500, 2000),
    "filters": (32, 64, 128),
    "kernels": (5, 5, 3),
    "epochs": 200,
    "batch_size": 256,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "reduction": "mean",
    "seed": 0,
    "clusters": 10,
    "n_init": 20,
    "weights": "best",
    "anomaly_class": None,
    "keep": 0.1,
    **NEWER,
}
WIDTHS = ("hidden", "filters", "kernels")
ARCHITECTURE = ("model", "norm", "hidden_norm", "affine", "slope", "latent_dim", *WIDTHS)
TRAIN_ARGUMENTS = ("epochs", "batch_size", "optimizer", "learning_rate", "reduction", "seed",
                   "validation", "patience")  # fmt: skip
NOT_TRAINING = ("data", "seed", *ARCHITECTURE)  # stand elsewhere in config.json than in "training"
WARP = ("rotation", "shift", "scale")  # ranges of `augment`
LABEL_WARP = ("label_rotation", "label_shift", "label_scale")  # ranges of `self_label`
SELF_LABELLING = ("rounds", "concentration", "gamma", "tol")  # its other settings
PREPARATION = ("size", "fit", "grey", "background", "depth", "image_shape")
# They say which images are trained on, and what these are.
SELECTION = ("split", "labels", "anomaly_class", "keep", "seed", *PREPARATION)
CHOICES: dict[str, tuple[str, ...]] = {
    "split": get_args(Split),
    "model": get_args(ModelName),
    "norm": get_args(Norm),
    "hidden_norm": get_args(HiddenNorm),
    "optimizer": ("adam", "sgd"),
    "reduction": get_args(Reduction),
    "weights": ("best", "last"),
    "fit": get_args(Fit),
}
COUNTS = ("latent_dim", "epochs", "batch_size", "clusters", "n_init", "rounds")
SWITCHES = ("affine", "labels", "augment", "self_label")


def check_settings(
    settings: Mapping[str, Any], given: Mapping[str, Any], checkpoint_every: int | str
) -> None:
    """Raise ValueError, naming the setting, for a value that no training can have.

    `given` are those of `settings` that the caller chose: an unknown one is an error, and so is one
    without effect, such as a slope of the convolutional network, unless it is the default.
    """
    for name in given.keys() - DEFAULTS.keys():
        raise ValueError(f"fit: there is no setting {name!r}; expected {', '.join(DEFAULTS)}")
    check_values(settings, COUNTS, CHOICES)
    count("fit", "seed", settings["seed"], least=0, most=(1 << 64) - 1)
    checkpoint_interval(checkpoint_every)
    number("fit", "keep", settings["keep"], most=1)
    number("fit", "validation", settings["validation"], most=1)
    if settings["patience"] is not None:
        count("fit", "patience", settings["patience"])
    for name in SWITCHES:
        if not isinstance(settings[name], bool):
            raise ValueError(f"fit: {name} is {settings[name]!r} but expected True or False")
    make_preparation(settings)
    make_warp(settings)
    make_self_labelling(settings)
    for name, reason in _without_effect(settings):
        if given.get(name, DEFAULTS[name]) != DEFAULTS[name]:
            raise ValueError(f"fit: {name} is {given[name]} but has no effect, since {reason}")


def check_values(
    values: Mapping[str, Any], counts: Iterable[str], choices: Mapping[str, tuple[str, ...]]
) -> None:
    """Raise ValueError, naming the setting, for a count, choice, rate, slope or width that is none.

    The estimators have these too, under their own names.
    """
    for name, known in choices.items():
        if not isinstance(values[name], str) or values[name] not in known:
            raise ValueError(f"fit: {name} is {values[name]!r} but expected one of {known}")
    for name in counts:
        count("fit", name, values[name], most=sys.maxsize)  # as memory allows
    number("fit", "learning_rate", values["learning_rate"], positive=True)
    number("fit", "slope", values["slope"])
    for name in WIDTHS:
        if not isinstance(values[name], tuple | list):
            raise ValueError(
                f"fit: {name} is {values[name]!r} but expected a tuple of integers ≥ 1"
            )
        for i, width in enumerate(values[name]):
            count("fit", f"{name}[{i}]", width, most=sys.maxsize)
    filters, kernels = values["filters"], values["kernels"]
    if not len(filters) == len(kernels) > 0:
        raise ValueError(
            f"fit: filters is {filters} and kernels is {kernels} but expected one kernel for each "
            "number of filters, and at least one"
        )


def _without_effect(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings that nothing asks for beside the others, and why."""
    model, norms = settings["model"], (settings["norm"], settings["hidden_norm"])
    if model != "dense":
        yield "slope", f"model is {model!r}: only 'dense' has a LeakyReLU"
        yield "hidden", f"model is {model!r}: only 'dense' has hidden layers of these widths"
    if model != "cae":
        yield from ((n, f"model is {model!r}: only 'cae' has convolutions") for n in WIDTHS[1:])
    if not {"batch", "layer"} & {*norms}:
        yield "affine", f"norm is {norms[0]!r} and hidden_norm {norms[1]!r}: nothing to scale"
    if settings["anomaly_class"] is None:
        yield "keep", "no anomaly_class is named"
    if settings["size"] is None:
        yield "fit", "no size is given"
    for switch, names in (("augment", WARP), ("self_label", SELF_LABELLING + LABEL_WARP)):
        if not settings[switch]:
            yield from ((name, f"{switch} is off") for name in names)


def make_preparation(settings: Mapping[str, Any]) -> Preparation:
    """Return what is done to every image of a run; ValueError, naming the setting, as there."""
    try:
        return Preparation(**{name: settings[name] for name in PREPARATION})
    except ValueError as error:
        raise ValueError(f"fit: {error}") from error


def make_warp(settings: Mapping[str, Any]) -> Warp | None:
    """Return how images are warped in training, None where they are not; ValueError as `Warp`."""
    warp = _warp(settings, WARP)
    return warp if settings["augment"] else None


def _warp(settings: Mapping[str, Any], names: tuple[str, str, str]) -> Warp:
    """Return the warp of the three ranges; ValueError by the name of the setting."""
    for name, most in zip(names, (180.0, 1.0, 1.0), strict=True):
        number("fit", name, settings[name], most=most)
    return Warp(*(settings[name] for name in names))


def make_self_labelling(settings: Mapping[str, Any]) -> SelfLabelling | None:
    """Return how the training goes on with its own labels, None where it does not.

    ValueError as `SelfLabelling` does, and for another norm than "l2" or optimizer than "adam".
    """
    chosen = SelfLabelling(
        settings["clusters"], warp=_warp(settings, LABEL_WARP), n_init=settings["n_init"],
        batch_size=settings["batch_size"], learning_rate=settings["learning_rate"],
        **{name: settings[name] for name in SELF_LABELLING},
    )  # fmt: skip
    if not settings["self_label"]:
        return None
    require_unit_codes(chosen, settings["norm"])
    if settings["optimizer"] != "adam":
        raise ValueError(
            f"fit: self_label is on and optimizer is {settings['optimizer']!r} but expected "
            "'adam', by which self-labelling goes on with the same learning rate"
        )
    return chosen


def require_unit_codes(chosen: SelfLabelling, norm: str) -> None:
    """Raise ValueError where a spherical assignment would be of codes that are not unit vectors.

    The length of a code would count as how sure its label is. The estimators ask this too.
    """
    if chosen.assignment == "spherical" and norm != "l2":
        raise ValueError(
            f"fit: self_label is on and norm is {norm!r} but expected norm 'l2': the spherical "
            "assignment takes codes of unit length"
        )


def run_settings(run: Path) -> dict[str, Any]:
    """Return the settings with which the run directory was started.

    `class_names` is missing where the run is older than this setting, those of NEWER have their
    defaults there. CheckpointError when one of the others is missing.
    """
    config = read_config(run)
    try:
        settings: dict[str, Any] = NEWER | config["training"]
        architecture = Architecture.from_dict(config["architecture"])
        settings |= {k: getattr(architecture, k) for k in ARCHITECTURE}
        settings |= {"data": config["data"]["name"], "seed": config["seed"]}
        preparation = make_preparation(settings)
        settings |= {name: getattr(preparation, name) for name in PREPARATION}
    except (KeyError, TypeError, ValueError) as error:
        told = one_line(repr(error))
        raise CheckpointError(f"{run / CONFIG}: lacks or garbles a setting: {told}") from error
    for name in DEFAULTS.keys() - settings.keys():
        raise CheckpointError(f"{run / CONFIG}: lacks the setting {name}")
    return settings
