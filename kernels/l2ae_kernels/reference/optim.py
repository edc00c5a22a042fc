"""The Adam update of one array in NumPy: the specification of every faster one."""

from math import sqrt

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.stages import AdamSettings


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
