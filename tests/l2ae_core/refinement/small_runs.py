"""Small runs of `l2ae fit --self-label`, and all that one holds."""

import json
from pathlib import Path
from typing import Any

from l2ae_core.array_readers import read_npz

from .small import TIMES

INNER = "self-labelling"
SMALL: dict[str, Any] = {
    "model": "dense", "epochs": 2, "clusters": 3, "n_init": 2, "batch_size": 16, "latent_dim": 4,
    "hidden": (20, 16, 24),
    "augment": True, "self_label": True, "rounds": 3, "tol": 0.0,
}  # fmt: skip
PLAIN = {k: v for k, v in SMALL.items() if k not in ("self_label", "rounds", "tol")}
STEPS = 3  # an epoch, of 48 images
PIPELINE_FILES = {"config.json", "history.jsonl", "checkpoint.npz", "clusters.npz", "gallery.npz",
                  "metrics.json"}  # fmt: skip


def content(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def bits(run: Path) -> dict[str, Any]:
    """All that a run holds, but for the seconds."""
    found: dict[str, Any] = {"config": json.loads((run / "config.json").read_text())}
    for file in sorted(run.rglob("*.npz")):
        arrays = read_npz(file)
        arrays.pop("history", None)
        arrays.pop("hooks/begin", None)  # it holds seconds
        found[str(file.relative_to(run))] = {
            name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()
        }
    for file in sorted(run.rglob("history.jsonl")):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(run))] = [
            {name: value for name, value in record.items() if name not in TIMES}
            for record in records
        ]
    metrics = json.loads((run / "metrics.json").read_text())
    return found | {"metrics": {k: v for k, v in metrics.items() if k != "seconds"}}
