"""`l2ae reproduce`: run what a table lacks, then print the paper's numbers beside ours."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from l2ae_core.files import given_path
from l2ae_core.paper.figure1 import figure1, picture_file
from l2ae_core.paper.paper import DIGITS, TABLES
from l2ae_core.paper.run import Folder, Result, Run, read_results
from l2ae_core.paper.schedule import run_missing
from l2ae_core.paper.systems import SYSTEMS
from l2ae_core.paper.tables import paper_tables
from l2ae_core.paper.wanted import check_systems, in_words, wanted

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
    check_systems(systems or (), tables)
    runs = [
        run
        for table in tables
        for run in wanted(table, seeds, epochs, digits=digits, data=data, systems=systems)
    ]
    if runs and not show:
        _run(runs, folder, jobs, cluster, quiet)
    made = paper_tables(read_results(out), [table.name for table in tables], data or ())
    for found in made:
        print(f"{found.markdown() if markdown else found.screen()}\n")
    for table in tables:
        if not any(found.name.startswith(table.name) for found in made):
            print(f"{table.name}: {out} has no result of it yet", file=sys.stderr)
    if FIGURE in names:
        for source in data or ("mnist",):
            _figure1(folder, source, epochs, jobs, cluster, show, quiet)
    print(hours(read_results(out)), file=sys.stderr)
    return 0


def _run(runs: Sequence[Run], folder: Folder, jobs: int, cluster: str | None, quiet: bool) -> None:
    """Do the runs that are missing, having said which."""
    if not quiet:
        print(in_words(runs, folder), file=sys.stderr)
    run_missing(runs, folder, jobs=jobs, cluster=cluster, progress=not quiet)


def hours(results: Sequence[Result]) -> str:
    """How long the trainings behind some results took, all together."""
    seconds = sum(r.seconds["training"] for r in results)
    return f"{len(results)} runs, {seconds / 3600:.1f} hours of training"


def _figure1(
    folder: Folder, source: str, epochs: int | None, jobs: int, cluster: str | None, show: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Draw the codes of seed 0 of Table II, whose two networks are trained where they are not."""
    total = FIGURE_EPOCHS if epochs is None else epochs
    if show:
        picture = picture_file(folder.path, source)
        there = picture.exists()
        print(picture if there else f"{FIGURE}: there is no {picture} yet",
              file=sys.stdout if there else sys.stderr)  # fmt: skip
        return
    runs = [Run("clustering", system, source, 0, total) for system in FIGURE_SYSTEMS]
    _run(runs, folder, jobs, cluster, quiet)
    print(figure1(folder, source, 0, total, progress=not quiet))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `l2ae reproduce` its options."""
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="TABLE", help=", ".join(NAMES))
    parser.add_argument("--out", type=given_path, required=True, metavar="RESULTS",
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
                        help=f"some systems only: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, metavar="J",
                        help="trainings side by side, sharing the cores (default 1)")  # fmt: skip
    parser.add_argument("--cluster", metavar="ADDRESS",
                        help="a Dask scheduler that takes the runs instead of --jobs; RESULTS must "
                        "be a folder that its workers see")  # fmt: skip
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files")
    parser.add_argument("--show", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
