"""The workloads of the CPU, and the measurements of a part."""

from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

from l2ae_bench import augmented, kmeans, operations, peak, peers, start, steps
from l2ae_bench.case import Case
from l2ae_bench.choice import Choice
from l2ae_bench.comparison import Comparison, Measurement, compare
from l2ae_bench.rates import Ceilings
from l2ae_bench.work import is_ceiling

REPEATS = {"step": 15, "norms": 15, "augmented": 15, "kmeans": 7, "operations": 7}
QUICK = 3  # repeats
PEAK_REPEATS = 7
ALL = Choice()
OPERATION_SECONDS = 0.05  # in a repeat: there are a hundred operations
Tick = Callable[[], object]
Job = Callable[[int, Tick], list[Measurement]]  # of a number of threads


def rows(
    part: str,
    counts: Sequence[int],
    choice: Choice = ALL,
    ceilings: list[Measurement] | None = None,
    *,
    quick: bool = False,
    progress: bool = True,
) -> Iterator[Measurement]:
    """Yield the measurements of one part for each number of threads, with shares of the ceilings.

    The ceilings come first where none were measured before (they are added to the list), unless
    there is nothing to compare with them.
    """
    ceilings = [] if ceilings is None else ceilings
    repeats = QUICK if quick else REPEATS.get(part, 1)
    jobs = _jobs(part, repeats, choice, quick)
    if jobs and part != "start" and not ceilings:
        few = min(repeats, PEAK_REPEATS)
        jobs.insert(0, ("ceilings", 1, lambda threads, _: peak.rows(threads, few)))
    used = peers.OF_PART.get(part)
    ticks = len(counts) * sum(ticks for _, ticks, _ in jobs)
    with tqdm(total=ticks, desc=f"bench {part}", disable=not progress, leave=False) as bar:
        for workload, ticks, job in jobs:
            for threads in counts:
                bar.set_postfix_str(f"{workload}, {threads} thread{'s' * (threads > 1)}")
                before = bar.n
                with peers.all_use(threads, *([used] if used else [])):
                    for row in job(threads, bar.update):
                        ceilings += [row] if is_ceiling(row.workload) else []
                        yield Ceilings(ceilings).shared(row)
                bar.update(before + ticks - bar.n)


def _jobs(part: str, repeats: int, choice: Choice, quick: bool) -> list[tuple[str, int, Job]]:
    """Return name, ticks of the progress bar and function of each chosen workload of a part."""
    if part == "start":
        chosen = any(map(choice.takes, ("start-cold", "start-warm")))
        return [("start", 1 + start.WARM_STARTS, start.rows)] if chosen else []
    jobs = [job for job in _workloads(part, repeats) if choice.takes(job[0])]
    if part == "operations":
        jobs = [
            (case.workload, repeats, _operation(case, repeats, choice.only(case)))
            for case in choice.cases(quick)
        ]
    return jobs


def _workloads(part: str, repeats: int) -> list[tuple[str, int, Job]]:
    """Return the workloads of a part that have a name of their own."""
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
    return []


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


def _operation(case: Case, repeats: int, only: list[str] | None) -> Job:
    def job(threads: int, tick: Tick) -> list[Measurement]:
        return operations.rows(case, threads, repeats, OPERATION_SECONDS, tick, only)

    return job
