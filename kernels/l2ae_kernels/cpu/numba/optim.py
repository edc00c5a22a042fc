"""Adam in one pass: p, m, v and g are read once, p, m and v written once, nothing is allocated."""

import math
from typing import NamedTuple

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.stages import AdamSettings

ADAM_WORK = 32  # a value costs about as much as 32 multiply-adds of a GEMM: a root, a division


@jit()
def _adam_step(p, m, v, g, beta1, rest1, beta2, rest2, rate, scale, eps, first, last):  # type: ignore[no-untyped-def]
    p, m, v, g = p[first:last], m[first:last], v[first:last], g[first:last]
    for i in range(len(p)):
        m[i] = beta1 * m[i] + rest1 * g[i]
        v[i] = beta2 * v[i] + rest2 * g[i] * g[i]
        p[i] -= rate * m[i] / (math.sqrt(v[i]) * scale + eps)


class AdamNumbers(NamedTuple):
    """Both variants of Adam as p −= rate · m / (√v · scale + eps), at step t."""

    beta1: float
    rest1: float  # 1 − β₁
    beta2: float
    rest2: float
    rate: float
    scale: float
    eps: float


def adam_numbers(settings: AdamSettings, step: int) -> AdamNumbers:
    """Return what step t = `step` needs besides its arrays."""
    s = settings
    correction1, correction2 = 1 - s.beta1**step, math.sqrt(1 - s.beta2**step)
    if s.variant == "torch":
        rate, scale = s.learning_rate / correction1, 1 / correction2
    else:
        rate, scale = s.learning_rate * correction2 / correction1, 1.0
    return AdamNumbers(s.beta1, 1 - s.beta1, s.beta2, 1 - s.beta2, rate, scale, s.eps)


def adam_step(p: Array, m: Array, v: Array, g: Array, settings: AdamSettings, *, step: int) -> None:
    """Update p, m, v in place."""
    n, real = adam_numbers(settings, step), p.dtype.type
    numbers = [real(value) for value in n]  # 1 − β of a β that is rounded would lose its digits
    arrays = [a.reshape(-1) for a in (p, m, v, g)]
    in_ranges(_adam_step, p.size, p.size * ADAM_WORK, *arrays, *numbers)
