"""`l2ae reproduce`: run what a table lacks, then print the paper's numbers beside ours."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from l2ae_core.experiments.figure1 import figure1
from l2ae_core.experiments.paper import DIGITS, TABLES, PaperTable
from l2ae_core.experiments.run import Folder, Result, Run, read_results
from l2ae_core.experiments.schedule import run_missing
from l2ae_core.experiments.systems import SYSTEMS, find_system
from l2ae_core.experiments.tables import paper_tables

FIGURE = "figure1"
FIGURE_SYSTEMS, FIGURE_EPOCHS = ("cae-l2", "cae"), 200
NAMES = (*TABLES, FIGURE)


def main(
    names: Sequence[str],
    out: Path,
    *,
    seeds: int,
    epochs: int | None,
    digits: Sequence[int],
    data: Sequence[str] | None,
    systems: Sequence[str] | None,
    jobs: int,
    cluster: str | None,
    data_dir: str | None,
    show: bool,
    markdown: bool,
    quiet: bool,
) -> int:
    """Do what the command line says; arguments are those of `add_options`."""
    tables = [TABLES[name] for name in names if name in TABLES]
    folder = Folder(out, data_dir)
    runs = list(
        dict.fromkeys(
            run
            for table in tables
            for run in wanted(table, seeds, epochs, digits=digits, data=data, systems=systems)
        )
    )
    if not show:
        run_missing(runs, folder, jobs=jobs, cluster=cluster, progress=not quiet)
    results = read_results(out)
    for table in paper_tables(results, [t.name for t in tables]):
        print(f"{table.markdown() if markdown else table.screen()}\n")
    if FIGURE in names:
        _figure1(folder, (data or ("mnist",))[0], epochs, jobs, cluster, show, quiet)
    print(hours(results), file=sys.stderr)
    return 0


def wanted(
    table: PaperTable,
    seeds: int,
    epochs: int | None = None,
    *,
    digits: Sequence[int] = DIGITS,
    data: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
) -> Iterator[Run]:
    """Yield the runs of a table, all systems of one seed before the next seed.

    `data` and `systems` choose some, None means those of the table; `data` may name another data
    set. ValueError for an unknown system, a digit that is none, or seeds < 1.
    """
    if seeds < 1:
        raise ValueError(f"reproduce: seeds is {seeds} but expected at least 1")
    for digit in digits:
        if digit not in DIGITS:
            raise ValueError(f"reproduce: digit {digit} is none of 0 … 9")
    for system in systems or ():
        find_system(system)
    columns = dict.fromkeys(c.system for c in table.columns if not systems or c.system in systems)
    for seed in range(seeds):
        for source in data or table.data:
            anomalies: Sequence[int | None] = digits if table.task == "detection" else (None,)
            for anomaly in anomalies:
                for system in columns:
                    total = (epochs or table.epochs) if SYSTEMS[system].trained else 0
                    yield Run(table.task, system, source, seed, total, anomaly)


def hours(results: Sequence[Result]) -> str:
    """How long the trainings behind some results took, all together."""
    seconds = sum(r.seconds["training"] for r in results)
    return f"{len(results)} runs, {seconds / 3600:.1f} hours of training"


def _figure1(
    folder: Folder, source: str, epochs: int | None, jobs: int, cluster: str | None, show: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Draw the codes of seed 0 of Table II, whose two networks are trained where they are not."""
    total = epochs or FIGURE_EPOCHS
    if not show:
        runs = [Run("clustering", system, source, 0, total) for system in FIGURE_SYSTEMS]
        run_missing(runs, folder, jobs=jobs, cluster=cluster, progress=not quiet)
    print(figure1(folder, source, 0, total, progress=not quiet))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `l2ae reproduce` its options."""
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="TABLE", help=", ".join(NAMES))
    parser.add_argument("--out", type=Path, required=True, metavar="RESULTS",
                        help="folder of results; what it has is not run again")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="seeds 0 … N − 1, or partitions (default 1)")  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="E",
                        help="of every training (default: the paper's)")  # fmt: skip
    parser.add_argument("--digits", type=int, nargs="+", default=DIGITS, metavar="DIGIT",
                        help="anomalies of Tables IV and V (default: all ten)")  # fmt: skip
    parser.add_argument("--data", nargs="+", choices=("mnist", "usps", "digits"),
                        help="data sets (default: those of the paper)")  # fmt: skip
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM",
                        help=f"some columns only: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, metavar="J",
                        help="trainings side by side, sharing the cores (default 1)")  # fmt: skip
    parser.add_argument("--cluster", metavar="ADDRESS",
                        help="a Dask scheduler that takes the runs instead of --jobs; RESULTS must "
                        "be a folder that its workers see")  # fmt: skip
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files")
    parser.add_argument("--show", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
