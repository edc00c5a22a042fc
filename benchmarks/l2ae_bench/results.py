"""The measurements that a checkout keeps: benchmarks/results/bench-PART.json."""

import json
from pathlib import Path

from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import Measurements
from l2ae_core.files import write_json

PARTS = ("step", "norms", "augmented", "kmeans", "operations", "start")
RESULTS = Path("benchmarks/results")  # below the root of a checkout


def save(root: Path, part: str, result: Measurements) -> None:
    """Write the result of one part below the root of a checkout."""
    write(_file(root, part), result)


def write(path: Path, result: Measurements) -> None:
    """Write machine and rows as JSON, atomically."""
    write_json(path, {"machine": result.machine, "rows": [row.to_dict() for row in result.rows]})


def read(root: Path) -> dict[str, Measurements]:
    """Return the results that there are below the root of a checkout."""
    found = {}
    for part in PARTS:
        if _file(root, part).exists():
            value = json.loads(_file(root, part).read_text(encoding="utf-8"))
            rows = [Measurement.from_dict(row) for row in value["rows"]]
            found[part] = Measurements(value["machine"], rows)
    return found


def _file(root: Path, part: str) -> Path:
    return root / RESULTS / f"bench-{part}.json"
