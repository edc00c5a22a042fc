"""One run of one system: what fixes it, the name that follows from that, the file it leaves.

    RESULTS/<id>.json            configuration, scores, curves, versions, machine, seconds
    RESULTS/trainings/<id>/      the run directory of the network, to go on from and to look into
    RESULTS/arrays/<id>.npz      images for the report (worst and best reconstructions)

<id> is a hash of the configuration, system's settings included: another setting is another run.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from l2ae_core.data import DATASETS
from l2ae_core.files import METRICS
from l2ae_core.paper.systems import System, find_system
from l2ae_core.tables import counted, ranges
from l2ae_core.typed_json import from_json

Task: TypeAlias = Literal["clustering", "detection"]
ID_LENGTH = 12
BATCH_SIZE = 256
N_INIT = 20  # restarts of k-means
CLASSES = 10  # of every data set here


@dataclass(frozen=True)
class Run:
    """One training and its evaluation: everything that fixes its result, and nothing else.

    Two runs are equal when all fields and the settings of their system are, and then they have one
    `id`, which names the file of the result. The seed gives weights, shuffles, first centers of
    k-means and, in detection, the partition. Raises ValueError, naming the field, for values out
    of range.

        Run("clustering", "cae-l2", "usps", seed=0, epochs=200)
        Run("detection", "cae-l2", "mnist", seed=0, epochs=200, digit=7)
    """

    task: Task
    system: str  # a key of SYSTEMS
    data: str
    seed: int
    epochs: int  # 0 where nothing is trained
    digit: int | None = None  # the anomaly, in detection
    batch_size: int = BATCH_SIZE
    n_init: int = N_INIT  # restarts of k-means

    def __post_init__(self) -> None:
        for name, known in {"task": get_args(Task), "data": tuple(DATASETS)}.items():
            if getattr(self, name) not in known:
                raise ValueError(f"Run: {name} is {getattr(self, name)!r} but expected {known}")
        digits = range(CLASSES) if self.task == "detection" else (None,)
        if self.digit not in digits:
            expected = "0 … 9" if self.task == "detection" else "None"
            raise ValueError(
                f"Run: task is {self.task!r} and digit is {self.digit} but expected {expected}"
            )
        if not self._system.trained and self.epochs:
            raise ValueError(f"Run: {self.system} is not trained but epochs is {self.epochs}")
        least = {"seed": 0, "epochs": int(self._system.trained), "batch_size": 1, "n_init": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(
                    f"Run: {name} is {getattr(self, name)} but expected at least {value}"
                )

    @property
    def _system(self) -> System:
        return find_system(self.system)

    @property
    def config(self) -> dict[str, Any]:
        """The JSON values that name the run: all fields, and what the system is."""
        system = self._system
        return asdict(self) | {
            "method": system.method,
            "settings": dict(system.settings),
            "start": system.start,
            "clean": system.normals_only,  # the key of the published runs, whose names it gives
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the run of a `config`.

        ValueError where an entry is missing or of another type, or the system was another than the
        one of this name.
        """
        names = [field.name for field in fields(cls)]
        run = from_json(cls, {n: config[n] for n in names if n in config}, "config")
        if run.config != config:
            what = [n for n, v in run.config.items() if n not in config or config[n] != v]
            raise ValueError(
                f"entry 'config' is not that of {run}: another {', '.join(what or ['entry'])}"
            )
        return run

    @property
    def id(self) -> str:
        """The first digits of the SHA-256 of the configuration."""
        return id_of(self.config)

    @property
    def start(self) -> "Run | None":
        """The run whose trained network this one goes on from: equal but for the system."""
        name = self._system.start
        return None if name is None else replace(self, system=name)

    @property
    def where(self) -> str:
        """Data set and epochs, in words."""
        s = "s" if self.epochs > 1 else ""
        return f"{self.data}, {self.epochs} epoch{s}" if self.epochs else self.data

    def __str__(self) -> str:
        digit = "" if self.digit is None else f", anomaly {self.digit}"
        return f"{self.system} on {self.where}, seed {self.seed}{digit}"


@dataclass(frozen=True)
class ResultsDir:
    """A folder of results, RESULTS above, and what lies where in it. It need not exist yet.

    A run is done when `result(run)` is there, and only then: a training without it was stopped, and
    is gone on with. Files are written beside their place and then renamed, so that none is half.
    Several processes may do different runs in one folder; a run is locked while it is done.
    """

    path: Path
    data_dir: str | None = None  # where the files of MNIST and USPS are, as for `l2ae_core.data`

    def resolved(self) -> "ResultsDir":
        """The same by absolute paths."""
        data_dir = None if self.data_dir is None else str(Path(self.data_dir).resolve())
        return ResultsDir(self.path.resolve(), data_dir)

    def result(self, run: Run) -> Path:
        """The file of a finished run."""
        return self.path / f"{run.id}.json"

    def training(self, run: Run) -> Path:
        """The run directory of a run's network."""
        return self.path / "trainings" / run.id

    def trained(self, run: Run) -> bool:
        """Whether the network of a run is here, at the end of its training: others go on from it.

        A result may be here alone, copied, and a checkpoint is there after a few epochs.
        """
        return self.result(run).exists() and (self.training(run) / METRICS).exists()

    def arrays(self, run_id: str) -> Path:
        """Images of a run for the report."""
        return self.path / "arrays" / f"{run_id}.npz"


def seeds_and_anomalies(pairs: Set[tuple[int, int | None]]) -> str:
    """Seeds and anomalies of some runs; their number, where it is not every pair of the two."""
    seeds, digits = {seed for seed, _ in pairs}, {digit for _, digit in pairs}
    text = f"seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}"
    if digits != {None}:
        anomalies = [digit for digit in digits if digit is not None]
        text += f", anomal{'ies' if len(digits) > 1 else 'y'} {ranges(anomalies)}"
    return (
        text if pairs == set(product(seeds, digits)) else f"{counted(len(pairs), 'run')} of {text}"
    )


def id_of(config: Mapping[str, Any]) -> str:
    """Return the name that follows from a configuration."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
