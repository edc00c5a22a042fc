"""One run of one system: what fixes it, the name that follows from that, the file it leaves.

    RESULTS/<id>.json            configuration, scores, curves, versions, machine, seconds
    RESULTS/trainings/<id>/      the run directory of the network, to go on from and to look into
    RESULTS/arrays/<id>.npz      images for the report (worst and best reconstructions)

<id> is a hash of the configuration, system's settings included: another setting is another run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, get_args

from l2ae_core.data import DATASETS
from l2ae_core.files import METRICS, write_json
from l2ae_core.paper.result_check import Task, check_result
from l2ae_core.paper.systems import System, find_system
from l2ae_core.readers import entry, read_json

FORMAT = "l2ae-result"
VERSION = 1
ID_LENGTH = 12
BATCH_SIZE = 256
N_INIT = 20  # restarts of k-means
CLASSES = 10  # of every data set here


@dataclass(frozen=True)
class Run:
    """One training and its evaluation: everything that fixes its result, and nothing else.

    Two runs are equal when all fields and the settings of their system are, and then they have one
    `id`, which names the file of the result. The seed gives weights, shuffles, starts of k-means
    and, in detection, the partition. Raises ValueError, naming the field, for values out of range.

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
            "clean": system.clean,
        }

    @property
    def id(self) -> str:
        """The first digits of the SHA-256 of the configuration."""
        return _id_of(self.config)

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
class Folder:
    """A folder of results, RESULTS above, and what lies where in it. It need not exist yet.

    A run is done when `result(run)` is there, and only then: a training without it was stopped, and
    is gone on with. Files are written beside their place and then renamed, so that none is half.
    Several processes may do different runs in one folder; a run is locked while it is done.
    """

    path: Path
    data_dir: str | None = None  # where the files of MNIST and USPS are, as for `l2ae_core.data`

    def resolved(self) -> "Folder":
        """The same by absolute paths."""
        data_dir = None if self.data_dir is None else str(Path(self.data_dir).resolve())
        return Folder(self.path.resolve(), data_dir)

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


@dataclass(frozen=True)
class Result:
    """What a run found: the content of its file.

    scores        clustering: acc, nmi, ari, and "after" with the same of the codes brought to unit
                  length after training; detection: name of the score → auc, auprc
    chance        the same for labels or scores that know nothing
    details       curves and counts for the report, see clustering.py and detection.py
    seconds       of training and of evaluation
    environment   versions, machine, threads, date, SHA-256 of the data
    """

    config: dict[str, Any]
    scores: dict[str, Any]
    chance: dict[str, Any]
    details: dict[str, Any]
    seconds: dict[str, float]
    environment: dict[str, Any]

    @property
    def id(self) -> str:
        """The name of the run: the `Run.id` of the configuration."""
        return _id_of(self.config)

    def score(self, name: str) -> float | None:
        """Return a score by its dotted name: "acc", "after.acc", "cosine.auc".

        None if there is none, or if the name is that of a group of scores ("after").
        """
        value: Any = self.scores
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return None if isinstance(value, Mapping) else float(value)

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, {"format": FORMAT, "version": VERSION, "id": self.id} | asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote; ValueError, naming it, when it is another."""
        where = f"{path}: not the result of a run"
        values = read_json(path)
        mark = [entry(values, n, k, where=where) for n, k in (("format", str), ("version", int))]
        if mark != [FORMAT, VERSION]:
            raise ValueError(f"{where}: of format {mark} but expected {[FORMAT, VERSION]}")
        found = entry(values, "id", str, where=where)
        parts = {field.name: entry(values, field.name, dict, where=where) for field in fields(cls)}
        unknown = values.keys() - parts.keys() - {"format", "version", "id"}
        if unknown:
            raise ValueError(f"{where}: unknown entries {sorted(unknown)}")
        check_result(parts, where)
        result = cls(**parts)
        if result.id != found:
            raise ValueError(f"{path}: says {found} but its configuration gives {result.id}")
        return result


def _id_of(config: Mapping[str, Any]) -> str:
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def read_results(folder: Path) -> list[Result]:
    """Return the results of all finished runs in a folder, in the order of their names.

    None where there is no folder. Raises ValueError, naming the file, for a damaged one.
    """
    results = {
        path: Result.read(path) for path in sorted(folder.glob(f"{'[0-9a-f]' * ID_LENGTH}.json"))
    }
    for path, result in results.items():
        if path.stem != result.id:
            raise ValueError(f"{path}: is the result {result.id}; expected that name")
    return list(results.values())
