"""Many trainings at once on one device: networks of one shape share every launch.

    histories = fit_together([{"model": model, "images": images, ...}, ...], device)

Each is a training as `fit` has it, with its own weights, images, generator, run directory and
checkpoints, and ends with the bits that it has alone. An epoch of several is made together where
their networks have the same stages, and whole batches of theirs have the same size: the last one of
an epoch is ragged for each in its own way, and a training with fewer batches pauses in the end.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from l2ae_core.images import Images
from l2ae_core.progress import Bar
from l2ae_core.tables import counted
from l2ae_core.training.device_step import DeviceStep, Networks, is_plain
from l2ae_core.training.history import History, TrainingError
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import Epoch, Epochs, epochs_of
from l2ae_core.training.optim import Adam
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device

MODELS = 8  # that are trained at once


def fit_together(
    trainings: Sequence[Mapping[str, Any]],
    device: Device,
    *,
    models: int = MODELS,
    progress: bool = True,
) -> list[History | Exception]:
    """Train networks by the arguments of `fit`, up to `models` at once.

    Returns the history of each, or why it failed: a ValueError, OSError or TrainingError ends one
    training and no other. Ctrl-C (KeyboardInterrupt) is raised on; every run directory can be
    resumed, alone or together.
    """
    members = [_Member.of(training, device) for training in trainings]
    ended: dict[int, History | Exception] = {}
    running: dict[int, Epoch] = {}
    networks: dict[tuple[int, ...], Networks] = {}
    total = sum(training["epochs"] for training in trainings)
    name = f"training {counted(len(trainings), 'network')}"
    with Bar(total=total, desc=name, unit=" epochs", disable=not progress) as bar:
        try:
            for i, member in enumerate(members):
                _advance(i, member, running, ended)
            while running:
                groups = _groups(members, running, models)
                networks = {g: _networks(members, g, running, networks.get(g)) for g in groups}
                for group in groups:
                    _make_steps([members[i] for i in group], networks[group],
                                [running[i] for i in group])  # fmt: skip
                    for i in group:
                        _advance(i, members[i], running, ended)
                done = sum(epoch.number - 1 for epoch in running.values())
                bar.n = done + sum(trainings[i]["epochs"] for i in ended)
                bar.update(0)
        finally:
            for member in members:
                member.epochs.close()
    return [ended[i] for i in range(len(members))]


@dataclass(eq=False)
class _Shared(DeviceStep):
    """The step of one of several trainings: its losses are known before it is asked for them."""

    ready: list[float] = field(default_factory=list, init=False, repr=False)

    def losses(self, images: Images, batches: list[Array], hooks: Hooks) -> Iterator[float]:
        yield from self.ready


@dataclass(eq=False)
class _Member:
    """A training, what it trains on, and the step through which it gets its losses."""

    epochs: Epochs
    step: _Shared
    images: Images
    hooks: Hooks

    @classmethod
    def of(cls, training: Mapping[str, Any], device: Device) -> "_Member":
        """Return the training of some arguments of `fit`."""
        given = {"hooks": Hooks(), **training, "progress": False, "device": device}
        given["hooks"] = given["hooks"] or Hooks()
        reduction = given.pop("reduction", "mean")
        step = _Shared(given["model"], given["optimizer"], reduction, device=device,
                       micro_batch=given.pop("micro_batch", None))  # fmt: skip
        return cls(epochs_of(**given, step=step), step, given["images"], given["hooks"])

    def alike(self, epoch: Epoch) -> Hashable:
        """What must be equal for an epoch to be made together with another one."""
        optimizer = self.step.optimizer
        assert isinstance(optimizer, Adam)
        largest, dtype = max(map(len, epoch.batches)), self.images.dtype.str
        how = optimizer.settings, self.step.reduction, self.step.micro_batch, is_plain(self.hooks)
        return tuple(self.step.stages), largest, dtype, how


def _advance(
    i: int, member: _Member, running: dict[int, Epoch], ended: dict[int, History | Exception]
) -> None:
    """End the epoch of a training and begin its next one, or note that it has ended, and how."""
    running.pop(i, None)
    try:
        running[i] = next(member.epochs)
    except StopIteration as end:
        ended[i] = end.value
    except (ValueError, OSError, TrainingError) as error:
        ended[i] = error


def _groups(
    members: Sequence[_Member], running: Mapping[int, Epoch], models: int
) -> list[tuple[int, ...]]:
    """Return which trainings make their next epoch together."""
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for i in sorted(running):
        alike[members[i].alike(running[i])].append(i)
    return [
        tuple(of[first : first + models])
        for of in alike.values()
        for first in range(0, len(of), models)
    ]


def _networks(
    members: Sequence[_Member], group: Sequence[int], running: Mapping[int, Epoch],
    before: Networks | None,
) -> Networks:  # fmt: skip
    """The networks of a group on the device: those of the epoch before, where these are there."""
    chosen = [members[i] for i in group]
    largest = max(map(len, running[group[0]].batches))
    if before is not None and before.fits([m.images for m in chosen], largest):
        return before
    for member in chosen:
        member.step.bring_memory()
    networks = Networks(chosen[0].step.device, [m.step for m in chosen],
                        [m.images for m in chosen], largest)  # fmt: skip
    for member in chosen:
        member.step.networks = networks
    return networks


def _make_steps(members: Sequence[_Member], networks: Networks, epochs: Sequence[Epoch]) -> None:
    """Make the steps of an epoch of each training, and give each its losses and share of time."""
    started = perf_counter()
    some = networks.losses([epoch.batches for epoch in epochs], [m.hooks for m in members])
    losses = [row for part in some for row in part.tolist()]
    for m, (member, epoch) in enumerate(zip(members, epochs, strict=True)):
        member.step.ready = [row[m] for row in losses[: len(epoch.batches)]]
        member.step.seconds_before = (perf_counter() - started) / len(members)
