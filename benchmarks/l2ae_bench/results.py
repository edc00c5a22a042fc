"""The measurements that a checkout keeps: benchmarks/results/speed/PROCESSOR/PART.json."""

import json
from pathlib import Path
from typing import TypeAlias

from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import Measurements, folder
from l2ae_core.files import write_json

PARTS = ("step", "norms", "augmented", "kmeans", "operations", "start")
RESULTS = Path("benchmarks/results/speed")  # below the root of a checkout
Parts: TypeAlias = dict[str, Measurements]  # of one processor


def save(root: Path, part: str, result: Measurements) -> None:
    """Write the result of one part below the root of a checkout, in place of this processor's."""
    path = root / RESULTS / folder(result.machine) / f"{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, result)


def write(path: Path, result: Measurements) -> None:
    """Write machine and rows as JSON, atomically."""
    write_json(path, {"machine": result.machine, "rows": [row.to_dict() for row in result.rows]})


def read(root: Path) -> list[Parts]:
    """Return the results below the root of a checkout, those of a processor together.

    The processor that was measured last comes first.
    """
    found = [
        {part: _read(path) for part in PARTS if (path := one / f"{part}.json").exists()}
        for one in sorted((root / RESULTS).iterdir())
    ]
    return sorted(filter(None, found), key=_date, reverse=True)


def with_part(results: list[Parts], part: str) -> list[Measurements]:
    """Return the results of one part, of the processor that was measured last first."""
    return [parts[part] for parts in results if part in parts]


def _read(path: Path) -> Measurements:
    value = json.loads(path.read_text(encoding="utf-8"))
    return Measurements(value["machine"], [Measurement.from_dict(row) for row in value["rows"]])


def _date(parts: Parts) -> str:
    return max(str(result.machine["date"]) for result in parts.values())
