"""Adam on a device: adam.cu. One launch, over one array with all parameters of all models."""

from math import sqrt

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.launch import THREADS, real, strided_grid
from l2ae_kernels.stages import AdamSettings


def adam_step(p: Array, m: Array, v: Array, g: Array, settings: AdamSettings, *, step: int) -> None:
    """Change p, m and v in place, as `l2ae_kernels.reference.optim` has it; `step` from 1."""
    numbers = device_of(p).to_device(step_numbers(settings, step).astype(p.dtype))
    launch(p, m, v, g, numbers, settings)


def launch(p: Array, m: Array, v: Array, g: Array, numbers: Array, settings: AdamSettings) -> None:
    """Queue a step whose `step_numbers` lie on the device, where a captured graph finds them."""
    device, number, s = device_of(p), p.dtype.type, settings
    device.launch(
        device.kernel("adam.cu", "adam_step", real(p.dtype)),
        strided_grid(device, p.size),
        (THREADS,),
        (
            p, m, v, g, np.int64(p.size), numbers, number(s.beta1), number(1 - s.beta1),
            number(s.beta2), number(1 - s.beta2), number(s.eps),
        ),
    )  # fmt: skip


def step_numbers(settings: AdamSettings, step: int) -> Array:
    """Return {rate, root} of step t, float64, on the host:  p ← p − rate · m / (√v / root + ε).

    "keras": η √(1 − β₂ᵗ) / (1 − β₁ᵗ) and 1. "torch": η / (1 − β₁ᵗ) and √(1 − β₂ᵗ).
    """
    s = settings
    rate, root = s.learning_rate / (1 - s.beta1**step), sqrt(1 - s.beta2**step)
    return np.array([rate * root, 1.0] if s.variant == "keras" else [rate, root])
