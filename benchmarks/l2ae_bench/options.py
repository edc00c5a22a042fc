"""The options of `run.py`, each checked by itself."""

import argparse
import importlib.util
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import get_args

from l2ae_bench.choice import CLUSTERS, Choice, sizes_of
from l2ae_bench.cuda import run as gpu
from l2ae_bench.profile import PART as PROFILE
from l2ae_bench.results import PARTS
from l2ae_bench.scale import PART as SCALE
from l2ae_bench.shapes import Rule
from l2ae_core.devices import DeviceName
from l2ae_core.files import check_out
from l2ae_kernels.cpu.codegen.vectors import AMX, SETS
from l2ae_kernels.cpu.threads import MOST
from l2ae_kernels.geometry import Pair

EXAMPLES = """examples:
  python benchmarks/run.py
  python benchmarks/run.py step kmeans --threads 1 --json rows.json
  python benchmarks/run.py step kmeans --compare rows.json --fail-above 1.2
  python benchmarks/run.py operations --quick --vectors avx2
  python benchmarks/run.py operations -k 'correlate-' --rung tiled,register --shape conv2
  python benchmarks/run.py operations -k correlate --shape 64x32x32x3 --weights 3x3x3x16
  python benchmarks/run.py operations -k assign --shape 100000x32 --clusters 100 --dtype float64
  python benchmarks/run.py operations -k leaky_relu --load my_rungs.py
  python benchmarks/run.py profile -k cae-28 --figure profile.png
  python benchmarks/run.py scale --quick
  python benchmarks/run.py scale --json scale.jsonl
  python benchmarks/run.py step --device cuda --json gpu.json
  python benchmarks/run.py rungs --device cuda -k 'dense-|correlate' --shape conv2
  python benchmarks/run.py --tables

A --shape is a name (conv2, 500x2000, 14x14x32, 70000x10-k10, cae) or the sizes of the operation's
x: N H W C of correlate, its adjoints, warp and training_step; N and inputs of dense and its
adjoints; n and d of assign, update and restarts; any axes of the others. Operations without such a
shape are left out. Weights are kh kw C K (5 5 C 32), or inputs and outputs (500)."""


def make_parser() -> ArgumentParser:
    """Return the parser of `run.py`."""
    parser = ArgumentParser(
        prog="run.py",
        description="This machine beside the peers that are installed.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART",
                        help=f"{', '.join(PARTS)} (all), {PROFILE} or {SCALE}")  # fmt: skip
    parser.add_argument("--device", choices=get_args(DeviceName), default="cpu",
                        help=f"cuda: {', '.join(gpu.PARTS)} (default: cpu)")  # fmt: skip
    parser.add_argument("--threads", type=_threads, metavar="T",
                        help=f"of every contender (default: 1, then all {MOST} cores)")  # fmt: skip
    parser.add_argument(
        "--json", type=_writable, metavar="FILE", help="write machine and rows here"
    )
    parser.add_argument("--figure", type=_writable, metavar="FILE", help="draw a profile here")
    parser.add_argument("--compare", type=Path, metavar="FILE",
                        help="show ratios to the rows of an earlier --json")  # fmt: skip
    parser.add_argument("--fail-above", type=ratio, metavar="RATIO", help="exit with 1 if a row is "
                        "slower than before beyond the noise, by more than this")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="few repeats, one shape an operation: an impression")  # fmt: skip
    parser.add_argument("--vectors", choices=[*SETS, *AMX, "none"],
                        help="of the emitted kernels (default: the widest here)")  # fmt: skip
    parser.add_argument("--tables", action="store_true", help="write benchmarks/results, "
                        "RESULTS.md and the READMEs; not with --quick")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    _add_choice(parser.add_argument_group("what to time"))
    return parser


def _add_choice(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-k", dest="pattern", type=_pattern, default="", metavar="REGEX",
                       help="workloads whose name contains this regular expression")  # fmt: skip
    group.add_argument("--rung", type=_names, default=(), metavar="NAME[,NAME]",
                       help="these rungs alone; reference is one (default: all)")  # fmt: skip
    group.add_argument("--shape", default="", metavar="SHAPE", help="a name, or sizes of x: "
                       "256x28x28x1 (default: those of the paper's networks)")  # fmt: skip
    group.add_argument("--weights", type=_sizes, default=(), metavar="SIZES", help="of W: 5x5x1x32")
    group.add_argument("--clusters", type=_count, default=CLUSTERS, metavar="K")
    group.add_argument("--stride", type=_stride, default=(2, 2), metavar="S", help="2 or 2x1")
    group.add_argument("--padding", type=_padding, default="same",
                       help="same, valid, or before and after: 1x2")  # fmt: skip
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    group.add_argument("--load", type=_load, metavar="FILE", help="run this Python file first: it "
                       "registers rungs of its own, l2ae_kernels.operations.register")  # fmt: skip


def choice_of(arguments: Namespace) -> Choice:
    """Return what the options choose."""
    a = arguments
    return Choice(a.pattern, a.rung, a.shape, a.weights, a.clusters, a.stride, a.padding, a.dtype)


def ratio(text: str) -> float:
    """A ratio of times from 1 on."""
    try:
        value = float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text} is not a number") from error
    if not 1 <= value < float("inf"):
        raise ArgumentTypeError(f"{text} is not a ratio ≥ 1")
    return value


def _part(name: str) -> str:
    known = dict.fromkeys((*PARTS, PROFILE, SCALE, *gpu.PARTS))
    if name not in known:
        raise ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return name


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ArgumentTypeError(f"{text} is not between 1 and {MOST}, the cores of this process")
    return int(text)


def _writable(text: str) -> Path:
    try:
        check_out(Path(text))
    except (ValueError, OSError) as error:
        raise ArgumentTypeError(str(error)) from error
    return Path(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _sizes(text: str) -> tuple[int, ...]:
    if not (found := sizes_of(text)):
        raise ArgumentTypeError(f"{text!r} is not like 5x5x1x32")
    return found


def _count(text: str) -> int:
    if len(found := _sizes(text)) != 1:
        raise ArgumentTypeError(f"{text!r} is not one integer ≥ 1")
    return found[0]


def _stride(text: str) -> Pair:
    found = _sizes(text)
    if len(found) > 2:
        raise ArgumentTypeError(f"{text!r} is not like 2 or 2x1")
    return found[0], found[-1]


def _padding(text: str) -> Rule:
    if text in ("same", "valid"):
        return "same" if text == "same" else "valid"
    if not re.fullmatch(r"\d+x\d+", text):
        raise ArgumentTypeError(f"{text!r} is not same, valid, or like 1x2")
    before, after = map(int, text.split("x"))
    return before, after


def _load(text: str) -> Path:
    """Run a Python file; what it raises is its author's to read, with the lines of the file."""
    path = Path(text)
    if not path.is_file() or path.suffix != ".py":
        raise ArgumentTypeError(f"{text} is not a Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except ValueError as error:  # argparse would not say which
        raise ArgumentTypeError(f"{text}: {error}") from error
    return path
