"""`l2ae demo`: the whole method on the embedded digits."""

from argparse import ArgumentParser
from pathlib import Path

from l2ae_core.cli.options import add_common
from l2ae_core.demo.experiments import ANOMALY_DIGIT
from l2ae_core.files import given_folder


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae demo` its options."""
    parser.add_argument(
        "--out", type=given_folder, metavar="DIR", help="write metrics.json and the figures here"
    )
    parser.add_argument("--seed", type=int, default=0,
                        help="of weights, shuffles and k-means (default 0)")  # fmt: skip
    parser.add_argument("--anomaly-digit", type=int, default=ANOMALY_DIGIT,
                        help="digit to be detected (default %(default)s)")  # fmt: skip
    add_common(parser)


def main(out: Path | None, seed: int, anomaly_digit: int, quiet: bool) -> int:
    """Do what the command line says."""
    from l2ae_core.demo.run import run_demo
    from l2ae_core.demo.table import format_table

    result = run_demo(out, seed=seed, anomaly_digit=anomaly_digit, progress=not quiet)
    print(format_table(result))
    return 0
