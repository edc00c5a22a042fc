"""What a training will take, before it begins: parameters, steps, disk and memory."""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from l2ae_core.data import Dataset
from l2ae_core.data.stored import bytes_held
from l2ae_core.images import AT_ONCE
from l2ae_core.method import BATCH, VALUES
from l2ae_core.networks.architectures import Architecture, parameter_count
from l2ae_core.networks.halvings import halvings
from l2ae_core.tables import counted
from l2ae_core.training.validation import share_of

COPIES = {"adam": 4, "sgd": 3}  # of the parameters in a checkpoint: last, best, the optimizer's
# Bytes of the process without images, with the kernels of a network that was compiled before.
BASE = {"dense": 207e6, "cae": 250e6}
MARGIN = 1.08  # what was given back and stays with the process
LATENT = 1000  # images whose codes are measured after an epoch
SUMMED = 1 << 22  # values of images that are summed together in float64


@dataclass(frozen=True)
class Outlook:
    """What a training will take.

    The memory is the peak of `l2ae fit` on a CPU. That of runs from 8×8 to 128×128×3, of both
    networks, and of up to 10,000,000 images was below it, by a sixth at most. Where kernels are
    compiled for the first time that takes up to 80 MB more.
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
        P = parameter_count(architecture)
        held = images * math.prod(architecture.input_shape) if held is None else held
        batch = min(images, settings["batch_size"])
        step = _step(architecture, batch + images % batch)  # each size has its own buffers
        dense = architecture.model == "dense"
        # The arrays of a dense step are of the size that the C library does not give back.
        kept = 16 * P + (step if dense else 0)
        saved = 4 * P * (COPIES[settings["optimizer"]] - 1)
        most = max(
            saved,
            0 if dense else step,
            _latent(architecture, images),
            _clustered(architecture, images, settings),
            _reconstructed(architecture, images),
            _pictured(architecture, images, settings["self_label"]),
        )
        memory = BASE[architecture.model] + MARGIN * (held + kept + most)
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


def _maps(a: Architecture) -> list[int]:
    """Return how many values each hidden layer of the encoder has, for one image."""
    if a.model == "dense":
        return [*a.hidden]
    sides = (halving.size for halving in halvings(a.input_shape[:2], a.kernels))
    return [h * w * f for (h, w), f in zip(sides, a.filters, strict=True)]


def _step(a: Architecture, samples: int) -> float:
    """Bytes of the activations and gradients of a step, where it has those of whole batches."""
    values = math.prod(a.input_shape) + sum(_maps(a))
    if a.model == "cae":
        return 25 * samples * values if a.hidden_norm == "batch" else 0
    return (18 if a.hidden_norm == "none" else 27) * samples * values


def _latent(a: Architecture, images: int) -> float:
    """Bytes of the codes that are measured after an epoch: an encoder keeps what layers return."""
    maps = _maps(a)
    kept = 1 if a.hidden_norm == "none" else 2  # of each: what the normalization returns, too
    most = max((kept * sum(maps[:i]) + (1 + kept) * m for i, m in enumerate(maps)), default=0)
    return 4 * min(images, LATENT) * (math.prod(a.input_shape) + most)


def _clustered(a: Architecture, images: int, settings: Mapping[str, Any]) -> float:
    """Bytes of k-means and of self-labelling: codes, labels, and what restarts side by side take.

    See `l2ae_kernels.cpu.kmeans.parted`.
    """
    codes, clusters = 4 * images * a.latent_dim, int(settings["clusters"])
    shared = (1 << 25) + max(0, min((1 << 29) - (1 << 25), codes / 2 - 4 * images))
    bounds = 2 + math.ceil(clusters / 16)  # at most, numbers beside a label
    restarts = codes + 8 * images + min(4 * images * bounds * int(settings["n_init"]), shared)
    if not settings["self_label"]:
        return restarts
    return max(restarts, codes + images * (20 + 8 * clusters))


def _reconstructed(a: Architecture, images: int) -> float:
    """Bytes of the errors of images: codes, scores, a few images and their way through a decoder.

    A forward pass keeps what its layers return.
    """
    pixels, maps = math.prod(a.input_shape), _maps(a)
    some = min(images, BATCH * min(max(VALUES // (BATCH * pixels), 1), AT_ONCE // BATCH))
    batch = min(images, BATCH)
    joined = some * pixels + batch * pixels if some > batch else 0
    kept = 1 if a.hidden_norm == "none" else 2
    decoded = some * pixels + joined + batch * (kept * sum(maps) + max(maps, default=0))
    return images * (4 * a.latent_dim + 12) + 4 * max(decoded, 4 * some * pixels)


def _pictured(a: Architecture, images: int, self_label: bool) -> float:
    """Bytes of codes, labels, scores and what is saved, and of orders or the variance of images."""
    values = min(images * math.prod(a.input_shape), SUMMED)
    scores = 4 * a.latent_dim + (44 if self_label else 36)
    return images * scores + max(28 * images, 21 * values)


def first_lines(
    dataset: Dataset, architecture: Architecture, settings: Mapping[str, Any]
) -> list[str]:
    """Return what `l2ae fit` says of its images before the first step."""
    held = bytes_held(dataset.images) + _bytes_of_labels(dataset)
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


def _bytes_of_labels(dataset: Dataset) -> int:
    """Return how much memory labels and names of files take."""
    labels = 0 if dataset.labels is None else dataset.labels.nbytes
    names = dataset.sample_names
    some = names[:1000] if isinstance(names, tuple) else ()
    return labels + round(len(dataset) * np.mean([sys.getsizeof(n) + 8 for n in some] or [0]))
