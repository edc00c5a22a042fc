"""Results in the order in which the page shows them: data set, system, digit, seed.

Of several numbers of epochs the largest counts, as in the tables.
"""

from collections.abc import Collection, Iterable, Sequence

from l2ae_core.figures.style import LINES, line_styles
from l2ae_core.paper import tables
from l2ae_core.paper.index import NAMES, ResultIndex
from l2ae_core.paper.published import PAIRS
from l2ae_core.paper.result import SCORES, Result
from l2ae_core.paper.run import Task
from l2ae_core.paper.systems import SYSTEMS

CLUSTERING = SCORES["clustering"]
PLAIN = dict(PAIRS)


def longest(results: Iterable[Result]) -> list[Result]:
    """Return the results of the longest trainings, in the order of the page."""
    groups = ResultIndex(results).found.values()
    return in_order(r for by_epochs in groups for r in by_epochs[max(by_epochs)].values())


def in_order(results: Iterable[Result]) -> list[Result]:
    """Return results by task, data set, system, digit, epochs, seed."""
    data, systems = list(NAMES), list(SYSTEMS)

    def key(r: Result) -> tuple[str, int, int, int, int, int]:
        run = r.run
        digit = -1 if run.digit is None else run.digit
        where = run.task, data.index(run.data), systems.index(run.system)
        return *where, digit, run.epochs, run.seed

    return sorted(results, key=key)


def of_task(results: Iterable[Result], task: Task) -> dict[str, dict[str, list[Result]]]:
    """Return the results of a task by data set and system."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for r in results:
        if r.run.task == task:
            systems = groups.setdefault(r.run.data, {})
            systems.setdefault(r.run.system, []).append(r)
    return groups


def families(systems: Collection[str]) -> list[list[str]]:
    """Return systems that share a panel: the two of a pair, and the others, four at a time.

    Losses of different methods or likelihoods do not share one: their values do not compare.
    """
    pairs = [[s for s in (one, other) if s in systems] for one, other in PAIRS]
    rest: dict[tuple[str, str | None], list[str]] = {}
    for system in systems:
        if not in_pair(system):
            what = SYSTEMS[system]
            rest.setdefault((what.method, what.settings.get("likelihood")), []).append(system)
    most = len(LINES)
    parts = [g[i : i + most] for g in rest.values() for i in range(0, len(g), most)]
    return [group for group in (*pairs, *parts) if group]


def styles_of(systems: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and line of systems: with the constraint solid blue, without it dashed."""
    if systems and systems[0] in PLAIN.values():  # its partner is missing, but keeps its look
        return dict(zip(systems, LINES[1:], strict=False))
    return line_styles(list(systems))


def in_pair(system: str) -> bool:
    """Whether a system is one of two that differ by the constraint alone."""
    return any(system in pair for pair in PAIRS)


def title(system: str) -> str:
    """Return the name of a system as the tables write it."""
    return SYSTEMS[system].title


def percentage(share: float) -> str:
    """Return a share with its sign, never on two lines."""
    return f"{tables.percent(share)}\N{NO-BREAK SPACE}%"
