"""A training under way: what changes from epoch to epoch, and how it is kept on disk."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator

from l2ae_core.files import (
    CHECKPOINT,
    CLUSTERS,
    GALLERY,
    HISTORY,
    METRICS,
    append_json_line,
    remove_temporary_files,
    write_json_lines,
)
from l2ae_core.layers import Params
from l2ae_core.locks import locked
from l2ae_core.tables import counted
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.checkpoint import Checkpoint, CheckpointError
from l2ae_core.training.fingerprint import ON
from l2ae_core.training.history import EpochRecord, History, TrainingError
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.step import Model

# on_epoch(record, model), called after every epoch; True ends the training. It looks at the model.
OnEpoch: TypeAlias = Callable[[EpochRecord, Any], bool | None]


CPU = "the processor"
_log = logging.getLogger(__name__)


@contextmanager
def open_run(run_dir: Path | None, resume: bool) -> Iterator[Path | None]:
    """Make and lock a run directory for the block; give it the checkpoint to go on from, or None.

    Raises CheckpointError when a checkpoint stands in the way, or when there is no run to resume,
    ValueError when `resume` is True without a run directory, BlockingIOError when another process
    trains there.
    """
    if run_dir is None:
        if resume:
            raise ValueError("fit: resume is True but run_dir is None: nothing to resume")
        yield None
        return
    if resume and not run_dir.is_dir():
        raise CheckpointError(f"{run_dir}: there is no run to resume")
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir):
        path = run_dir / CHECKPOINT
        if path.exists() and not resume:
            raise CheckpointError(f"{path}: already exists: resume it or choose another folder")
        remove_temporary_files(run_dir)
        yield path if path.exists() else None


@dataclass(eq=False)
class Session:
    """Everything that a checkpoint holds, and the folder it is written to, or None.

    `settings` are the JSON values that must be equal for a resumed training to end with the bits
    of an uninterrupted one.
    """

    model: Model
    optimizer: Optimizer
    rng: Generator
    hooks: Hooks
    run_dir: Path | None
    settings: dict[str, Any]
    patience: int | None = None
    callbacks: Sequence[OnEpoch] = ()
    seconds: float = 60.0  # of training that a signal or a kill may cost, beside an epoch
    history: History = field(default_factory=History)
    saved: float = field(default_factory=monotonic)  # when the last checkpoint was written
    moved: str | None = None  # from another device, in words
    memory: Callable[[], None] | None = None  # gives the optimizer its memory, if a device has it
    step: int = 0  # the last one of the epoch under way

    @contextmanager
    def opened(self, resume: bool) -> Iterator[None]:
        """Make and lock the run directory for the block; load the checkpoint when resuming.

        Raises what `open_run` raises, CheckpointError when the checkpoint cannot be used, and
        ValueError when its settings are others.
        """
        with open_run(self.run_dir, resume) as path:
            if path is not None:
                self._load(path)
            if self.run_dir is not None:
                write_json_lines(self.run_dir / HISTORY, self.history.to_dicts())
            yield

    @property
    def ended(self) -> bool:
        """Whether the last epoch of the history is the last for patience, callbacks or hooks.

        What a callback said is remembered as long as there are callbacks.
        """
        if not self.history.records:
            return False
        record = self.history.records[-1]
        stalled = self.patience is not None and self.history.stalled(self.patience)
        stopped = record.stopped and len(self.callbacks) > 0
        return stalled or stopped or self.hooks.is_last(record)

    def begin(self) -> None:
        """Remove what a shorter training found: it does not belong to the network to come."""
        self.saved = monotonic()
        if self.moved is not None:
            _log.warning(self.moved)
        if self.run_dir is not None:
            for name in (METRICS, CLUSTERS, GALLERY):
                (self.run_dir / name).unlink(missing_ok=True)

    def keep(self, record: EpochRecord, *, last: bool, save: bool) -> bool:
        """Record a finished epoch, ask the callbacks; return whether it is the last one.

        It becomes a line of the history on disk, and with `save` and at the end a checkpoint. One
        is also due when the last one is `seconds` old.
        """
        answers = [ask(record, self.model) for ask in self.callbacks]
        if any(answers):
            record = replace(record, stopped=True)
        self.history.add(record, self.model)
        last = last or self.ended
        old = monotonic() - self.saved >= self.seconds
        due = last or (self.run_dir is not None and (save or old))
        if due and self.memory is not None:
            self.memory()
            self._require_finite(self.optimizer.state_dict(), record.epoch)
        if self.run_dir is not None:
            append_json_line(self.run_dir / HISTORY, record.to_dict())
            if due:
                self._save(self.run_dir / CHECKPOINT)
                self.saved = monotonic()
        return last

    def interrupted(self) -> str:
        """After Ctrl-C: make the history on disk whole and return how to go on."""
        done = f"stopped after {counted(len(self.history), 'whole epoch')}"
        if self.run_dir is None:
            return f"{done}; nothing is on disk, since the training has no run directory"
        write_json_lines(self.run_dir / HISTORY, self.history.to_dicts())
        on = "" if self.settings.get(ON) is None else " --device cuda"
        return f"{done}; resume=True (l2ae fit --resume{on}) goes on from {self._on_disk()}"

    def diverged(self, what: str, epoch: int, step: int) -> TrainingError:
        """Return the error that names epoch and step and says what is left on disk."""
        kept = "" if self.run_dir is None else f"; kept: {self._on_disk()}"
        return TrainingError(
            f"fit: {what} at epoch {epoch}, step {step}, with {self.optimizer}: a smaller "
            f"learning rate may help{kept}"
        )

    def check_finite(self, epoch: int, step: int) -> None:
        """Raise TrainingError for NaN or Inf in any array.

        The last update of an epoch can break an array that no loss has seen yet; without this
        the checkpoint would hold it. Memory of an optimizer that a device has is looked at when it
        is there, before a checkpoint.
        """
        self.step = step
        memory = self.optimizer.state_dict() if self.memory is None else {}
        arrays = {**self.model.params, **self.model.state, **memory, **self.hooks.state_dict()}
        self._require_finite(arrays, epoch)

    def _require_finite(self, arrays: Params, epoch: int) -> None:
        for name, a in arrays.items():
            if not np.isfinite(a).all():
                raise self.diverged(f"NaN or Inf in the array {name!r}", epoch, self.step)

    def _load(self, path: Path) -> None:
        checkpoint = checkpoints.load(path, self.model)
        for name in {**self.settings, **checkpoint.settings}:
            before, now = checkpoint.settings.get(name), self.settings.get(name)
            if name == ON and before != now:
                self.moved = (
                    f"{path}: trained on {before or CPU} up to epoch {checkpoint.epoch}, goes on "
                    f"on {now or CPU}: not to the last bit a training that never changed"
                )
            elif before != now:
                raise ValueError(f"fit: {name} is {now} but {path} was trained with {before}")
        try:
            self.rng.bit_generator.state = checkpoint.rng
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self.hooks.load_state_dict(checkpoint.hooks)
        except (TypeError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: rng, optimizer or hooks do not fit: {error}") from error
        checkpoint.restore(self.model)
        self.history = checkpoint.history

    def _save(self, path: Path) -> None:
        checkpoint = Checkpoint(
            params=self.model.params,
            state=self.model.state,
            optimizer=self.optimizer.state_dict(),
            rng=dict(self.rng.bit_generator.state),
            history=self.history,
            settings=self.settings,
            hooks=self.hooks.state_dict(),
        )
        checkpoints.save(path, checkpoint)

    def _on_disk(self) -> str:
        path = Path() if self.run_dir is None else self.run_dir / CHECKPOINT
        return f"{path}" if path.is_file() else "the start, no checkpoint was written yet"
