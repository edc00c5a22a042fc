"""`l2ae report`: one HTML page of a run directory, of several seeds or of a folder of results."""

import argparse
import os
from pathlib import Path
from typing import Any, get_args

from l2ae_core.cli.options import DATA_HELP, add_common, add_data_dir, add_reading
from l2ae_core.devices import DeviceName
from l2ae_core.files import CONFIG, check_out, given_path

PAGE = "report.html"
OF_DATA = {"split": "all", "data_dir": None, "labels": True, "skip_unreadable": False,
           "device": None}  # fmt: skip


def write_report(
    path: Path, out: Path | None = None, *, source: str | None = None, progress: bool = False,
    **arguments: Any,
) -> Path:  # fmt: skip
    """Write the page of a RUN directory, RUNS of several seeds or a RESULTS folder.

    Return where it is: `out` defaults to `report.html` in `path`. Of RUNS it compares the runs, and
    the page of each of them is written too: `report.html` in its directory, or beside `out`, by
    its name and the seed. With a `source` the images of the pages are these, by the networks of the
    runs, and not those that `fit` kept; `arguments` are those of `commands.galleries`. Raises
    ValueError, naming the file, when there is nothing to tell or a file is damaged; the page is
    written last, and whole.
    """
    if not path.is_dir():
        raise ValueError(f"report: {path} is not a folder; expected a run or a folder of results")
    page = path / PAGE if out is None else out
    check_out(page, ".html", ".htm")
    from l2ae_core.report.page import write_page
    from l2ae_core.report.results_page import results_page
    from l2ae_core.seeds.runs import holds_seeds

    arguments["progress"] = progress
    if holds_seeds(path):
        html = _seeds_page(path, page, out, source, arguments)
    elif (path / CONFIG).exists():
        html = _run_page(path, source, arguments)
    elif source is not None:
        raise ValueError(f"report: data is {source} but {path} is no run")
    else:
        html = results_page(path)
    write_page(page, html)
    return page


def _run_page(run: Path, source: str | None, arguments: dict[str, Any]) -> str:
    from l2ae_core import commands
    from l2ae_core.report.run_page import run_page

    gallery = None if source is None else commands.galleries([run], source, **arguments)[0][0]
    return run_page(run, gallery, progress=arguments["progress"])


def _seeds_page(
    path: Path, page: Path, out: Path | None, source: str | None, arguments: dict[str, Any]
) -> str:
    """Write the pages of the runs and return that of all."""
    import numpy as np

    from l2ae_core import commands
    from l2ae_core.gallery.seeds import SeedsGallery
    from l2ae_core.report.page import write_page
    from l2ae_core.report.run_page import run_page
    from l2ae_core.report.seeds_page import seeds_page
    from l2ae_core.seeds.runs import SeedRuns, chosen_run, seed_dir

    chosen, _ = chosen_run(path)  # CheckpointError while trainings have not come to their end
    runs = {seed: seed_dir(path, seed) for seed in SeedRuns.read(path).seeds}
    found, galleries = None, None
    if source is not None:
        made, dataset = commands.galleries([*runs.values()], source, **arguments)
        galleries = dict(zip(runs, made, strict=True))
        labels = np.stack([gallery.labels for gallery in made])
        found = SeedsGallery.of(labels, [*runs.values()].index(chosen), dataset)
    pages = {
        seed: run / PAGE if out is None else out.with_name(f"{out.stem}-seed-{seed}.html")
        for seed, run in runs.items()
    }
    links = {s: Path(os.path.relpath(file, page.parent)).as_posix() for s, file in pages.items()}
    html = seeds_page(path, links, found, galleries)
    for seed, run in runs.items():
        gallery = None if galleries is None else galleries[seed]
        write_page(pages[seed], run_page(run, gallery, progress=arguments["progress"]))
    return html


def main(path: Path, out: Path | None, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    if arguments["source"] is None:
        for name, default in OF_DATA.items():
            if (given := arguments.pop(name)) != default:
                raise ValueError(f"{name}: {given} was given without data, which it is about")
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
    add_reading(parser)
    add_common(parser)
    parser.add_argument("--device", choices=get_args(DeviceName),
                        help="of the network, with --data (default: a GPU, if there is "
                        "one)")  # fmt: skip
    add_data_dir(parser)
