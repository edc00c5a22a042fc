"""The command line: `python benchmarks/run.py [PART ...]`."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from l2ae_bench import kmeans, operations, peak, peers, results, start, steps
from l2ae_bench.comparison import SECONDS, Measurement, compare
from l2ae_bench.cuda import run as on_gpu
from l2ae_bench.machine import ROOT, Measurements, describe, other_kernels
from l2ae_bench.text import screen
from l2ae_core.devices import DeviceName, choose_device
from l2ae_core.files import check_out, write_json
from l2ae_kernels.cpu.codegen.vectors import SETS, use_vectors
from l2ae_kernels.cpu.threads import MOST

REPEATS = {"step": 15, "norms": 15, "kmeans": 7, "operations": 7}
QUICK = 3  # repeats
EXAMPLES = """examples:
  python benchmarks/run.py
  python benchmarks/run.py step kmeans --threads 1 --json rows.json
  python benchmarks/run.py operations --quick --vectors avx2
  python benchmarks/run.py --tables"""
OPERATION_SECONDS = 0.05  # in a repeat: there are a hundred operations


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit status.

    0 done, 1 an error, 2 a wrong command line, 130 after Ctrl-C.
    """
    arguments = vars(_parser().parse_args(argv))
    on_cuda = arguments.pop("device") == "cuda"
    try:
        return _time_on_gpu(**arguments) if on_cuda else _time_on_cpu(**arguments)
    except (ValueError, OSError) as error:  # a Disagreement is a ValueError
        print(f"run.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nrun.py: interrupted", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="run.py",
        description="This machine beside the peers that are installed.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART",
                        help=f"{', '.join(results.PARTS)} (default: all)")  # fmt: skip
    parser.add_argument("--device", choices=get_args(DeviceName), default="cpu",
                        help=f"cuda: {', '.join(on_gpu.PARTS)} (default: cpu)")  # fmt: skip
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


def _time_on_cpu(
    parts: Sequence[str],
    threads: int | None,
    json: Path | None,
    quick: bool,
    vectors: str | None,
    tables: bool,
    quiet: bool,
) -> int:
    """Time the parts, print the table, and write what is asked for; return the exit status.

    Raises Disagreement, a ValueError, when contenders that should compute the same do not.
    """
    if tables and (reason := _no_tables(quick)):
        print(f"run.py: error: argument --tables: {reason}", file=sys.stderr)
        return 2
    if vectors is not None:
        use_vectors(vectors)
    counts = sorted({1, MOST}) if threads is None else [threads]
    machine = describe()
    print(f"{machine['processor']}, {MOST} cores, vectors {machine['vectors']}", file=sys.stderr)
    for setting in other_kernels():
        print(f"{setting} is set: a peer may take kernels of another processor", file=sys.stderr)
    found: dict[str, list[Measurement]] = {part: [] for part in parts or results.PARTS}
    try:
        for part, rows in found.items():
            if (line := peers.missing_peer(part)) is not None:
                print(line, file=sys.stderr)
            for row in run(part, counts, quick=quick, progress=not quiet):
                rows.append(row)
            if tables:  # what is whole is not lost when the next part is stopped
                results.save(ROOT, part, Measurements(machine, rows))
    finally:  # after Ctrl-C, what there is; files hold a whole result or are not written
        done = [row for rows in found.values() for row in rows]
        print(screen(done))
    if json is not None:
        write_json(json, [row.to_dict() for row in done])
    if tables:
        from results_page import write

        write(ROOT)
    return 0


def _no_tables(quick: bool) -> str | None:
    """Why the tables shall not come from this call; None: they may."""
    if quick:
        return "is not for --quick"
    others = other_kernels()
    return f"unset {others[0]}: a peer would take kernels of another processor" if others else None


def _time_on_gpu(
    parts: Sequence[str], json: Path | None, quick: bool, tables: bool, quiet: bool, **of_cpu: Any
) -> int:
    """Time the parts that there are on a GPU; 1, with one line, where there is no GPU."""
    wrong = [part for part in parts if part not in on_gpu.PARTS]
    if tables or wrong:
        reason = "--tables: is for the CPU" if tables else f"PART: {wrong[0]} is not for a GPU"
        print(f"run.py: error: argument {reason}", file=sys.stderr)
        return 2
    gpu, _ = choose_device("cuda")
    assert gpu is not None  # choose_device raises where there is none
    print(gpu.properties.name, file=sys.stderr)
    if line := on_gpu.missing():
        print(line, file=sys.stderr)
    done: list[Measurement] = []
    try:
        for part in parts or on_gpu.PARTS:
            for row in on_gpu.rows(part, gpu, quick=quick, progress=not quiet, seconds=SECONDS):
                done.append(row)
    finally:
        print(screen(done))
    if json is not None:
        write_json(json, [row.to_dict() for row in done])
    return 0


def run(
    part: str, counts: Sequence[int], *, quick: bool = False, progress: bool = True
) -> Iterator[Measurement]:
    """Yield the rows of one part for each number of threads."""
    repeats = QUICK if quick else REPEATS.get(part, 1)
    jobs = _jobs(part, repeats, quick)
    used = peers.OF_PART.get(part)
    ticks = len(counts) * sum(ticks for _, ticks, _ in jobs)
    with tqdm(total=ticks, desc=f"bench {part}", disable=not progress, leave=False) as bar:
        for workload, ticks, job in jobs:
            for threads in counts:
                bar.set_postfix_str(f"{workload}, {threads} thread{'s' * (threads > 1)}")
                before = bar.n
                with peers.all_use(threads, *([used] if used else [])):
                    yield from job(threads, bar.update)
                bar.update(before + ticks - bar.n)


Job = Callable[[int, Callable[[], object]], list[Measurement]]


def _jobs(part: str, repeats: int, quick: bool) -> list[tuple[str, int, Job]]:
    """Return name, ticks of the progress bar and function of each workload of a part."""
    if part in ("step", "norms"):
        workloads = steps.NETWORKS if part == "step" else steps.NORMALIZED
        return [(workload, repeats + 1, _step(workload, repeats)) for workload in workloads]
    if part == "kmeans":
        return [
            (workload, repeats + 1, _kmeans(workload, repeats)) for workload in kmeans.WORKLOADS
        ]
    if part == "start":
        return [("start", 1 + start.WARM_STARTS, lambda threads, tick: start.rows(threads, tick))]
    cases = operations.cases(quick)
    return [
        ("peak", 1, lambda threads, _: peak.rows(threads, repeats)),
        *((case.workload, repeats, _operation(case, repeats)) for case in cases),
    ]


def _step(workload: str, repeats: int) -> Job:
    def job(threads: int, tick: Callable[[], object]) -> list[Measurement]:
        comparison = steps.comparison(workload)
        tick()
        return [compare(workload, threads, comparison, repeats, seconds=SECONDS, done=tick)]

    return job


def _kmeans(workload: str, repeats: int) -> Job:
    def job(threads: int, tick: Callable[[], object]) -> list[Measurement]:
        comparison = kmeans.comparison(workload, threads)
        tick()
        return [compare(workload, threads, comparison, repeats, seconds=SECONDS, done=tick)]

    return job


def _operation(case: operations.Case, repeats: int) -> Job:
    def job(threads: int, tick: Callable[[], object]) -> list[Measurement]:
        return operations.rows(case, threads, repeats, OPERATION_SECONDS, tick)

    return job


def _part(name: str) -> str:
    if name not in results.PARTS:
        raise ArgumentTypeError(f"{name!r} is not one of {', '.join(results.PARTS)}")
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
