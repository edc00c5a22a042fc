"""`l2ae report`: one HTML page of a run directory or of a folder of results."""

import argparse
from pathlib import Path
from typing import Any, get_args

from l2ae_core.cli.options import DATA_HELP, add_common, add_data_dir
from l2ae_core.devices import DeviceName
from l2ae_core.files import CONFIG, check_out, given_path

PAGE = "report.html"


def write_report(
    path: Path, out: Path | None = None, *, source: str | None = None, **arguments: Any
) -> Path:
    """Write the page of a RUN directory or RESULTS folder and return where it is.

    Of a folder of several seeds it is the page of the chosen run.
    `out` defaults to `report.html` in `path`. With a `source` the images of the page are these,
    by the network of the run, and not those that `fit` kept; `arguments` are those of
    `commands.gallery`. Raises ValueError, naming the file, when there is nothing to tell or a file
    is damaged; nothing is written then.
    """
    if not path.is_dir():
        raise ValueError(f"report: {path} is not a folder; expected a run or a folder of results")
    out = path / PAGE if out is None else out
    check_out(out, ".html", ".htm")
    from l2ae_core.report.page import write_page
    from l2ae_core.report.results_page import results_page
    from l2ae_core.seeds.runs import chosen_run

    run, _ = chosen_run(path)
    if (run / CONFIG).exists():
        html = _run_page(run, source, arguments)
    elif source is not None:
        raise ValueError(f"report: data is {source} but {path} is no run")
    else:
        html = results_page(path)
    write_page(out, html)
    return out


def _run_page(run: Path, source: str | None, arguments: dict[str, Any]) -> str:
    from l2ae_core import commands
    from l2ae_core.report.run_page import run_page

    gallery = None if source is None else commands.gallery(run, source, **arguments)
    return run_page(run, gallery, progress=arguments.get("progress", False))


def main(path: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    print(write_report(path, out, **arguments, progress=not quiet))
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `l2ae report` its options."""
    parser.add_argument("path", type=given_path, metavar="RUN_OR_RESULTS",
                        help="what `l2ae fit` or `l2ae reproduce` made")  # fmt: skip
    parser.add_argument("--out", type=given_path, metavar="FILE.html",
                        help="default: report.html in RUN_OR_RESULTS")  # fmt: skip
    parser.add_argument("--data", dest="source", metavar="DATA",
                        help="show these images by the network of RUN, not those of the training: "
                        f"{DATA_HELP}")  # fmt: skip
    parser.add_argument("--split", choices=("all", "train", "test"), default="all",
                        help="part of a named data set (default all)")  # fmt: skip
    add_common(parser)
    parser.add_argument("--device", choices=get_args(DeviceName),
                        help="of the network, with --data (default: a GPU, if there is "
                        "one)")  # fmt: skip
    add_data_dir(parser)
