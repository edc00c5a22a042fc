"""What a run found, typed: one file a run in RESULTS, one line a run where results are collected.

RESULTS/<id>.json     written by `l2ae reproduce` at the end of a run
FILE.jsonl            one line a run, in the order of `sort_key`
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from l2ae_core.files import write_json, write_json_lines
from l2ae_core.paper.run import ID_LENGTH, Run, Task
from l2ae_core.readers import one_line, read_json, read_json_lines
from l2ae_core.tables import counted
from l2ae_core.typed_json import from_json, to_json

FORMAT: Literal["l2ae-result"] = "l2ae-result"
VERSION: Literal[2] = 2
SCORES: dict[Task, tuple[str, ...]] = {  # what every result of a task has, and its chance level
    "clustering": ("acc", "nmi", "ari"),
    "detection": ("auc", "auprc"),
}
MOST_IMAGES = 2**53  # counts beyond are no longer exact as floating point


@dataclass(frozen=True)
class Curves:
    """The training, epoch by epoch: loss, mean and least |z| before the normalization."""

    loss: list[float]
    latent_norm_mean: list[float]
    latent_norm_min: list[float]

    def __post_init__(self) -> None:
        if not len(self.loss) == len(self.latent_norm_mean) == len(self.latent_norm_min) > 0:
            raise ValueError("expected three curves of one length, and not empty")


@dataclass(frozen=True)
class Norms:
    """Quantiles of the lengths |z| of the codes before the normalization, at the best epoch."""

    min: float
    q25: float
    median: float
    q75: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a method tells about its training, as far as it has it."""

    history: Curves | None = None
    best_epoch: int | None = None
    norms: Norms | None = None
    inertia: list[float] | None = None  # at the end of every restart of k-means
    reconstruction_mse: float | None = None
    refinement: list[dict[str, float | None]] | None = None  # DEC: one entry a look at the labels
    stopped: str | None = None  # DEC: why
    settings: dict[str, Any] | None = None  # DEC's

    def __post_init__(self) -> None:
        if self.inertia is not None and not (self.inertia and min(self.inertia) > 0):
            raise ValueError(f"inertia is {self.inertia} but expected positive numbers")


