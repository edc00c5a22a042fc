"""The workloads of the CPU, and the measurements of a part."""

from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

from l2ae_bench import augmented, kmeans, operations, peak, peers, start, steps
from l2ae_bench.comparison import Comparison, Measurement, compare

REPEATS = {"step": 15, "norms": 15, "augmented": 15, "kmeans": 7, "operations": 7}
QUICK = 3  # repeats
OPERATION_SECONDS = 0.05  # in a repeat: there are a hundred operations
Tick = Callable[[], object]
Job = Callable[[int, Tick], list[Measurement]]  # of a number of threads


def rows(
    part: str, counts: Sequence[int], *, quick: bool = False, progress: bool = True
) -> Iterator[Measurement]:
    """Yield the measurements of one part for each number of threads."""
    jobs = _jobs(part, QUICK if quick else REPEATS.get(part, 1), quick)
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


def _jobs(part: str, repeats: int, quick: bool) -> list[tuple[str, int, Job]]:
    """Return name, ticks of the progress bar and function of each workload of a part."""
    if part in ("step", "norms"):
        networks = steps.NETWORKS if part == "step" else steps.NORMALIZED
        return [
            (name, repeats + 1, _compared(name, repeats, lambda name, _: steps.comparison(name)))
            for name in networks
        ]
    if part == "augmented":
        return [(name, repeats + 1, _augmented(name, repeats)) for name in augmented.NETWORKS]
    if part == "kmeans":
        return [
            (name, repeats + 1, _compared(name, repeats, kmeans.comparison))
            for name in kmeans.WORKLOADS
        ]
    if part == "start":
        return [("start", 1 + start.WARM_STARTS, start.rows)]
    return [
        ("peak", 1, lambda threads, _: peak.rows(threads, repeats)),
        *((case.workload, repeats, _operation(case, repeats)) for case in operations.cases(quick)),
    ]


def _compared(name: str, repeats: int, prepare: Callable[[str, int], Comparison]) -> Job:
    def job(threads: int, tick: Tick) -> list[Measurement]:
        prepared = prepare(name, threads)
        tick()
        return [compare(name, threads, prepared, repeats, done=tick)]

    return job


def _augmented(name: str, repeats: int) -> Job:
    def job(threads: int, tick: Tick) -> list[Measurement]:
        return augmented.rows(name, threads, repeats, tick)

    return job


def _operation(case: operations.Case, repeats: int) -> Job:
    def job(threads: int, tick: Tick) -> list[Measurement]:
        return operations.rows(case, threads, repeats, OPERATION_SECONDS, tick)

    return job
