"""What a training will take, before it begins: parameters, steps, disk and memory."""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from l2ae_core.data import Dataset
from l2ae_core.data.stored import bytes_held
from l2ae_core.networks.architectures import Architecture, parameter_count
from l2ae_core.networks.halvings import halvings
from l2ae_core.tables import counted
from l2ae_core.training.validation import share_of

COPIES = {"adam": 4, "sgd": 3}  # of the parameters in a checkpoint: last, best, the optimizer's
IN_MEMORY = 8  # copies of the parameters: beside those gradients, and what a checkpoint is made of
AT_ONCE = 1024  # images that are encoded together
BASE = 260e6  # bytes of the process without images and network
SCORES = 100  # bytes of an image: its clusters, v, its error, and their order


@dataclass(frozen=True)
class Outlook:
    """What a training will take.

    The memory is about the peak of `l2ae fit` on a CPU: that of runs from 8×8 to 128×128×3, of both
    networks, was within a third of it.
    """

    images: int
    shape: tuple[int, int, int]  # (H, W, C)
    model: str
    parameters: int
    batch_size: int
    steps: int  # an epoch
    checkpoint_bytes: int
    memory_bytes: int

    @classmethod
    def of(
        cls, images: int, architecture: Architecture, settings: Mapping[str, Any],
        held: int | None = None,
    ) -> Self:  # fmt: skip
        """Return what the training of a network on so many images takes, by its settings.

        `held` are the bytes that the images take in memory; None: one a value, as image files do.
        """
        P, pixels = parameter_count(architecture), math.prod(architecture.input_shape)
        pair = pixels + _largest_map(architecture)
        held = images * pixels if held is None else held
        memory = BASE + 4 * IN_MEMORY * P + held + images * (4 * architecture.latent_dim + SCORES)
        memory += 4 * 1.5 * min(images, AT_ONCE) * pair
        held_out = share_of(images, settings["validation"]) if settings["validation"] else 0
        steps = math.ceil((images - held_out) / settings["batch_size"])
        return cls(
            images, architecture.input_shape, architecture.model, P, settings["batch_size"],
            steps, 4 * COPIES[settings["optimizer"]] * P,
            round(memory),
        )  # fmt: skip

    def describe(self) -> str:
        """Return it in one line."""
        shape = "×".join(map(str, self.shape))
        return (
            f"{counted(self.images, 'image')} {shape}; {self.model} network of {self.parameters:,} "
            f"parameters; {counted(self.steps, 'step')} an epoch; "
            f"checkpoint {size(self.checkpoint_bytes)}, memory about {size(self.memory_bytes)}"
        )

    def warnings(self) -> list[str]:
        """Say what is unwise: a single step an epoch learns little, swapping takes for ever."""
        said = []
        smaller = max(8, self.images // 8)
        if self.steps == 1 and smaller < self.images:
            said.append(
                f"1 step an epoch: batch_size is {self.batch_size} for "
                f"{counted(self.images, 'image')}; --batch-size {smaller} makes "
                f"{math.ceil(self.images / smaller)} steps of them, or take more epochs"
            )
        if self.memory_bytes > (there := _memory()):
            said.append(
                f"memory: about {size(self.memory_bytes)} are needed and this machine has "
                f"{size(there)}; a smaller --size, or fewer or narrower layers, take less"
            )
        return said


def say(lines: Iterable[str]) -> None:
    """Print what is worth knowing before a training on stderr."""
    for line in lines:
        print(f"l2ae: {line}", file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Return a number of bytes in words, to two digits: "2.4 GB"."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            value = count / 10**power
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{count:.0f} bytes"


def _memory() -> float:
    """Return the bytes of memory of this machine; infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def _largest_map(a: Architecture) -> int:
    """Return how many values the largest hidden layer has, for one image."""
    if a.model == "dense":
        return max(a.hidden, default=0)
    sides = (halving.size for halving in halvings(a.input_shape[:2], a.kernels))
    return max(h * w * f for (h, w), f in zip(sides, a.filters, strict=True))


def first_lines(
    dataset: Dataset, architecture: Architecture, settings: Mapping[str, Any]
) -> list[str]:
    """Return what `l2ae fit` says of its images before the first step."""
    held = bytes_held(dataset.images)
    outlook = Outlook.of(len(dataset), architecture, settings, held)
    lines = [f"{dataset.name}: {outlook.describe()}", *dataset.notes]
    found = dataset.look(progress=True)
    told = [
        f"{len(found.constant)} constant" if len(found.constant) else "",
        f"{len(found.flat)} nearly constant" if len(found.flat) else "",
        f"{found.copies} equal to an earlier one" if found.copies else "",
    ]
    if any(told):
        lines.append(f"of the images {', '.join(filter(None, told))}: l2ae look names them")
    return [*lines, *(f"warning: {warning}" for warning in outlook.warnings())]
