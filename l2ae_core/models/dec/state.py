"""A refinement under way, and its file `refinement.npz`: all it takes to go on with equal bits.

Entries: `format`, the arrays `params/NAME`, `state/NAME`, `optimizer/NAME`,
`center_optimizer/NAME`, `centers/`, `labels`, `start_labels`, and four JSON texts: `history` (a
list of records), `stopped`, `seconds`, and `settings`, which must be equal to go on. No entry is a
pickle.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from l2ae_core.files import REFINEMENT, atomic_file, read_npz, remove_temporary_files
from l2ae_core.layers.base import Params
from l2ae_core.models.autoencoder import AutoEncoder
from l2ae_core.models.dec.assignment import StudentAssignment
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError, copy_into
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

    def load(self, run_dir: Path, settings: dict[str, Any]) -> None:
        """Take everything from the file.

        Raises CheckpointError when it cannot be used, ValueError when its settings are others.
        """
        path = run_dir / REFINEMENT
        try:
            entries = read_npz(path)
            if str(entries.get("format")) != FORMAT:
                raise ValueError(f"its format is {entries.get('format')} but expected {FORMAT!r}")
            before = json.loads(str(entries["settings"]))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: not a file of a refinement: {error}") from error
        for name, now in settings.items():
            if before.get(name) != now:
                raise ValueError(
                    f"refine: {name} is {now} but {path} was started with {before.get(name)}"
                )
        try:
            self._take(entries)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: an entry is missing or does not fit: {error}"
            ) from error

    def _take(self, entries: Params) -> None:
        def group(name: str) -> Params:
            prefix = f"{name}/"
            return {k.removeprefix(prefix): a for k, a in entries.items() if k.startswith(prefix)}

        self.history = [UpdateRecord(**record) for record in json.loads(str(entries["history"]))]
        self.stopped = json.loads(str(entries["stopped"]))
        self.seconds = float(json.loads(str(entries["seconds"])))
        self.labels, self.start_labels = entries["labels"], entries["start_labels"]
        self.optimizer.load_state_dict(group("optimizer"))
        self.center_optimizer.load_state_dict(group("center_optimizer"))
        copy_into({"": self.assignment.centers}, group("centers"), "centers")
        copy_into(self.model.state, group("state"), "state")
        copy_into(self.model.params, group("params"), "params")


def prepare(run_dir: Path | None, resume: bool) -> bool:
    """Make the run directory ready; return whether there is a file to go on from.

    Raises CheckpointError when a file stands in the way, or when there is no run to resume,
    ValueError when `resume` is True without a run directory.
    """
    if run_dir is None:
        if resume:
            raise ValueError("refine: resume is True but run_dir is None: nothing to resume")
        return False
    path = run_dir / REFINEMENT
    if resume and not run_dir.is_dir():
        raise CheckpointError(f"{run_dir}: there is no run to resume")
    if path.exists() and not resume:
        raise CheckpointError(
            f"{path}: already exists: resume this refinement or choose another folder"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(run_dir)
    return path.exists()
