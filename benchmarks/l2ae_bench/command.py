"""The command line: `python benchmarks/run.py [PART ...]`; its options stand in `options.py`."""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from l2ae_bench import cpu, peers, results
from l2ae_bench.changes import above, changes, read_rows, report
from l2ae_bench.choice import Choice
from l2ae_bench.comparison import Measurement
from l2ae_bench.cuda import precision
from l2ae_bench.cuda import run as gpu
from l2ae_bench.machine import ROOT, Measurements, describe, in_words, other_kernels
from l2ae_bench.options import choice_of, make_parser
from l2ae_bench.profile import PART as PROFILE
from l2ae_bench.profile import command as profile
from l2ae_bench.results import PARTS
from l2ae_bench.scale import PART as SCALE
from l2ae_bench.scale import command as scale
from l2ae_bench.text import line, screen
from l2ae_core.devices import choose_device
from l2ae_kernels.cpu.codegen.vectors import use_vectors
from l2ae_kernels.cpu.threads import MOST


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status.

    0 done, 1 an error, 130 after Ctrl-C; a wrong command line exits with 2.
    """
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        if (reason := _refused(arguments)) is not None:
            parser.error(f"argument {reason}")
        return _run(arguments)
    except (ValueError, OSError) as error:  # a Disagreement is a ValueError
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun.py: interrupted", file=sys.stderr)
        return 130


def _refused(arguments: Namespace) -> str | None:
    """The argument that the others exclude, and why; None: there is none."""
    if SCALE in arguments.parts:
        return scale.refused(arguments)
    if PROFILE in arguments.parts:
        return profile.refused(arguments)
    if arguments.figure is not None:
        return f"--figure: is for {PROFILE}"
    if arguments.fail_above is not None and arguments.compare is None:
        return "--fail-above: is for --compare"
    if arguments.tables and choice_of(arguments) != Choice():
        return "--tables: are of everything, not of what -k, --rung, --shape or --dtype choose"
    cuda, of = arguments.device == "cuda", "rungs" if arguments.device == "cuda" else "operations"
    if choice_of(arguments).of_operations and {*arguments.parts} - {of}:
        return f"PART: --rung, --shape, --dtype and what goes with them are for {of} alone"
    wrong = [part for part in arguments.parts if part not in (gpu.PARTS if cuda else PARTS)]
    if wrong:
        return f"PART: {wrong[0]} is not for a {'GPU' if cuda else 'CPU'}"
    if cuda:
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


def _run(arguments: Namespace) -> int:
    """Time the parts, print the table, write what is asked for; return the exit status.

    Raises Disagreement, a ValueError, when contenders that should compute the same do not.
    """
    if SCALE in arguments.parts:
        return scale.run(arguments)
    if PROFILE in arguments.parts:
        return profile.run(arguments)
    if arguments.vectors is not None and arguments.device == "cpu":
        use_vectors(arguments.vectors)
    before = None if arguments.compare is None else read_rows(arguments.compare)
    done: list[Measurement] = []
    machine, cuda = describe(), arguments.device == "cuda"
    try:
        for row in _on_gpu(arguments) if cuda else _on_cpu(arguments, machine):
            done.append(row)
            if arguments.json is not None:  # whatever ends the process, the rows up to here stay
                results.write(arguments.json, Measurements(machine, done))
            if cuda and not arguments.quiet:
                tqdm.write(line(row), file=sys.stderr)
    finally:  # after Ctrl-C, what there is
        if done:
            print(screen(done))
    if not done:
        raise ValueError(f"nothing is chosen by {choice_of(arguments)}")
    if arguments.tables:
        from results_page import write  # beside run.py; it draws, too

        write(ROOT)
    return 0 if before is None else _compare(arguments, before, done)


def _compare(arguments: Namespace, before: list[Measurement], done: list[Measurement]) -> int:
    """Print what changed since the rows of before; 1 where a row is slower than is allowed."""
    found = changes(before, done)
    print(f"\n{report(found, before, len(done))}")
    if arguments.fail_above is None or not (slow := above(found, arguments.fail_above)):
        return 0
    names = ", ".join(c.now.workload for c in slow)
    print(f"run.py: slower than {arguments.fail_above:g} times: {names}", file=sys.stderr)
    return 1


def _on_cpu(arguments: Namespace, machine: dict[str, Any]) -> Iterator[Measurement]:
    counts = sorted({1, MOST}) if arguments.threads is None else [arguments.threads]
    print("\n".join(in_words(machine)), file=sys.stderr)
    for setting in other_kernels():
        print(f"{setting} is set: a peer may take kernels of another processor", file=sys.stderr)
    choice, ceilings = choice_of(arguments), list[Measurement]()
    for part in _parts(arguments):
        if (line := peers.missing_peer(part)) is not None:
            print(line, file=sys.stderr)
        rows = list(ceilings) if part != "start" else []
        for row in cpu.rows(
            part, counts, choice, ceilings, quick=arguments.quick, progress=not arguments.quiet
        ):
            rows.append(row)
            yield row
        if arguments.tables:  # a part that is whole is kept when the next one is stopped
            results.save(ROOT, part, Measurements(machine, rows))


def _parts(arguments: Namespace) -> list[str]:
    """The parts to time: those named, or all that have what is chosen."""
    every = ("operations",) if choice_of(arguments).of_operations else PARTS
    return [*dict.fromkeys(arguments.parts or every)]


def _on_gpu(arguments: Namespace) -> Iterator[Measurement]:
    device, _ = choose_device("cuda")
    assert device is not None  # choose_device raises where there is none
    print("\n".join([device.properties.name, *precision.in_words()]), file=sys.stderr)
    if line := gpu.missing():
        print(line, file=sys.stderr)
    choice = choice_of(arguments)
    every = ("rungs",) if choice.of_operations else gpu.PARTS
    for part in dict.fromkeys(arguments.parts or every):
        yield from gpu.rows(
            part, device, choice, quick=arguments.quick, progress=not arguments.quiet
        )
