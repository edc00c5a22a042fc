"""Runs of two epochs, what is asked of their results, and a result without a run."""

from pathlib import Path
from typing import Any

from l2ae_core.paper import Result, Run
from l2ae_core.paper.result import (
    ClusteringDetails,
    Count,
    DetectionDetails,
    Environment,
    Machine,
    Roc,
    Seconds,
)
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing

SHORT = Run("clustering", "cae-l2", "digits", 0, 2, n_init=2)
PIXELS = Run("clustering", "pixels", "digits", 0, 0, n_init=2)
DETECTION = Run("detection", "pixels", "digits", 0, 0, 6, n_init=2)
SCORES: dict[str, dict[str, float]] = {
    "clustering": {"acc": 0.75, "nmi": 0.5, "ari": 0.625, "post_hoc_l2.acc": 0.5},
    "detection": {"cosine.auc": 0.875, "cosine.auprc": 0.375},
}
CHANCE = {
    "clustering": {"acc": 0.125, "nmi": 0.0, "ari": 0.0},
    "detection": {"auc": 0.5, "auprc": 0.1},
}


def do_all(runs: list[Run], path: Path, **how: Any) -> list[Result]:
    return run_missing(runs, ResultsDir(path), progress=False, **how)


def found(result: Result) -> dict[str, Any]:
    """What must be equal: all but the seconds and the circumstances."""
    values = result.to_json()
    return {name: values[name] for name in ("config", "scores", "chance", "details")}


def made_up(run: Run) -> Result:
    """Return a result of a run that was not done, with what every result has."""
    details: ClusteringDetails | DetectionDetails
    if run.task == "clustering":
        details = ClusteringDetails(images=8, confusion=[[3, 1], [0, 4]], classes=[0, 1])
    else:
        roc = Roc([0.0, 0.5, 1.0], {"cosine": [0.0, 0.75, 1.0]})
        details = DetectionDetails(images=Count(9, 8), anomalies=Count(0, 1), roc=roc)
    here = Environment(
        {"numpy": "2.4"}, Machine("a processor", "Linux", 2), "ab" * 32, "2026-01-02"
    )
    return Result(run, SCORES[run.task], CHANCE[run.task], details, Seconds(2.5), here)
