"""`l2ae score`: how normal every image is."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from l2ae_core.cli.options import add_run_and_images, print_note, write_columns
from l2ae_core.tables import check_table


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae score` its options."""
    add_run_and_images(parser)
    parser.add_argument("--fpr", type=float, default=0.05, metavar="SHARE",
                        help="of training images below the threshold (default 0.05)")  # fmt: skip
    parser.add_argument("--anomaly-class", metavar="CLASS",
                        help="name, or number where labels are numbers, of the class to report the "
                        "AUC for (default: that of the run)")  # fmt: skip


def main(run: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    from l2ae_core import commands

    if out is not None:
        check_table(out)
    columns, result = commands.score(run, **arguments, progress=not quiet)
    write_columns(columns, out)
    tau, flagged, N = result["threshold"], result["anomalous"], len(columns["index"])
    print(f"threshold {tau:.6g}: {flagged} of {N} images are anomalous", file=sys.stderr)
    if "auc" in result:
        print(
            f"class {result['anomaly_class']} as anomaly ({result['prevalence']:.1%} of images):"
            f" AUC {result['auc']['normality']:.4f}, by reconstruction error "
            f"{result['auc']['reconstruction']:.4f}, chance 0.5",
            file=sys.stderr,
        )
    if result["no_auc"]:
        print(f"l2ae: {result['no_auc']}", file=sys.stderr)
    print_note(result)
    return 0
