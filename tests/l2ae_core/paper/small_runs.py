"""Runs of two epochs, what is asked of their results, and a result without a run."""

from pathlib import Path
from typing import Any

from l2ae_core.paper import Result, Run, run_missing
from l2ae_core.paper.run import Folder

SHORT = Run("clustering", "cae-l2", "digits", 0, 2, n_init=2)
PIXELS = Run("clustering", "pixels", "digits", 0, 0, n_init=2)
DETECTION = Run("detection", "pixels", "digits", 0, 0, 6, n_init=2)
SCORES: dict[str, dict[str, Any]] = {
    "clustering": {"acc": 0.75, "nmi": 0.5, "ari": 0.625, "after": {"acc": 0.5, "nmi": 0.25}},
    "detection": {"cosine": {"auc": 0.875, "auprc": 0.375}},
}
CHANCE = {
    "clustering": {"acc": 0.125, "nmi": 0.0, "ari": 0.0},
    "detection": {"auc": 0.5, "auprc": 0.1},
}


def do_all(runs: list[Run], path: Path, **how: Any) -> list[Result]:
    return run_missing(runs, Folder(path), progress=False, **how)


def found(result: Result) -> dict[str, Any]:
    """What must be equal: all but the seconds and the circumstances."""
    return {"config": result.config, "scores": result.scores, "chance": result.chance,
            "details": result.details}  # fmt: skip


def made_up(run: Run) -> Result:
    """Return a result of a run that was not done, with what every result has."""
    details = {"confusion": [[3, 1], [0, 4]], "classes": [0, 1]}
    return Result(run.config, SCORES[run.task], CHANCE[run.task], details, {"training": 2.5},
                  {"threads": 2})  # fmt: skip
