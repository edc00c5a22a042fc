"""`l2ae score`: how normal every image is."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from l2ae_core.cli.options import (
    add_run_and_images,
    add_thresholds,
    check_rows,
    describe_thresholds,
    print_note,
    write,
)
from l2ae_core.tables import counted

COLUMNS = """
columns of the table, a row an image:
  index, file           position, and name of the file where there is one
  normality             v, the cosine to the nearest cluster (Eq. 5), in [-1, 1]: high is normal
  cluster               that cluster
  reconstruction_error  squared differences of image and reconstruction, summed over all pixels and
                        channels, pixels being in [0, 1]; divided by H*W*C it is a mean squared
                        error, as the loss of `l2ae fit` is
  error_quantile        share of the training images whose error is smaller, in [0, 1]
  anomalous             1 or 0
  reason                far from every cluster, not reconstructed, or both; empty when normal
  label                 the class, where the images have one"""


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae score` its options."""
    parser.description = f"{parser.description}\n{COLUMNS}"
    add_run_and_images(parser)
    add_thresholds(parser)
    parser.add_argument("--top", type=int, metavar="N", help="only the N least normal images, "
                        "sorted: first those that are farthest beyond a threshold")  # fmt: skip
    parser.add_argument("--anomaly-class", metavar="CLASS",
                        help="name, or number where labels are numbers, of the class to report the "
                        "AUC for (default: that of the run)")  # fmt: skip


def main(run: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    from l2ae_core import commands

    check_rows(out, run, arguments["source"])
    table = commands.score_table(run, **arguments, progress=not quiet)
    write(table, out)
    result = table.result
    print(_verdict(result), file=sys.stderr)
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


def _verdict(result: dict[str, Any]) -> str:
    """Return the thresholds, and how many images lie outside of them, and why."""
    limits = result["threshold"], result["error_threshold"]
    counts = [f"{n:,} {reason}" for reason, n in result["reasons"].items() if n]
    why = f" ({', '.join(counts)})" if None not in limits and counts else ""
    n, N = result["anomalous"], result["images"]
    found = f"{n:,} of {counted(N, 'image')} {'is' if 1 in (n, N) else 'are'} anomalous"
    return f"{describe_thresholds(*limits)}: {found}{why}"
