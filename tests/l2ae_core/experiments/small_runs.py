"""Runs of two epochs, and what is asked of their results."""

from pathlib import Path
from typing import Any

from l2ae_core.experiments import Result, Run, run_missing
from l2ae_core.experiments.run import Folder

SHORT = Run("clustering", "cae-l2", "digits", 0, 2, n_init=2)
PIXELS = Run("clustering", "pixels", "digits", 0, 0, n_init=2)
DETECTION = Run("detection", "pixels", "digits", 0, 0, 6, n_init=2)


def do_all(runs: list[Run], path: Path, **how: Any) -> list[Result]:
    return run_missing(runs, Folder(path), progress=False, **how)


def found(result: Result) -> dict[str, Any]:
    """What must be equal: all but the seconds and the circumstances."""
    return {"config": result.config, "scores": result.scores, "chance": result.chance,
            "details": result.details}  # fmt: skip
