"""The command line: `python benchmarks/run.py [PART ...]`."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from l2ae_bench import cpu, peers, results
from l2ae_bench.comparison import Measurement
from l2ae_bench.cuda import run as gpu
from l2ae_bench.machine import ROOT, Measurements, describe, other_kernels
from l2ae_bench.results import PARTS
from l2ae_bench.text import screen
from l2ae_core.devices import DeviceName, choose_device
from l2ae_core.files import check_out, write_json
from l2ae_kernels.cpu.codegen.vectors import SETS, use_vectors
from l2ae_kernels.cpu.threads import MOST

EXAMPLES = """examples:
  python benchmarks/run.py
  python benchmarks/run.py step kmeans --threads 1 --json rows.json
  python benchmarks/run.py operations --quick --vectors avx2
  python benchmarks/run.py --tables"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status.

    0 done, 1 an error, 130 after Ctrl-C; a wrong command line exits with 2.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (reason := _refused(arguments)) is not None:
        parser.error(f"argument {reason}")
    try:
        _run(arguments)
    except (ValueError, OSError) as error:  # a Disagreement is a ValueError
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun.py: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="run.py",
        description="This machine beside the peers that are installed.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART",
                        help=f"{', '.join(PARTS)} (default: all)")  # fmt: skip
    parser.add_argument("--device", choices=get_args(DeviceName), default="cpu",
                        help=f"cuda: {', '.join(gpu.PARTS)} (default: cpu)")  # fmt: skip
    parser.add_argument("--threads", type=_threads, metavar="T",
                        help=f"of every contender (default: 1, then all {MOST} cores)")  # fmt: skip
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the rows here")
    parser.add_argument("--quick", action="store_true",
                        help="few repeats, one shape an operation: an impression")  # fmt: skip
    parser.add_argument("--vectors", choices=[*SETS, "none"],
                        help="of the emitted kernels (default: the widest here)")  # fmt: skip
    parser.add_argument("--tables", action="store_true", help="write benchmarks/results, "
                        "RESULTS.md and the READMEs; not with --quick")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _refused(arguments: Namespace) -> str | None:
    """The argument that the others exclude, and why; None: there is none."""
    if arguments.device == "cuda":
        wrong = [part for part in arguments.parts if part not in gpu.PARTS]
        if wrong:
            return f"PART: {wrong[0]} is not for a GPU"
        return "--tables: is for the CPU" if arguments.tables else None
    if not arguments.tables:
        return None
    if arguments.quick:
        return "--tables: is not for --quick"
    others = other_kernels()
    return (
        f"--tables: unset {others[0]}: a peer would take kernels of another processor"
        if others
        else None
    )


def _run(arguments: Namespace) -> None:
    """Time the parts, print the table, and write what is asked for.

    Raises Disagreement, a ValueError, when contenders that should compute the same do not.
    """
    done: list[Measurement] = []
    try:
        for row in _on_gpu(arguments) if arguments.device == "cuda" else _on_cpu(arguments):
            done.append(row)
    finally:  # after Ctrl-C, what there is; files hold a whole result or are not written
        if done:
            print(screen(done))
    if arguments.json is not None:
        write_json(arguments.json, [row.to_dict() for row in done])
    if arguments.tables:
        from results_page import write  # beside run.py; it draws, too

        write(ROOT)


def _on_cpu(arguments: Namespace) -> Iterator[Measurement]:
    if arguments.vectors is not None:
        use_vectors(arguments.vectors)
    counts = sorted({1, MOST}) if arguments.threads is None else [arguments.threads]
    machine = describe()
    print(f"{machine['processor']}, {MOST} cores, vectors {machine['vectors']}", file=sys.stderr)
    for setting in other_kernels():
        print(f"{setting} is set: a peer may take kernels of another processor", file=sys.stderr)
    for part in dict.fromkeys(arguments.parts or PARTS):
        if (line := peers.missing_peer(part)) is not None:
            print(line, file=sys.stderr)
        rows = []
        for row in cpu.rows(part, counts, quick=arguments.quick, progress=not arguments.quiet):
            rows.append(row)
            yield row
        if arguments.tables:  # a part that is whole is kept when the next one is stopped
            results.save(ROOT, part, Measurements(machine, rows))


def _on_gpu(arguments: Namespace) -> Iterator[Measurement]:
    device, _ = choose_device("cuda")
    assert device is not None  # choose_device raises where there is none
    print(device.properties.name, file=sys.stderr)
    if line := gpu.missing():
        print(line, file=sys.stderr)
    for part in dict.fromkeys(arguments.parts or gpu.PARTS):
        yield from gpu.rows(part, device, quick=arguments.quick, progress=not arguments.quiet)


def _part(name: str) -> str:
    if name not in PARTS:
        raise ArgumentTypeError(f"{name!r} is not one of {', '.join(PARTS)}")
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
