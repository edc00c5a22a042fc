"""The results of a checkout, and the tables of the READMEs between their markers.

The tables are made from benchmarks/results/bench-PART.json alone, never by hand; a test makes them
again and compares.
"""

import json
from pathlib import Path
from typing import Any

from l2ae_bench.comparison import Measurement
from l2ae_bench.ladder import ladder
from l2ae_bench.machine import Measurements
from l2ae_bench.text import cells, fastest_first, milliseconds, sources
from l2ae_core.files import atomic_file, write_json
from l2ae_core.tables import markdown
from l2ae_core.text import rewrite

PARTS = ("step", "norms", "kmeans", "operations", "start")
RESULTS = Path("benchmarks/results")  # below the root of a checkout
README, LADDER = Path("README.md"), Path("kernels/README.md")
REGIONS = {README: "bench:table", LADDER: "bench:operations"}
NAMES = {
    "step-cae-28": "training step, convolutional, 28×28",
    "step-cae-16": "training step, convolutional, 16×16",
    "step-dense": "training step, dense, 28×28",
    "step-cae-28-layer-norm-embedding": "convolutional, layer norm on the embedding",
    "step-cae-28-layer-norm": "convolutional, layer norm everywhere",
    "step-cae-28-batch-norm": "convolutional, batch norm everywhere",
    "kmeans-70000x10-k10": "k-means, 70,000 × 10, 10 clusters",
    "kmeans-70000x784-k10": "k-means, 70,000 × 784, 10 clusters",
    "kmeans-200000x64-k256": "k-means, 200,000 × 64, 256 clusters",
    "start-cold": "first step of a process, all to be compiled",
    "start-warm": "first step of a process, from the cache",
}


def save(root: Path, part: str, result: Measurements) -> None:
    """Write the result of one part below the root of a checkout."""
    rows = [row.to_dict() for row in result.rows]
    write_json(_file(root, part), {"machine": result.machine, "rows": rows})


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


def readmes(root: Path) -> dict[Path, str]:
    """Return each README as it should be: its own text around the table of the results."""
    results = read(root)
    tables = {README: speed(results), LADDER: ladder(results.get("operations"))}
    return {
        path: rewrite((root / path).read_text(encoding="utf-8"), region, tables[path])
        for path, region in REGIONS.items()
    }


def write_readmes(root: Path) -> None:
    """Write the tables of the results into the READMEs."""
    for path, text in readmes(root).items():
        with atomic_file(root / path) as file:
            file.write(text.encode())


def speed(results: dict[str, Measurements]) -> str:
    """Return the table of steps, k-means and start beside the peers, "" without results."""
    lines: list[list[str]] = []
    machines: list[tuple[str, dict[str, Any]]] = []
    for part in ("step", "norms", "kmeans", "start"):
        if part in results:
            machines.append((part, results[part].machine))
            shown = [row for row in results[part].rows if row.workload in NAMES]
            lines += [_speed_line(row) for row in shown]
    if not lines:
        return ""
    header = ("workload", "threads", "ours", "peers", "times as fast (quartiles)", "target", "")
    return f"{markdown(header, lines, {1, 2})}\n\n{sources(machines)}"


def _speed_line(row: Measurement) -> list[str]:
    _, threads, ours, _, ratio, spread, target, verdict = cells(row)
    peers = ", ".join(f"{name} {milliseconds(t)} ms" for name, t in fastest_first(row.peers))
    times = f"**{ratio}** ({spread})" if ratio else ""
    return [NAMES[row.workload], threads, f"{ours} ms", peers, times, target, verdict]
