"""`l2ae pack`: images as one file that every command reads a batch at a time."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from l2ae_core.cli.fit import setting_argument
from l2ae_core.cli.options import DATA_HELP, add_quiet, add_reading
from l2ae_core.files import given_path
from l2ae_core.settings import DEFAULTS, PREPARATION, make_preparation
from l2ae_core.tables import counted

FORM = """
FILE.npy is an array (N, H, W, C): uint8 where every image has 8 bits a channel and stays as it is,
else float32 in [0, 1]. FILE.npy.csv has the name and the class of each image. The other commands
take FILE.npy as --data: they read it from the disk a batch at a time, and their results are those
of the images themselves. With `l2ae fit --size …` of the same size nothing is changed again, and
the run applies it to new images, too.

After Ctrl-C or a kill the same command goes on where it stopped."""


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae pack` its options."""
    parser.description = f"{parser.description}\n{FORM}"
    parser.add_argument("source", metavar="DATA", help=DATA_HELP)
    parser.add_argument("out", type=given_path, metavar="FILE.npy", help="the file to write")
    add_reading(parser)
    for name in PREPARATION:
        option, how = setting_argument(name.replace("_", "-"))
        how["help"] = how["help"].replace(", here and in every later use of the run", "")
        parser.add_argument(option, **how)
    add_quiet(parser)


def main(
    source: str, out: Path, labels: bool, skip_unreadable: bool, quiet: bool, **given: Any
) -> int:
    """Do what the command line says."""
    from l2ae_core import data

    if "fit" in given and "size" not in given:
        raise ValueError(f"pack: fit is {given['fit']} but has no effect, since no size is given")
    done = data.pack(
        source, out, preparation=make_preparation(DEFAULTS | given), labels=labels,
        skip_unreadable=skip_unreadable, progress=not quiet,
    )  # fmt: skip
    for note in done.notes:
        print(f"l2ae: {note}", file=sys.stderr)
    N, H, W, C = done.shape
    went_on = f", went on after {counted(done.before, 'file')}" if done.before else ""
    size = f"{done.nbytes / 1e6:.2f} MB"
    print(f"{out}: {counted(N, 'image')} {W}×{H}×{C} {done.dtype}, {size}{went_on}")
    return 0
