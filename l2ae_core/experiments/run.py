"""One run of one system: what fixes it, the name that follows from that, the file it leaves.

    RESULTS/<id>.json            configuration, scores, curves, versions, machine, seconds
    RESULTS/trainings/<id>/      the run directory of the network, to go on from and to look into
    RESULTS/arrays/<id>.npz      images for the report (worst and best reconstructions)

<id> is a hash of the configuration, system's settings included: another setting is another run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from l2ae_core.experiments.systems import System, find_system
from l2ae_core.files import write_json

Task: TypeAlias = Literal["clustering", "detection"]
FORMAT = "l2ae-result"
VERSION = 1
ID_LENGTH = 12
BATCH_SIZE = 256
N_INIT = 20  # restarts of k-means
CLASSES = 10  # of every data set here


@dataclass(frozen=True)
class Run:
    """What fixes one run. `seed` gives weights, shuffles, k-means starts and the partition."""

    task: Task
    system: str
    data: str
    seed: int
    epochs: int  # 0 where nothing is trained
    digit: int | None = None  # the anomaly, in detection
    batch_size: int = BATCH_SIZE
    n_init: int = N_INIT

    def __post_init__(self) -> None:
        if (self.task == "detection") != (self.digit is not None):
            raise ValueError(f"Run: task is {self.task!r} but digit is {self.digit}")
        if not self._system.trained and self.epochs:
            raise ValueError(f"Run: {self.system} is not trained but epochs is {self.epochs}")

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
        text = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    @property
    def start(self) -> "Run | None":
        """The run whose trained network this one goes on from."""
        name = self._system.start
        if name is None:
            return None
        return Run(self.task, name, self.data, self.seed, self.epochs, self.digit,
                   self.batch_size, self.n_init)  # fmt: skip

    def __str__(self) -> str:
        digit = "" if self.digit is None else f", anomaly {self.digit}"
        return f"{self.system} on {self.data}, seed {self.seed}{digit}"


@dataclass(frozen=True)
class Folder:
    """RESULTS and what lies where in it; `data_dir` is where the data sets are."""

    path: Path
    data_dir: str | None = None

    def result(self, run: Run) -> Path:
        """The file of a finished run."""
        return self.path / f"{run.id}.json"

    def training(self, run: Run) -> Path:
        """The run directory of a run's network."""
        return self.path / "trainings" / run.id

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
        """The name of the run."""
        text = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

    def score(self, name: str) -> float | None:
        """Return a score by its dotted name ("acc", "after.acc", "cosine.auc"), None if absent."""
        value: Any = self.scores
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return float(value)

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, {"format": FORMAT, "version": VERSION, "id": self.id} | asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote; ValueError, naming it, when it is another."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != FORMAT or values.pop("version") != VERSION:
                raise ValueError(f"not of format {FORMAT}, version {VERSION}")
            found = values.pop("id")
            result = cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: not the result of a run: {error!r}") from error
        if result.id != found:
            raise ValueError(f"{path}: says {found} but its configuration gives {result.id}")
        return result


def read_results(folder: Path) -> list[Result]:
    """Return the results of all finished runs in a folder, in the order of their names.

    Raises ValueError, naming the file, for a damaged one.
    """
    return [Result.read(path) for path in sorted(folder.glob(f"{'[0-9a-f]' * ID_LENGTH}.json"))]
