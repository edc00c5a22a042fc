"""Small runs of several seeds, and what two folders of them have in common."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_core import commands

SMALL: dict[str, Any] = {"epochs": 1, "n_init": 1, "seed": 7, "filters": (4, 6, 8)}
OPTIONS = ["--quiet", "--epochs", "1", "--n-init", "1", "--seed", "7",
           "--filters", "4,6,8"]  # fmt: skip


def labels_of(run: Path, data: str = "digits") -> np.ndarray:
    return commands.cluster(run, data, progress=False)[0]["cluster"]


def clusters(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "clusters.npz") as file:
        return dict(file)


def assert_equal_runs(a: Path, b: Path, seeds: range) -> None:
    assert json.loads((a / "seeds.json").read_text()) == json.loads((b / "seeds.json").read_text())
    for seed in seeds:
        found, expected = clusters(a / f"seed-{seed}"), clusters(b / f"seed-{seed}")
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])
