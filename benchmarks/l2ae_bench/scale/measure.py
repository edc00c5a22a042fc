"""All cells, one process after the other; what a file of results has already is not done again."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2ae_bench.machine import ROOT, describe
from l2ae_bench.peers import installed
from l2ae_bench.scale.cells import WORKERS, Cell
from l2ae_bench.scale.files import bars
from l2ae_core import commands
from l2ae_core.files import append_json_line
from l2ae_core.progress import Bar
from l2ae_core.readers import read_json_lines

RUN_IMAGES = 2000  # that the network of `score` is trained on
MODULES = {"faiss": "faiss", "dask-ml": "dask_ml"} | dict.fromkeys(WORKERS, "distributed")


@dataclass(frozen=True)
class Row:
    """What one cell took."""

    work: str
    N: int
    d: int
    k: int
    contender: str
    seconds: float
    bytes: int  # at most, above what the process had before
    result: dict[str, float]
    machine: dict[str, Any]

    @property
    def cell(self) -> Cell:
        """The cell that was measured."""
        return Cell(self.work, self.N, self.d, self.k, self.contender)  # type: ignore[arg-type]


def read(path: Path) -> list[Row]:
    """Return the rows of a file of results; none where there is no file."""
    return [Row(**values) for values in read_json_lines(path)] if path.exists() else []


def latest(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the processor that was measured last."""
    return [row for row in rows if _processor(row.machine) == _processor(rows[-1].machine)]


def measure(wanted: Sequence[Cell], out: Path, *, progress: bool = True) -> Iterator[Row]:
    """Measure the cells that `out` lacks, and add each to it; yield every row.

    Contenders that are not installed are left out. ValueError where a process fails.
    """
    machine = describe()
    done = {row.cell for row in read(out) if _processor(row.machine) == _processor(machine)}
    missing = [cell for cell in wanted if cell not in done and _there(cell)]
    with _folder(missing) as folder:
        bar = Bar(missing, desc="scale", unit="cell", disable=not progress)
        for cell in bar:
            bar.set_postfix_str(cell.name)
            row = Row(**asdict(cell), **_measured(cell, folder), machine=machine)
            append_json_line(out, asdict(row))
            yield row


def _processor(machine: dict[str, Any]) -> tuple[Any, ...]:
    return machine["processor"], machine.get("model"), machine["cores"], machine["vectors"]


def _there(cell: Cell) -> bool:
    return installed(MODULES.get(cell.contender, "sklearn"))


@contextmanager
def _folder(wanted: Sequence[Cell]) -> Iterator[Path]:
    """Give a folder for the files, with a trained run where one is needed."""
    with tempfile.TemporaryDirectory(prefix="l2ae-scale-") as name:
        folder = Path(name)
        if any(cell.work == "score" for cell in wanted):
            np.save(folder / "few.npy", bars(RUN_IMAGES, np.random.default_rng(2)))
            given = {"data": str(folder / "few.npy"), "epochs": 1, "n_init": 2}
            commands.fit(folder / "run", given, progress=False, gallery=False)
        yield folder


def _measured(cell: Cell, folder: Path) -> dict[str, Any]:
    modules = os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])
    process = subprocess.run(
        [sys.executable, "-m", "l2ae_bench.scale.child", str(folder), json.dumps(asdict(cell))],
        env=os.environ | {"PYTHONPATH": modules}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:]
        raise ValueError(f"scale: {cell.name} ended with {process.returncode}: {reason}")
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return {"seconds": found.pop("seconds"), "bytes": found.pop("bytes"), "result": found}
