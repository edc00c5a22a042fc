"""The Adam update of one array in NumPy: the specification of every faster one."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal, TypeAlias, get_args

import numpy as np

from l2ae_kernels.arrays import Array, array_module

AdamVariant: TypeAlias = Literal["keras", "torch"]
REAL = (float, int, np.floating, np.integer)


@dataclass(frozen=True)
class AdamSettings:
    """What a step of Adam needs besides its arrays and t."""

    learning_rate: float = 1e-3  # η
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    variant: AdamVariant = "keras"

    def __post_init__(self) -> None:
        """Raise ValueError for a setting out of range."""
        for name, value in (("learning_rate", self.learning_rate), ("eps", self.eps)):
            if not (isinstance(value, REAL) and 0 <= value < inf):
                raise ValueError(f"AdamSettings: {name} is {value!r} but expected a number ≥ 0")
        for name, value in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not (isinstance(value, REAL) and 0 <= value < 1):
                raise ValueError(f"AdamSettings: {name} is {value!r} but expected 0 ≤ {name} < 1")
        if self.variant not in (known := get_args(AdamVariant)):
            raise ValueError(
                f"AdamSettings: variant is {self.variant!r} but expected one of {known}"
            )


def adam_step(p: Array, m: Array, v: Array, g: Array, settings: AdamSettings, *, step: int) -> None:
    """Change the parameter p and its moments m, v in place (Kingma and Ba 2015, Algorithm 1).

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²
        keras:  p ← p − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)
        torch:  p ← p − η / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)

    The two differ in ε alone: "torch" is the paper's Algorithm 1, "keras" the reordered form of its
    Section 2, whose ε is larger by the factor 1 / √(1 − β₂ᵗ) when written as "torch".

    p, m, v, g have one shape and one dtype, which is kept; t = `step` counts from 1.
    """
    s, sqrt_array = settings, array_module(p).sqrt
    m *= s.beta1
    m += (1.0 - s.beta1) * g
    v *= s.beta2
    v += (1.0 - s.beta2) * (g * g)
    correction1 = 1.0 - s.beta1**step
    correction2 = sqrt(1.0 - s.beta2**step)
    if s.variant == "keras":
        p -= (s.learning_rate * correction2 / correction1) * (m / (sqrt_array(v) + s.eps))
    else:
        p -= (s.learning_rate / correction1) * (m / (sqrt_array(v) / correction2 + s.eps))
