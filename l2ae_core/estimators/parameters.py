"""The parameters of the estimators, checked when `fit` is called: __init__ only stores them."""

import math
from numbers import Integral, Real
from typing import Any

COUNTS = ("n_clusters", "latent_dim", "epochs", "batch_size", "n_init")
CHOICES = {
    "model": ("auto", "cae", "dense"),
    "norm": ("none", "l2", "batch", "layer"),
    "scale": ("auto", "standard", "none"),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Raise ValueError, naming the parameter, its value and what was expected."""
    for name in COUNTS:
        require_count(name, parameters[name])
    for name, choices in CHOICES.items():
        value = parameters[name]
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"fit: {name} is {value!r} but expected one of {choices}")
    rate, hidden, slope = (parameters[name] for name in ("learning_rate", "hidden", "slope"))
    if not _is_number(rate) or not 0 < float(rate) < math.inf:
        raise ValueError(f"fit: learning_rate is {rate!r} but expected a number > 0")
    if not _is_number(slope) or not 0 <= float(slope) < math.inf:
        raise ValueError(f"fit: slope is {slope!r} but expected a number ≥ 0")
    if parameters["norm"] == "layer" and parameters["latent_dim"] == 1:
        raise ValueError("fit: latent_dim is 1 but norm is 'layer': every such code would be zero")
    if not isinstance(hidden, tuple | list):
        raise ValueError(f"fit: hidden is {hidden!r} but expected a tuple of integers ≥ 1")
    for i, width in enumerate(hidden):
        require_count(f"hidden[{i}]", width)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_contamination(contamination: Any) -> None:
    """Raise ValueError unless contamination is "auto" or a number in (0, 0.5]."""
    good = isinstance(contamination, Real) and 0 < float(contamination) <= 0.5
    if not good and not (isinstance(contamination, str) and contamination == "auto"):
        raise ValueError(
            f"contamination is {contamination!r} but expected 'auto' or a number in (0, 0.5]"
        )


def require_count(name: str, value: Any) -> None:
    """Raise ValueError unless value is an integer ≥ 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"fit: {name} is {value!r} but expected an integer ≥ 1")
