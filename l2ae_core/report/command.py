"""`l2ae report`: one HTML page of a run directory or of a folder of results."""

import argparse
from pathlib import Path

from l2ae_core.files import CONFIG, check_out, given_path

PAGE = "report.html"


def write_report(path: Path, out: Path | None = None) -> Path:
    """Write the page of a RUN directory or RESULTS folder and return where it is.

    Of a folder of several seeds it is the page of the chosen run.
    `out` defaults to `report.html` in `path`. Raises ValueError, naming the file, when there is
    nothing to tell or a file is damaged; nothing is written then.
    """
    if not path.is_dir():
        raise ValueError(f"report: {path} is not a folder; expected a run or a folder of results")
    out = path / PAGE if out is None else out
    check_out(out, ".html", ".htm")
    from l2ae_core.report.page import write_page
    from l2ae_core.report.results_page import results_page
    from l2ae_core.report.run_page import run_page
    from l2ae_core.seeds.runs import chosen_run

    run, _ = chosen_run(path)
    html = run_page(run) if (run / CONFIG).exists() else results_page(path)
    write_page(out, html)
    return out


def main(path: Path, out: Path | None) -> int:
    """Do what the command line says."""
    print(write_report(path, out))
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `l2ae report` its options."""
    parser.add_argument("path", type=given_path, metavar="RUN_OR_RESULTS",
                        help="what `l2ae fit` or `l2ae reproduce` made")  # fmt: skip
    parser.add_argument("--out", type=given_path, metavar="FILE.html",
                        help="default: report.html in RUN_OR_RESULTS")  # fmt: skip
