"""Options that several commands share, and what `cluster` and `score` print alike."""

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, get_args

from l2ae_core.devices import DeviceName
from l2ae_core.files import given_path
from l2ae_core.tables import Columns, Table, check_table, csv_lines, write_rows

DATA_HELP = (
    "digits (embedded), mnist, usps, or a path: .npy, .npz, an image, a folder of images, whose "
    "sub-folders, if all images are in one, are classes"
)

STDOUT = (Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"))  # as no --out


def widths(text: str) -> tuple[int, ...]:
    """Return the numbers of "32,64,128"; of "" there are none."""
    if not re.fullmatch(r"([0-9]{1,9}(,[0-9]{1,9})*)?", text):
        raise ArgumentTypeError(f"{text!r} but expected integers such as 32,64,128")
    return tuple(map(int, filter(None, text.split(","))))


def image_size(text: str) -> tuple[int, int]:
    """Return (H, W) of "32", or of "48x32", which is 48 pixels wide and 32 high."""
    found = re.fullmatch(r"([0-9]{1,9})(?:[x×]([0-9]{1,9}))?", text)
    if found is None:
        raise ArgumentTypeError(
            f"{text!r} but expected pixels, such as 32, or 48x32 for a width of 48"
        )
    return int(found[2] or found[1]), int(found[1])


def check_rows(out: Path | None, run: Path, source: str | None) -> None:
    """Raise ValueError or OSError unless the rows of the images of `source` can be written to out.

    `source` None: the images of the run. The files of the images and of their names are refused.
    """
    from l2ae_core.data.fetch import expand_user
    from l2ae_core.data.packed_names import names_file
    from l2ae_core.seeds.runs import chosen_run
    from l2ae_core.settings import run_settings

    if out is None or out in STDOUT:
        return
    check_table(out)
    images = expand_user(source or run_settings(chosen_run(run)[0])["data"])
    if out.exists() and images.exists() and images.samefile(out):
        raise ValueError(f"out: {out} is the file of the images: choose another name")
    if images.suffix.lower() != ".npy":
        return
    if os.path.realpath(out) == os.path.realpath(names_file(images)):
        raise ValueError(f"out: {out} is where the names of the images go: choose another name")


def add_common(parser: ArgumentParser) -> None:
    """Add --threads and --quiet."""
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all cores)")
    add_quiet(parser)


def add_quiet(parser: ArgumentParser) -> None:
    """Add --quiet."""
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def add_data_dir(parser: ArgumentParser) -> None:
    """Add --data-dir."""
    parser.add_argument("--data-dir", help="folder with the MNIST or USPS files (default: "
                        "L2AE_DATA, else the cache, else a download)")  # fmt: skip


def add_reading(parser: ArgumentParser, **labels: Any) -> None:
    """Add --no-labels and --skip-unreadable; `labels` are further arguments of the first."""
    parser.add_argument("--no-labels", dest="labels", action="store_false", **labels,
                        help="sub-folders are no classes, labels in a file no labels")  # fmt: skip
    parser.add_argument("--skip-unreadable", action="store_true",
                        help="leave out image files that cannot be read; a run goes on, and is "
                        "used, without those that its training left out")  # fmt: skip


def add_thresholds(parser: ArgumentParser) -> None:
    """Add --fpr and --criterion."""
    parser.add_argument("--fpr", type=float, default=0.05, metavar="SHARE",
                        help="of the training images that may be anomalous, for whatever reason "
                        "(default 0.05)")  # fmt: skip
    parser.add_argument("--criterion", choices=("both", "cosine", "error"),
                        help="cosine: anomalous is what is far from every cluster (Eq. 5 of the "
                        "paper); error: what the network does not reconstruct; both: either, the "
                        "share shared between them (default both)")  # fmt: skip


def add_run_and_images(parser: ArgumentParser) -> None:
    """Add the run, the images, where the network runs, and where the table goes."""
    parser.add_argument(
        "run", type=given_path, metavar="RUN", help="a run directory that `l2ae fit` made"
    )
    parser.add_argument("--data", dest="source", help=f"{DATA_HELP} (default: the images of the "
                        "training)")  # fmt: skip
    parser.add_argument("--split", choices=("all", "train", "test"), default="all",
                        help="part of a named data set (default all)")  # fmt: skip
    add_reading(parser)
    parser.add_argument(
        "--out",
        type=given_path,
        metavar="FILE",
        help=".csv or .npy, or a pipe, which gets the "
        "rows while they are computed (default: CSV to the screen)",
    )
    add_common(parser)
    parser.add_argument("--device", choices=get_args(DeviceName),
                        help="of the network (default: a GPU, if there is one)")  # fmt: skip
    parser.add_argument("--cluster", metavar="ADDRESS",
                        help="of a Dask scheduler, such as tcp://10.0.0.1:8786: its workers take "
                        "the images through the network, of a .npy file that they see at the same "
                        "path (pip install 'l2ae[dist]')")  # fmt: skip
    add_data_dir(parser)


def describe_thresholds(normality: float | None, error: float | None) -> str:
    """Return what is anomalous: "v < 0.9 or error > 12"."""
    limits = {"v < {:.6g}": normality, "error > {:.6g}": error}
    return " or ".join(words.format(at) for words, at in limits.items() if at is not None)


def write_columns(columns: Columns, out: Path | None) -> None:
    """Write columns to a file, or to the screen."""
    write(Table(len(next(iter(columns.values()))), iter([columns]), {}), out)


def write(table: Table, out: Path | None) -> None:
    """Write a table to a file, a pipe or the screen, while it is computed."""
    if out is not None and out not in STDOUT:
        write_rows(table.chunks, table.count, out)
        return
    for lines in csv_lines(table.chunks):
        print(lines, end="", flush=True)


def print_note(result: dict[str, Any]) -> None:
    """Say in one line where the network ran, if that was left open."""
    if result["note"]:
        print(f"l2ae: {result['note']}", file=sys.stderr)


def describe_scores(scores: dict[str, Any]) -> str:
    """Return ACC, NMI and ARI, each beside its chance level; "" where there are no labels."""
    if "acc" not in scores:
        return ""
    parts = [
        f"{k.upper()} {scores[k]:.4f} (chance {scores['chance'][k]:.3f})"
        for k in ("acc", "nmi", "ari")
    ]
    return ", " + ", ".join(parts)