@dataclass(frozen=True, kw_only=True)
class ClusteringDetails(Details):
    """And how many images of each class are in each cluster."""

    images: int
    confusion: list[list[int]]  # (classes, clusters)
    classes: list[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = self.confusion
        counts = [count for row in rows for count in row]
        K = len(self.classes)
        good = len(rows) == K > 0 and len({len(row) for row in rows}) == 1
        if not good or not all(map(any, rows)) or not all(0 <= n < MOST_IMAGES for n in counts):
            raise ValueError(f"confusion is no table of counts, a row for each of {K} classes")


@dataclass(frozen=True)
class Count:
    """Of images in training and test."""

    train: int
    test: int


@dataclass(frozen=True)
class Roc:
    """ROC curves at common false-positive rates: name of the score → true-positive rates."""

    fpr: list[float]
    tpr: dict[str, list[float]]

    def __post_init__(self) -> None:
        for name, curve in self.tpr.items():
            if not len(curve) == len(self.fpr) > 0:
                raise ValueError(
                    f"{name} has {counted(len(curve), 'point')} but fpr {len(self.fpr)}"
                )


@dataclass(frozen=True, kw_only=True)
class DetectionDetails(Details):
    """And the curves behind the areas."""

    images: Count
    anomalies: Count
    roc: Roc


@dataclass(frozen=True)
class Seconds:
    """Of the training, and of all."""

    training: float
    all: float | None = None


@dataclass(frozen=True)
class Machine:
    """Where a run was made; older results name neither the BLAS nor the vectors."""

    processor: str
    system: str
    cores: int
    vectors: str | None = None
    blas: list[str] | None = None


@dataclass(frozen=True)
class Environment:
    """What the bits of a result depend on, and when it was made."""

    versions: dict[str, str]
    machine: Machine
    data_sha256: str
    date: str
    threads: int | None = None
    device: str | None = None  # that trained the network; None: the processor


@dataclass(frozen=True)
class Result:
    """What a run found.

    scores    dotted name → number. Clustering: acc, nmi, ari; of other clusterings of the same
              images "last.acc" (weights of the last epoch), "post_hoc_l2.acc" (codes brought to
              unit length after training), "start.acc" (before a refinement); inertia, …
              Detection: "cosine.auc", "cosine.auprc", …
    chance    the same for labels or scores that know nothing
    details   a ClusteringDetails or DetectionDetails
    """

    run: Run
    scores: dict[str, float]
    chance: dict[str, float]
    details: ClusteringDetails | DetectionDetails
    seconds: Seconds
    environment: Environment

    def __post_init__(self) -> None:
        names = SCORES[self.run.task]
        expected = {"chance": set(names), "scores": set(names)}
        if self.run.task == "detection":
            expected["scores"] = {f"{s}.{name}" for s in self.detectors for name in names}
        if "many_to_one" in self.scores:
            expected["chance"].add("many_to_one")
        found = {"chance": {*self.chance}, "scores": {*self.scores}}
        if isinstance(self.details, DetectionDetails):
            expected["details.roc.tpr"] = {*self.detectors}
            found["details.roc.tpr"] = {*self.details.roc.tpr}
        for group, needed in expected.items():
            if missing := needed - found[group]:
                raise ValueError(f"entry '{group}.{min(missing)}' is missing")

    @property
    def detectors(self) -> list[str]:
        """The names of the anomaly scores, in detection."""
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self.scores))

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.run.id

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that `from_json` reads."""
        file = _File(FORMAT, VERSION, self.id, self.run.config, self.scores, self.chance,
                     to_json(self.details), self.seconds, self.environment)  # fmt: skip
        values: dict[str, Any] = to_json(file)
        return values

    @classmethod
    def from_json(cls, values: Any, where: str) -> Self:
        """Read what `to_json` made; ValueError, beginning with `where`, when it is another."""
        try:
            if isinstance(values, dict) and values.get("version") == 1:
                values = _of_version_1(values)
            file = from_json(_File, values)
            run = Run.from_config(file.config)
            if file.id != run.id:
                raise ValueError(f"it says {file.id} but its configuration gives {run.id}")
            details: ClusteringDetails | DetectionDetails
            if run.task == "clustering":
                details = from_json(ClusteringDetails, file.details, "details")
            else:
                details = from_json(DetectionDetails, file.details, "details")
            return cls(run, file.scores, file.chance, details, file.seconds, file.environment)
        except ValueError as error:
            raise ValueError(f"{where}: not the result of a run: {one_line(error)}") from error

    def write(self, path: Path) -> None:
        """Write the file, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote; ValueError, naming it, when it is another."""
        return cls.from_json(read_json(path), str(path))


@dataclass(frozen=True)
class _File:
    """The JSON object; the kind of the details follows from the task in `config`."""

    format: Literal["l2ae-result"]
    version: Literal[2]
    id: str
    config: dict[str, Any]
    scores: dict[str, float]
    chance: dict[str, float]
    details: dict[str, Any]
    seconds: Seconds
    environment: Environment


def _of_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """Rewrite the object of version 1: nested scores, "after" for "post_hoc_l2", a grid a curve."""
    details = from_json(dict[str, Any], values.get("details"), "details")
    if roc := from_json(dict[str, dict[str, list[float]]], details.get("roc", {}), "details.roc"):
        grids = [curve.get("fpr") for curve in roc.values()]
        if any(grid != grids[0] for grid in grids):
            raise ValueError("entry 'details.roc' has curves at different fpr")
        tpr = {name: curve.get("tpr") for name, curve in roc.items()}
        details = details | {"roc": {"fpr": grids[0], "tpr": tpr}}
    scores: dict[str, Any] = {}
    for name, found in from_json(dict[str, Any], values.get("scores"), "scores").items():
        group = "post_hoc_l2" if name == "after" else name
        inner = found.items() if isinstance(found, dict) else ()
        scores |= {f"{group}.{key}": v for key, v in inner} if inner else {group: found}
    return values | {"version": VERSION, "scores": scores, "details": details}


def sort_key(result: Result) -> tuple[str, str, str, int, int, int]:
    """Task, data, system, epochs, seed (which is the partition, in detection), digit."""
    r = result.run
    return r.task, r.data, r.system, r.epochs, r.seed, -1 if r.digit is None else r.digit


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write a file of one line a run, sorted, atomically."""
    write_json_lines(path, [r.to_json() for r in sorted(results, key=sort_key)])


def read_results(path: Path) -> list[Result]:
    """Return the results of a folder (`<id>.json`, `*.jsonl`) or of one `.jsonl` file.

    An empty list where there is no folder. Raises ValueError, naming the file, for one that is
    damaged, and for a run that is there twice.
    """
    files = sorted(path.glob(f"{'[0-9a-f]' * ID_LENGTH}.json")) + sorted(path.glob("*.jsonl"))
    found: dict[str, tuple[Result, str]] = {}
    for file in [path] if path.suffix == ".jsonl" else files:
        for result, where in _read_file(file):
            if result.id in found:
                raise ValueError(f"{where}: {result.run} is in {found[result.id][1]}, too")
            found[result.id] = result, where
    return [result for result, _ in found.values()]


def _read_file(path: Path) -> Iterator[tuple[Result, str]]:
    """Yield the results of a file, and where each stands."""
    if path.suffix == ".jsonl":
        for i, values in enumerate(read_json_lines(path, complete=True), start=1):
            yield Result.from_json(values, f"{path}: line {i}"), f"{path}: line {i}"
        return
    result = Result.read(path)
    if path.stem != result.id:
        raise ValueError(f"{path}: is the result {result.id}; expected that name")
    yield result, str(path)
