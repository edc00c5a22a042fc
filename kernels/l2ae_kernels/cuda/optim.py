"""Adam on a device: adam.cu. One launch, over one array with all parameters of all models.

    state = new_state(device, settings)                once; or at the step that a training goes on
    numbers = device.empty(2, np.float32)
    with device.capture() as graph:
        ...                                            loss
        begin_step(state, numbers, settings)           t ← t + 1
        ...                                            gradients
        launch(p, m, v, g, numbers, settings, losses)

The count of steps lies on the device, so that each replay of a graph is the next step.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.launch import MOST_ON_Z, THREADS, ceil_div, distance, real
from l2ae_kernels.geometry import require_shape
from l2ae_kernels.stages import AdamSettings

PART_LANES, MANY_PARTS = 8, 16  # of gradients.cuh


class Segment(NamedTuple):
    """A named array of M models, each of `elements` numbers, its gradient in `of` parts.

    It begins at number `begin` of the flat parameters, its parts (of, M, elements) at number
    `parts` of their own flat array.
    """

    begin: int
    parts: int
    elements: int
    of: int  # parts


class Segments:
    """The named arrays of M models in flat arrays, and what each block of a launch has of them."""

    def __init__(self, device: Device, segments: Sequence[Segment]) -> None:
        tiles: list[tuple[int, int]] = []
        for i, s in enumerate(segments):
            lanes = 1 if s.of < MANY_PARTS else PART_LANES
            tiles += [(i, first) for first in range(0, s.elements, THREADS // lanes)]
        self.table = device.to_device(np.array(segments, np.int64).reshape(-1, 4))
        self.tiles = device.to_device(np.array(tiles, np.int32).reshape(-1, 2))


class StepLosses(NamedTuple):
    """The losses of a step of M models, when they are known: begin_step writes them."""

    parts: Array  # (count, M) float64: of Σ |x̂ − x|²
    counts: Array  # (steps, M) int32: the images of each model in each step
    now: Array  # (M,) float64: Σ parts / (count · numbers_of_image); NaN where a model has no image
    losses: Array  # (steps, M) float64: `now` in the row of the step
    position: Array  # (2,) int64, as step.cu has it
    batch: int  # indices of a model
    numbers_of_image: int  # 1 where the loss is a sum over them


def adam_step(p: Array, m: Array, v: Array, g: Array, settings: AdamSettings, *, step: int) -> None:
    """Change p, m and v in place, as `l2ae_kernels.reference.optim` has it; `step` from 1."""
    numbers = device_of(p).to_device(step_numbers(settings, step).astype(p.dtype))
    launch(p, m, v, g, numbers, settings)


def new_state(device: Device, settings: AdamSettings, steps: int | Sequence[int] = 0) -> Array:
    """Return {t, β₁ᵗ, β₂ᵗ} float64 on the device, t = `steps` of them made; (M, 3) of M models.

    The powers are running products, as `begin_step` has them: a training that goes on at step t has
    the bits of one that never stopped.
    """
    if not isinstance(steps, int):
        return device.to_device(np.array([_state(settings, t) for t in steps]))
    return device.to_device(np.array(_state(settings, steps)))


def _state(settings: AdamSettings, steps: int) -> list[float]:
    power1 = power2 = 1.0
    for _ in range(steps):
        power1, power2 = power1 * settings.beta1, power2 * settings.beta2
    return [float(steps), power1, power2]


def begin_step(
    state: Array, numbers: Array, settings: AdamSettings, losses: StepLosses | None = None
) -> None:
    """Queue t ← t + 1: the next `state`, and its {rate, root} in `numbers` (2,), or (M, 2).

    With `losses`, these are written too, and the position goes on to the next batch; a model
    without images keeps its state.

    β₁ᵗ is a product of t factors. With u = 2⁻⁵³ it is off by at most t u β₁ᵗ, which makes a
    relative error of t u β₁ᵗ / (1 − β₁ᵗ) ≤ u / −ln β₁ in 1 − β₁ᵗ, for every t: 1e-13 for 0.999.
    """
    device, s = device_of(state), settings
    many = state.shape[:-1]
    require_shape("begin_step", "state", state.shape, (*many, 3))
    require_shape("begin_step", "numbers", numbers.shape, (*many, 2))
    models = prod(many)
    arrays: tuple[Array | None, ...] = (None, None, None, None)
    parts, count, batch, numbers_of_image = None, 0, 0, 1
    if losses is not None:
        parts, *arrays_of, batch, numbers_of_image = losses
        arrays, count = tuple(arrays_of), len(parts)
        require_shape("begin_step", "parts", parts.shape, (count, models))
    device.launch(
        device.kernel("step.cu", "begin_step", real(numbers.dtype)),
        (1,),
        (THREADS,),
        (
            state, numbers, np.float64(s.learning_rate), np.float64(s.beta1), np.float64(s.beta2),
            np.int32(s.variant == "keras"), np.int64(models), parts, np.int64(count), *arrays,
            np.int64(batch), np.float64(numbers_of_image),
        ),
    )  # fmt: skip


def launch(
    p: Array,
    m: Array,
    v: Array,
    g: Array,
    numbers: Array,
    settings: AdamSettings,
    losses: Array | None = None,
    segments: Segments | None = None,
) -> None:
    """Queue a step whose {rate, root} lie on the device, where a captured graph finds them.

    With losses (M,) float64 of M models, p is (M, P), or (P,) for one, or flat with the named
    arrays that `segments` has, and g then the flat array of the parts of their gradients: models
    whose loss is not finite keep p, m and v. numbers: (2,) for all models, or (M, 2).
    """
    device, number, s = device_of(p), p.dtype.type, settings
    if segments is None:
        models = _models(p, losses)
        elements, table, tiles = p.size // models, None, None
        blocks = ceil_div(elements, THREADS)
    else:
        models = 1 if losses is None else losses.size
        elements, table, tiles = 0, segments.table, segments.tiles
        blocks = len(tiles)
    numbers_models = distance("adam_step", "numbers", numbers, (2,), models)
    device.launch(
        device.kernel("adam.cu", "adam_step", real(p.dtype)),
        (blocks, 1, models),
        (THREADS,),
        (
            p, m, v, g, table, tiles, np.int64(elements), numbers, numbers_models,
            number(s.beta1), number(1 - s.beta1), number(s.beta2), number(1 - s.beta2),
            number(s.eps), losses,
        ),
    )  # fmt: skip


def _models(p: Array, losses: Array | None) -> int:
    """Return M; ValueError where losses do not fit p."""
    if losses is None:
        return 1
    models = losses.size
    if losses.shape != (p.shape[0] if p.ndim == 2 else 1,) or losses.dtype != np.float64:
        raise ValueError(
            f"adam_step: losses is {losses.shape} {losses.dtype} but expected float64 (M,) for p "
            f"(M, P) and (1,) for p (P,); p is {p.shape}"
        )
    if not 0 < models <= MOST_ON_Z:
        raise ValueError(f"adam_step: {models} models but expected 1 to {MOST_ON_Z}")
    return models


def step_numbers(settings: AdamSettings, step: int) -> Array:
    """Return {rate, root} of step t, float64, on the host:  p ← p − rate · m / (√v / root + ε).

    "keras": η √(1 − β₂ᵗ) / (1 − β₁ᵗ) and 1. "torch": η / (1 − β₁ᵗ) and √(1 − β₂ᵗ).
    """
    s = settings
    rate, root = s.learning_rate / (1 - s.beta1**step), sqrt(1 - s.beta2**step)
    return np.array([rate * root, 1.0] if s.variant == "keras" else [rate, root])
