"""`l2ae cluster`: the cluster of every image, or criteria for the number of clusters."""

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2ae_core.cli.options import (
    add_run_and_images,
    check_rows,
    describe_scores,
    print_note,
    write,
    write_columns,
)
from l2ae_core.files import check_out, given_folder, given_path
from l2ae_core.tables import aligned, counted

if TYPE_CHECKING:  # importing it takes the kernels, which a help needs not
    from l2ae_core.clustering.sweep import Preferred, SweepRow

CRITERIA = {"inertia": "elbow of the inertia", "silhouette": "highest silhouette",
            "agreement": "largest K of high agreement"}  # fmt: skip


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae cluster` its options."""
    add_run_and_images(parser)
    parser.add_argument("--clusters", type=cluster_counts, metavar="K-K",
                        help="not labels, but a row for each of these numbers of clusters (or one "
                        "K): k-means anew on the codes, its inertia, silhouette, agreement of ten "
                        "k-means with other first centers, and smallest cluster")  # fmt: skip
    parser.add_argument("--sample-size", type=int, metavar="N", help="images for silhouette and "
                        "agreement, with --clusters (default 5000)")  # fmt: skip
    parser.add_argument("--save", type=int, metavar="K",
                        help="first give the run K clusters: k-means anew on the codes of the "
                        "training images, nothing is trained")  # fmt: skip
    parser.add_argument("--figure", type=given_path, metavar="FILE",
                        help=".png, .svg or .pdf of these criteria, with --clusters")  # fmt: skip

    for option, dest, what in (
        ("--copy-to", "copy_to", "copies of its images"),
        ("--link", "link_to", "symbolic links to its images"),
    ):
        parser.add_argument(option, dest=dest, type=given_folder, metavar="FOLDER",
                            help=f"make a folder for each cluster in FOLDER, with {what}; the "
                            "table is not printed then, but for --out")  # fmt: skip


def cluster_counts(text: str) -> range:
    """Return the numbers of clusters from the command line: 7, or 2-20 with both ends."""
    found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 2 <= first <= last:
        raise ArgumentTypeError(
            f"{text!r} but expected a number of clusters such as 7, or two such as 2-20: integers "
            "≥ 2, the smaller first"
        )
    return range(first, last + 1)


def main(
    run: Path,
    out: Path | None,
    quiet: bool,
    clusters: range | None,
    sample_size: int | None,
    save: int | None,
    figure: Path | None,
    copy_to: Path | None,
    link_to: Path | None,
    **arguments: Any,
) -> int:
    """Do what the command line says."""
    from l2ae_core import commands

    check_rows(out, run, arguments["source"])
    folders: dict[str, Any] = {"copy_to": copy_to, "link_to": link_to}
    if clusters is not None:
        for name, given in folders.items():
            if given is not None:
                raise ValueError(f"{name}: {given} was given with clusters, which gives no labels")
        if (address := arguments.pop("cluster")) is not None:
            raise ValueError(f"cluster: {address} was given with clusters, which needs all codes")
        if sample_size is not None:
            arguments["sample_size"] = sample_size
        return _sweep(run, clusters, out, figure, arguments | {"progress": not quiet}, save)
    for name, given in {"sample_size": sample_size, "figure": figure}.items():
        if given is not None:
            raise ValueError(f"{name}: {given} was given without clusters, such as --clusters 2-20")
    arguments["progress"] = not quiet
    if save is not None:
        _check_folders(run, folders, arguments["source"])
        _save(run, save, arguments)
    table = commands.cluster_table(run, **arguments, **folders)
    made = [folder for folder in folders.values() if folder is not None]
    if out is not None or not made:
        write(table, out)
    else:
        table.compute()
    scores = table.result
    for folder in made:
        print(f"{folder}: {counted(table.count, 'image')}")
    if "acc" in scores:
        print(f"{counted(table.count, 'image')}{describe_scores(scores)}", file=sys.stderr)
    print_note(scores)
    return 0


def _check_folders(run: Path, folders: dict[str, Path | None], source: str | None) -> None:
    """Raise what `commands.cluster` raises for `folders`, before anything is saved."""
    from l2ae_core.cluster_folders import Way, check_folders
    from l2ae_core.settings import run_settings

    ways: dict[str, Way] = {"copy_to": "copy", "link_to": "link"}
    for name, way in ways.items():
        if (out := folders[name]) is not None:
            check_folders(out, source or run_settings(run)["data"], way)


def _save(run: Path, n_clusters: int, arguments: dict[str, Any]) -> None:
    """Give the run other clusters; the images in `arguments` become those of the training."""
    from l2ae_core import commands

    if arguments["split"] != "all":
        raise ValueError(f"split: {arguments['split']} was given with save: the training images")
    names = ("source", "data_dir", "progress")
    found = commands.recluster(run, n_clusters, **{name: arguments[name] for name in names})
    arguments["source"] = found.dataset
    inertia = found.clusters.inertia
    saved = counted(n_clusters, "cluster")
    print(f"{run}: {saved} saved, inertia {inertia:.6g}", file=sys.stderr)


def _sweep(
    run: Path, clusters: range, out: Path | None, figure: Path | None, arguments: dict[str, Any],
    save: int | None,
) -> int:  # fmt: skip
    """Print or write the table of the criteria, draw them, and say what each prefers."""
    import numpy as np

    from l2ae_core import commands
    from l2ae_core.clustering.sweep import SAMPLE_SIZE, check_sweep, preferred
    from l2ae_core.seeds.runs import holds_seeds

    if figure is not None:
        from l2ae_core import figures
        from l2ae_core.figures.style import FORMATS

        check_out(figure, *FORMATS, argument="figure")
    if save is not None:
        check_sweep(clusters, arguments.get("sample_size", SAMPLE_SIZE))
        _save(run, save, arguments)
    rows, result = commands.sweep(run, clusters=clusters, **arguments)
    columns = {name: np.array([asdict(row)[name] for row in rows]) for name in asdict(rows[0])}
    best = preferred(rows)
    marks = {name: k for name, k in asdict(best).items() if k is not None}
    if out is None:
        print(_table(rows, best))
    else:
        write_columns(columns, out)
    if figure is not None:
        drawn = figures.cluster_counts(
            columns["k"].tolist(),
            {name: columns[name].tolist() for name in CRITERIA},
            preferred=marks,
            title=result["images"],
        )
        figures.save(drawn, figure)
    if marks:
        said = ", ".join(f"{words} {marks.get(name, '-')}" for name, words in CRITERIA.items())
        print(f"{said}: hints, the choice is yours", file=sys.stderr)
        if result["reclusterable"] and save is None:
            several = holds_seeds(run)
            how = f"fit --resume --clusters K --out {run}" if several else f"cluster {run} --save K"
            print(f"l2ae {how}", file=sys.stderr)
    print_note(result)
    return 0


def _table(rows: "Sequence[SweepRow]", best: "Preferred") -> str:
    """Return the criteria for a screen; a star marks what each prefers."""
    whole = len(str(int(max(row.inertia for row in rows))))
    digits = {"inertia": max(0, 6 - whole), "silhouette": 3, "agreement": 3}

    def cell(row: "SweepRow", name: str) -> str:
        mark = "*" if getattr(best, name) == row.k else " "
        return f"{getattr(row, name):.{digits[name]}f} {mark}"

    cells = [[str(row.k), *(cell(row, n) for n in CRITERIA), str(row.smallest)] for row in rows]
    header = ["K", *(f"{name}  " for name in CRITERIA), "smallest cluster"]
    return aligned(header, cells, right=range(len(header)))
