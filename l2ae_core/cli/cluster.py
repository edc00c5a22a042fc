"""`l2ae cluster`: the cluster of every image."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from l2ae_core.cli.options import add_run_and_images, describe_scores, print_note, write_columns
from l2ae_core.tables import check_table


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae cluster` its options."""
    add_run_and_images(parser)


def main(run: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    from l2ae_core import commands

    if out is not None:
        check_table(out)
    columns, scores = commands.cluster(run, **arguments, progress=not quiet)
    write_columns(columns, out)
    if "acc" in scores:
        print(f"{len(columns['index'])} images{describe_scores(scores)}", file=sys.stderr)
    print_note(scores)
    return 0
