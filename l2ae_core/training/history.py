"""What a training leaves besides the trained model: a record an epoch, and the best parameters."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any

from l2ae_core.files import HISTORY
from l2ae_core.layers.base import HasArrays, Params
from l2ae_core.readers import one_line, read_json_lines
from l2ae_core.typed_json import from_json
from l2ae_kernels.arrays import Array


class TrainingError(RuntimeError):
    """The training cannot go on: NaN or Inf in the loss, a gradient or a parameter."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. The two norms are |z| of the first 1,000 images after the epoch.

    Nothing in the loss of the l2 network pulls on the scale of z, so these drift and tell how
    large a step in direction the next update is.
    """

    epoch: int  # counts from 1
    loss: float  # mean over the batches, weighted by their size
    seconds: float
    images_per_second: float
    latent_norm_mean: float  # of `model.latent`: before `normalize`
    latent_norm_min: float
    validation_loss: float | None = None  # after the epoch, of images that no step is made on
    stopped: bool = False  # a callback ended the training here
    device: str | None = None  # the name of the one that made the steps; None for the processor
    extra: dict[str, Any] = field(default_factory=dict)  # what the hooks record: numbers or None

    @property
    def watched(self) -> float:
        """The loss by which epochs are compared: of the validation images, where there are some."""
        return self.loss if self.validation_loss is None else self.validation_loss

    def to_dict(self) -> dict[str, Any]:
        """Return all entries as one dict, for JSON; without those that say nothing."""
        values = asdict(self)
        extra: dict[str, Any] = values.pop("extra")
        silent = {"validation_loss": None, "stopped": False, "device": None}
        return {k: v for k, v in values.items() if silent.get(k, ...) != v} | extra


@dataclass(eq=False)
class Best:
    """Parameters and state at the end of the epoch with the lowest loss."""

    epoch: int = 0
    loss: float = inf  # `EpochRecord.watched`
    params: Params = field(default_factory=dict, repr=False)
    state: Params = field(default_factory=dict, repr=False)


@dataclass(eq=False)
class History:
    """The records of all epochs so far and the best parameters among them.

    The rule for `best` reads the reconstruction loss alone, as the paper's does: that of the
    validation images, where there are some, else that of the training. Labels never choose an
    epoch. Of equal losses the first counts.
    """

    records: list[EpochRecord] = field(default_factory=list, repr=False)
    best: Best = field(default_factory=Best)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.records)

    @property
    def losses(self) -> list[float]:
        """The loss of every epoch."""
        return [record.loss for record in self.records]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The records as plain dicts, for JSON."""
        return [record.to_dict() for record in self.records]

    def add(self, record: EpochRecord, model: HasArrays) -> None:
        """Append a record; keep copies of the model's arrays when its loss is the lowest so far."""
        self.records.append(record)
        if record.watched < self.best.loss:
            arrays = copies(model.params), copies(model.state)
            self.best = Best(record.epoch, record.watched, *arrays)

    def stalled(self, patience: int) -> bool:
        """Whether the last `patience` epochs did not improve on the best one."""
        return len(self) - self.best.epoch >= patience

    def restore_best(self, model: HasArrays) -> None:
        """Give `model` the parameters and the state of the best epoch, in place.

        Raises ValueError when there is none yet or when the arrays of the model are others.
        """
        if not self.best.epoch:
            raise ValueError("History: no epoch is recorded, so there are no best parameters")
        copy_into(model.params, self.best.params, "best parameters")
        copy_into(model.state, self.best.state, "best state")


def parse_records(found: Any, where: str) -> list[EpochRecord]:
    """Return JSON values as the records of epochs 1, 2, …; ValueError, naming the entry.

    What hooks recorded are further numbers, or null, of the same names in all records.
    """
    if not isinstance(found, list):
        raise ValueError(f"{where}: the history is a {type(found).__name__} but expected a list")
    own = {f.name for f in fields(EpochRecord)} - {"extra"}
    records: list[EpochRecord] = []
    for epoch, values in enumerate(found, start=1):
        here = f"{where}: record {epoch}"
        try:
            entries = from_json(dict[str, Any], values)
            more = {name: value for name, value in entries.items() if name not in own}
            extra = from_json(dict[str, float | None], more)
            rest = {name: value for name, value in entries.items() if name in own}
            record = from_json(EpochRecord, rest | {"extra": extra})
        except ValueError as error:
            raise ValueError(f"{here}: {one_line(error)}") from error
        if record.epoch != epoch:
            raise ValueError(f"{here}: is that of epoch {record.epoch}")
        if records and _entries(record) != _entries(records[0]):
            names = one_line(sorted(values))
            raise ValueError(f"{here}: has entries {names}, others than the first")
        records.append(record)
    return records


def _entries(record: EpochRecord) -> tuple[bool, set[str]]:
    return record.validation_loss is None, set(record.extra)


def read_history(run_dir: Path) -> list[EpochRecord]:
    """Return the records of `history.jsonl` of a run directory, as far as it has come.

    A line that is not whole, the last one of a run under way, is left out. ValueError, naming file
    and line, for damage anywhere else.
    """
    path = run_dir / HISTORY
    return parse_records(read_json_lines(path), str(path)) if path.exists() else []


def copies(arrays: Params) -> Params:
    """Return a dict of copies."""
    return {name: a.copy() for name, a in arrays.items()}


def first_difference(found: Params, expected: Params) -> str:
    """Return where two dicts of arrays differ in name, shape or dtype, in words; "" where not."""
    for name in [*expected, *found]:
        a, b = _kind(found.get(name)), _kind(expected.get(name))
        if a != b:
            return f"{name!r} is {a} but expected {b}"
    return ""


def check_memory(memory: Params, params: Params) -> None:
    """Raise ValueError when an entry "m.NAME" of an optimizer's memory does not fit that parameter.

    The compiled steps write through the addresses of both.
    """
    for key, a in memory.items():
        _, dot, name = key.partition(".")
        if dot and _kind(a) != _kind(params.get(name)):
            raise ValueError(
                f"optimizer {key!r} is {_kind(a)} but the parameter is {_kind(params.get(name))}"
            )


def copy_into(target: Params, source: Params, what: str) -> None:
    """Copy every array of `source` into its namesake in place.

    Raises ValueError, naming the first array that differs in name, shape or dtype; nothing is
    copied then.
    """
    difference = first_difference(source, target)
    if difference:
        raise ValueError(f"{what}: {difference}")
    for name, a in target.items():
        a[...] = source[name]


def _kind(a: Array | None) -> str:
    return "missing" if a is None else f"{a.shape} {a.dtype}"
