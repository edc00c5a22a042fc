"""The parameters of the estimators, checked when `fit` is called: __init__ only stores them."""

from numbers import Real
from typing import Any

from l2ae_core.settings import CHOICES as SETTINGS
from l2ae_core.settings import check_values
from l2ae_kernels.ops.checks import count

COUNTS = ("n_clusters", "latent_dim", "epochs", "batch_size", "n_init")
CHOICES = {
    "model": ("auto", *SETTINGS["model"]),
    "norm": SETTINGS["norm"],
    "scale": ("auto", "standard", "none"),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Raise ValueError, naming the parameter, its value and what was expected."""
    check_values(parameters, COUNTS, CHOICES)
    hidden = parameters["hidden"]
    if not isinstance(hidden, tuple | list):
        raise ValueError(f"fit: hidden is {hidden!r} but expected a tuple of integers ≥ 1")
    for i, width in enumerate(hidden):
        count("fit", f"hidden[{i}]", width)


def check_contamination(contamination: Any) -> None:
    """Raise ValueError unless contamination is "auto" or a number in (0, 0.5]."""
    good = isinstance(contamination, Real) and 0 < float(contamination) <= 0.5
    if not good and not (isinstance(contamination, str) and contamination == "auto"):
        raise ValueError(
            f"contamination is {contamination!r} but expected 'auto' or a number in (0, 0.5]"
        )
