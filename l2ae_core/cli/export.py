"""`l2ae export`: a run as an ONNX file."""

import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from l2ae_core.cli.options import (
    DATA_HELP,
    add_data_dir,
    add_quiet,
    add_thresholds,
    describe_thresholds,
)
from l2ae_core.files import given_path

GRAPH = """
input of the graph, float32, N of any size:
  images                (N, H, W, C) in [0, 1], prepared as those of the training were
outputs:
  code                  (N, D) float32, u of Eq. 4
  cluster               (N,) int64, the nearest center, as `l2ae cluster`
  normality             (N,) float32, v of Eq. 5, in [-1, 1]: high is normal
  reconstruction        (N, H, W, C) float32
  reconstruction_error  (N,) float32, squared differences, summed
  anomalous             (N,) bool, outside of the thresholds
The file has the thresholds, the architecture and the preparation as metadata, in JSON."""
NEEDED = ("onnx", "onnxruntime")


def add_options(parser: ArgumentParser) -> None:
    """Give the parser of `l2ae export` its options."""
    parser.description = f"{parser.description}\n{GRAPH}"
    parser.add_argument(
        "run", type=given_path, metavar="RUN", help="a run directory that `l2ae fit` made"
    )
    parser.add_argument("out", type=given_path, metavar="FILE.onnx", help="the file to write")
    add_thresholds(parser)
    parser.add_argument("--data", dest="source",
                        help=f"images to compare with NumPy on: {DATA_HELP} (default: those of the "
                        "training that are at hand, else random ones)")  # fmt: skip
    parser.add_argument("--split", choices=("all", "train", "test"), default="all",
                        help="part of a named data set (default all)")  # fmt: skip
    add_quiet(parser)
    add_data_dir(parser)


def main(run: Path, out: Path, quiet: bool, **arguments: Any) -> int:
    """Do what the command line says."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(
            f"export: {' and '.join(missing)} cannot be imported; pip install 'l2ae[onnx]'"
        )
    from l2ae_core.export import export
    from l2ae_core.tables import aligned

    done = export(run, out, **arguments, progress=not quiet)
    rows = [[c.output, f"{c.difference:.2g}", f"{c.bound:.2g}"] for c in done.comparisons]
    print(aligned(["output", "largest difference", "bound"], rows, right=(1, 2)))
    limits = describe_thresholds(done.limits.normality, done.limits.error)
    print(f"compared with NumPy on {done.images}")
    if done.note:
        print(f"l2ae: {done.note}", file=sys.stderr)
    print(f"{out}: {done.bytes / 1e6:.2f} MB; anomalous is {limits}")
    return 0
