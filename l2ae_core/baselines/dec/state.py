"""A refinement under way, and its file `refinement.npz`: all it takes to go on with equal bits.

Entries: `format`, the arrays `params/NAME`, `state/NAME`, `optimizer/NAME`,
`center_optimizer/NAME`, `centers/`, `labels`, `start_labels`, and four JSON texts: `history` (a
list of records), `stopped`, `seconds`, and `settings`, which must be equal to go on. No entry is a
pickle.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeAlias

import numpy as np

from l2ae_core.array_readers import array_entry, array_group, float_group, json_entry, read_npz
from l2ae_core.baselines.dec.assignment import StudentAssignment
from l2ae_core.files import REFINEMENT, atomic_file
from l2ae_core.layers.base import Params
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.readers import entry
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError, check_memory, copy_into
from l2ae_core.training.optim import Optimizer
from l2ae_kernels.arrays import Array

FORMAT = "l2ae-refinement 2"

Stopped: TypeAlias = Literal["", "tol", "max_iter"]  # "": not yet


@dataclass(frozen=True)
class UpdateRecord:
    """One renewal of the target p; the first, at iteration 0, describes the start."""

    iteration: int  # updates of the parameters before it
    label_change: float  # share of all labels that changed since the renewal before
    kl: float  # KL(P‖Q) a sample, over all the data, of the new p
    reconstruction: float | None  # mse, mean over the batches since the renewal before


@dataclass(eq=False)
class State:
    """What changes from one renewal of the target to the next."""

    model: AutoEncoder
    assignment: StudentAssignment
    optimizer: Optimizer
    center_optimizer: Optimizer
    labels: Array  # (N,) int32
    start_labels: Array  # (N,) int32
    history: list[UpdateRecord] = field(default_factory=list)
    stopped: Stopped = ""
    seconds: float = 0.0  # spent up to the last renewal, in all sittings
    begun: float = 0.0  # perf_counter() when it was begun, as if in one sitting

    @property
    def iteration(self) -> int:
        """Updates of the parameters that are recorded."""
        return self.history[-1].iteration if self.history else 0

    def arrays(self) -> dict[str, Params]:
        """Every array that training changes, by group."""
        return {
            "params": self.model.params,
            "state": self.model.state,
            "centers": {"": self.assignment.centers},
            "optimizer": self.optimizer.state_dict(),
            "center_optimizer": self.center_optimizer.state_dict(),
        }

    def check_finite(self) -> None:
        """Raise TrainingError for NaN or Inf in any array: no file shall hold it."""
        for group, arrays in self.arrays().items():
            for name, a in arrays.items():
                if not np.isfinite(a).all():
                    raise TrainingError(
                        f"refine: NaN or Inf in {group} {name} after iteration {self.iteration}, "
                        f"with {self.optimizer}: a smaller learning rate may help"
                    )

    def save(self, run_dir: Path, settings: dict[str, Any]) -> None:
        """Write the file, atomically."""
        entries: Params = {
            "format": np.array(FORMAT),
            "labels": self.labels,
            "start_labels": self.start_labels,
            "history": np.array(json.dumps([asdict(record) for record in self.history])),
            "stopped": np.array(json.dumps(self.stopped)),
            "seconds": np.array(json.dumps(self.seconds)),
            "settings": np.array(json.dumps(settings)),
        }
        for group, arrays in self.arrays().items():
            entries |= {f"{group}/{name}": np.asarray(a, order="C") for name, a in arrays.items()}
        with atomic_file(run_dir / REFINEMENT) as file:
            np.savez(file, allow_pickle=False, **entries)

    def load(self, path: Path, settings: dict[str, Any]) -> None:
        """Take everything from the file.

        Raises CheckpointError when it cannot be used, ValueError when its settings are others.
        """
        try:
            entries = read_npz(path)
            mark = array_entry(entries, "format", 0, "U", str(path)).item()
            if mark != FORMAT:
                raise ValueError(f"{path}: its format is {mark} but expected {FORMAT!r}")
            before = json_entry(entries, "settings", str(path))
            if not isinstance(before, dict):
                raise ValueError(f"{path}: entry 'settings' is {before!r} but expected an object")
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        for name, now in settings.items():
            if before.get(name) != now:
                raise ValueError(
                    f"refine: {name} is {now} but {path} was started with {before.get(name)}"
                )
        try:
            self._take(entries, str(path))
        except ValueError as error:
            raise CheckpointError(f"{path}: an entry does not fit: {error}") from error

    def _take(self, entries: Params, where: str) -> None:
        history, last = json_entry(entries, "history", where), {}
        for name, kind in (("stopped", str), ("seconds", float)):
            last[name] = json_entry(entries, name, where)
            entry(last, name, kind, where=where)
        labels, start_labels = (
            array_entry(entries, name, 1, "i", where) for name in ("labels", "start_labels")
        )
        if labels.shape != start_labels.shape:
            raise ValueError(f"labels are {labels.shape} but start_labels {start_labels.shape}")
        memory, center_memory = (
            array_group(entries, f"{n}/") for n in ("optimizer", "center_optimizer")
        )
        check_memory(memory, self.model.params)
        check_memory(center_memory, {"centers": self.assignment.centers})
        self.history = _records(history)
        self.stopped, self.seconds = last["stopped"], last["seconds"]
        self.labels, self.start_labels = labels, start_labels
        self.optimizer.load_state_dict(memory)
        self.center_optimizer.load_state_dict(center_memory)
        copy_into({"": self.assignment.centers}, float_group(entries, "centers/", where), "centers")
        copy_into(self.model.state, float_group(entries, "state/", where), "state")
        copy_into(self.model.params, float_group(entries, "params/", where), "params")


def _records(values: Any) -> list[UpdateRecord]:
    kinds = {"iteration": (int,), "label_change": (float,), "kl": (float,),
             "reconstruction": (float, NoneType)}  # fmt: skip
    if not isinstance(values, list):
        raise ValueError(f"history is {type(values).__name__} but expected a list")
    for i, record in enumerate(values):
        for name, allowed in kinds.items():
            entry(record, name, *allowed, where=f"history, record {i}")
        if record.keys() != kinds.keys():
            raise ValueError(f"history, record {i} has the entries {sorted(record)}")
    return [UpdateRecord(**record) for record in values]
