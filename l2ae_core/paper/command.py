"""`l2ae reproduce`: run what a table lacks, then print the paper's numbers beside ours."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from l2ae_core.devices import DeviceName
from l2ae_core.files import given_folder
from l2ae_core.paper.published import DIGITS, TABLES, PaperTable, runs_of
from l2ae_core.paper.result import Result, read_results
from l2ae_core.paper.run import ResultsDir, Run, Task, seeds_and_anomalies
from l2ae_core.paper.systems import SYSTEMS, find_system
from l2ae_core.tables import counted

FIGURE = "figure1"
FIGURE_SYSTEMS, FIGURE_EPOCHS = ("cae-l2", "cae"), 200
FOURTH_EPOCHS = TABLES["beyond"].epochs  # of the fourth panel, before its self-labelling
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
    device: DeviceName,
    micro_batch: int | None,
    data_dir: str | None,
    fourth_panel: bool,
    show: bool,
    markdown: bool,
    quiet: bool,
) -> int:
    """Do what the command line says; arguments are those of `add_options`."""
    from l2ae_core.paper.tables import paper_tables

    if fourth_panel and FIGURE not in names:
        raise ValueError(f"reproduce: --fourth-panel is for {FIGURE}, which is not asked for")
    tables = [TABLES[name] for name in names if name in TABLES]
    folder = ResultsDir(out, data_dir)
    check_systems(systems or (), tables)
    runs = [
        run
        for table in tables
        for run in runs_of(table, seeds, epochs, digits=digits, data=data, systems=systems)
    ]
    if runs and not show:
        _run(runs, folder, jobs, cluster, device, micro_batch, quiet)
    made = paper_tables(read_results(out), [table.name for table in tables], data or ())
    for found in made:
        print(f"{found.markdown() if markdown else found.screen()}\n")
    for table in tables:
        if not any(found.name.startswith(table.name) for found in made):
            print(f"{table.name}: {out} has no result of it yet", file=sys.stderr)
    if FIGURE in names:
        for source in data or ("mnist",):
            _figure1(folder, source, epochs, jobs, cluster, device, micro_batch, fourth_panel,
                     show, quiet)  # fmt: skip
    print(hours(read_results(out)), file=sys.stderr)
    return 0


def check_systems(systems: Sequence[str], tables: Sequence[PaperTable]) -> None:
    """Raise ValueError for a system that is none, or is in none of the tables."""
    known = list(dict.fromkeys(c.system for table in tables for c in table.columns))
    for system in systems:
        find_system(system)
        if system not in known:
            names = ", ".join(table.name for table in tables) or "figure1"
            expected = f"; expected one of {', '.join(known)}" if known else ""
            raise ValueError(f"reproduce: {names} has no system {system!r}{expected}")


def describe(runs: Sequence[Run], folder: ResultsDir) -> str:
    """Return in one line how many runs are missing, and which: systems with equal gaps together."""
    from l2ae_core.paper.schedule import plan

    missing = [run for wave in plan(runs, folder) for run in wave]
    total = len(set(runs) | set(missing))  # a start may be one that no table asks for
    gaps: dict[tuple[str, str, Task], set[tuple[int, int | None]]] = defaultdict(set)
    for run in missing:
        gaps[run.system, run.where, run.task].add((run.seed, run.digit))
    alike: dict[tuple[str, frozenset[tuple[int, int | None]]], list[str]] = defaultdict(list)
    for (system, where, _), gap in gaps.items():
        alike[where, frozenset(gap)].append(system)
    told = [
        f"{', '.join(s)} on {where}, {seeds_and_anomalies(gap)}"
        for (where, gap), s in alike.items()
    ]
    which = f": {'; '.join(told)}" if told else ""
    return f"reproduce: {len(missing):,} of {counted(total, 'run')} missing{which}"


def _run(
    runs: Sequence[Run], folder: ResultsDir, jobs: int, cluster: str | None, device: DeviceName,
    micro_batch: int | None, quiet: bool,
) -> None:  # fmt: skip
    """Do the runs that are missing, having said which."""
    from l2ae_core.paper.on_device import describe_groups, groups_of
    from l2ae_core.paper.schedule import plan, run_missing

    if not quiet:
        print(describe(runs, folder), file=sys.stderr)
        if device != "cpu":
            groups = [group for wave in plan(runs, folder) for group in groups_of(wave, folder)]
            print(describe_groups(groups, device), file=sys.stderr)
    run_missing(runs, folder, jobs=jobs, cluster=cluster, device=device, micro_batch=micro_batch,
                progress=not quiet)  # fmt: skip


def hours(results: Sequence[Result]) -> str:
    """How long the trainings behind some results took, all together."""
    seconds = sum(r.seconds.training for r in results)
    return f"{counted(len(results), 'run')}, {seconds / 3600:.1f} hours of training"


def _figure1(
    folder: ResultsDir, source: str, epochs: int | None, jobs: int, cluster: str | None,
    device: DeviceName, micro_batch: int | None, fourth: bool, show: bool, quiet: bool,
) -> None:  # fmt: skip
    """Draw the codes of seed 0 of Table II, whose two networks are trained where they are not.

    With `fourth` also those of the self-labelled network.
    """
    from l2ae_core.paper.figure1 import SELF_LABELLED, figure1, picture_file

    total = FIGURE_EPOCHS if epochs is None else epochs
    if show:
        picture = picture_file(folder.path, source)
        there = picture.exists()
        print(picture if there else f"{FIGURE}: there is no {picture} yet",
              file=sys.stdout if there else sys.stderr)  # fmt: skip
        return
    runs = [Run("clustering", system, source, 0, total) for system in FIGURE_SYSTEMS]
    fourth_epochs = None
    if fourth:
        fourth_epochs = FOURTH_EPOCHS if epochs is None else epochs
        runs.append(Run("clustering", SELF_LABELLED, source, 0, fourth_epochs))
    _run(runs, folder, jobs, cluster, device, micro_batch, quiet)
    print(figure1(folder, source, 0, total, fourth_epochs=fourth_epochs, progress=not quiet))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `l2ae reproduce` its options."""
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="TABLE", help=", ".join(NAMES))
    parser.add_argument("--out", type=given_folder, required=True, metavar="RESULTS",
                        help="folder of results; what it has is not run again")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1, metavar="N",
                        help="seeds 0 … N − 1, or partitions (default 1)")  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="E",
                        help="of every training (default: the paper's)")  # fmt: skip
    parser.add_argument("--digits", type=int, nargs="+", default=DIGITS, metavar="DIGIT",
                        help="anomalies of Tables IV and V (default: all ten)")  # fmt: skip
    parser.add_argument("--data", nargs="+", choices=("mnist", "usps", "digits"),
                        help="data sets to run on (default: those of the paper); the "
                        "tables show all that RESULTS has")  # fmt: skip
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM",
                        help=f"some systems only: {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, metavar="J",
                        help="trainings side by side, sharing the cores (default 1)")  # fmt: skip
    parser.add_argument("--cluster", metavar="ADDRESS",
                        help="a Dask scheduler that takes the runs instead of --jobs; RESULTS must "
                        "be a folder that its workers see")  # fmt: skip
    parser.add_argument("--device", choices=get_args(DeviceName), default="cpu",
                        help="where networks are trained: cuda is a GPU, and trains several of one "
                        "system at once, of any seeds and anomalies; scores, clusters and the "
                        "other systems' trainings stay on the CPU (default cpu)")  # fmt: skip
    parser.add_argument("--micro-batch", type=int, metavar="N",
                        help="on a GPU: sum gradients over pieces of N images, so that those of "
                        "several networks stay in its cache (default: by a rule of shapes); with "
                        "batch norm a batch is whole")  # fmt: skip
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files")
    parser.add_argument("--fourth-panel", action="store_true",
                        help="figure1 with a fourth panel, which the paper has not: the codes of "
                        "cae-l2-warp-self")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
