"""`python benchmarks/run.py scale`: measure, print the table, keep the rows."""

import re
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from tqdm import tqdm

from l2ae_bench.machine import ROOT, describe, in_words
from l2ae_bench.scale import PART, RESULTS
from l2ae_bench.scale.cells import cells
from l2ae_bench.scale.growth import table
from l2ae_bench.scale.measure import Row, measure, read


def refused(arguments: Namespace) -> str | None:
    """The argument that the part does not go with, and why; None: there is none."""
    if arguments.parts != [PART]:
        return f"PART: {PART} is measured alone"
    if arguments.device != "cpu":
        return f"PART: {PART} is not for a GPU"
    given = {"--threads": arguments.threads, "--compare": arguments.compare,
             "--fail-above": arguments.fail_above, "--vectors": arguments.vectors,
             "--figure": arguments.figure}  # fmt: skip
    wrong = [name for name, value in given.items() if value is not None]
    if arguments.tables and (arguments.quick or arguments.json is not None):
        return "--tables: keeps all rows itself, not with --quick or --json"
    return f"{wrong[0]}: is not for {PART}" if wrong else None


def run(arguments: Namespace) -> int:
    """Measure what is missing in the file of rows, and print all of them; return 0.

    With --json the file is that one, with --tables that of the checkout: a row is a line.
    """
    print("\n".join(in_words(describe())), file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="l2ae-scale-") as folder:
        out = arguments.json or Path(folder) / "rows.jsonl"
        out = ROOT / RESULTS if arguments.tables else out
        wanted = [cell for cell in cells(quick=arguments.quick) if _chosen(arguments, cell.name)]
        if not wanted:
            raise ValueError(f"nothing is chosen by -k {arguments.pattern}")
        try:
            for row in measure(wanted, out, progress=not arguments.quiet):
                if not arguments.quiet:
                    tqdm.write(line(row), file=sys.stderr)
        finally:  # after Ctrl-C, what there is
            if rows := read(out):
                print(table(rows).screen())
    if arguments.tables:
        from results_page import write  # beside run.py; it draws, too

        write(ROOT)
    return 0


def line(row: Row) -> str:
    """Return a row as a line of text."""
    return f"{row.cell.name}: {row.seconds:.3g} s, {row.bytes / 1e6:.0f} MB"


def _chosen(arguments: Namespace, name: str) -> bool:
    return re.search(arguments.pattern, name) is not None
