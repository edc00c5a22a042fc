"""Results by what a table asks for: system, data set, digit, seed."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from l2ae_core.paper.published import PaperTable
from l2ae_core.paper.result import Result
from l2ae_core.paper.run import Task
from l2ae_core.paper.systems import SYSTEMS

NAMES = {"mnist": "MNIST", "usps": "USPS", "digits": "digits"}


class ResultIndex:
    """Results by system, data set and digit; of several numbers of epochs the largest counts.

    `data` are sets to show in every table, as far as there are results, besides those of the paper.
    ValueError when two results differ in what no table tells apart, as the size of a batch.
    """

    def __init__(self, results: Iterable[Result], data: Collection[str] = ()) -> None:
        self.data = data
        self.found: dict[tuple[Task, str, str, int | None], dict[int, dict[int, Result]]] = (
            defaultdict(lambda: defaultdict(dict))
        )
        for r in results:
            run = r.run
            by_seed = self.found[run.task, run.data, run.system, run.digit][run.epochs]
            other = by_seed.setdefault(run.seed, r)
            if other.id != r.id:
                raise ValueError(_differ(other, r))

    def seeds(self, task: Task, data: str, system: str, digit: int | None) -> dict[int, Result]:
        """Return the results by seed, of the runs with the most epochs."""
        by_epochs = self.found.get((task, data, system, digit), {})
        return by_epochs[max(by_epochs)] if by_epochs else {}

    def pairs(
        self,
        data: str,
        one: str,
        other: str,
        task: Task = "clustering",
        digit: int | None = None,
    ) -> tuple[dict[int, Result], ...]:
        """Return the results of two systems by seed, of the most epochs that both have."""
        a, b = (self.found.get((task, data, s, digit), {}) for s in (one, other))
        epochs = max((e for e in a.keys() & b.keys() if a[e].keys() & b[e].keys()), default=None)
        return ({}, {}) if epochs is None else (a[epochs], b[epochs])

    def data_of(self, table: PaperTable) -> list[str]:
        """Return the data sets of the paper, and others on which a network of it was trained.

        A control alone makes no rows, but for data that were asked for: tables share controls.
        """
        systems = {c.system for c in table.columns if SYSTEMS[c.system].trained}
        found = {data for task, data, s, _ in self.found if task == table.task and s in systems}
        more = [data for data in NAMES if data in found or data in self.data]
        return list(dict.fromkeys([*table.data, *more]))

    def scores(
        self, task: Task, data: str, system: str, score: str, digit: int | None = None
    ) -> dict[int, float]:
        """Return one score by seed."""
        values = {s: r.scores.get(score) for s, r in self.seeds(task, data, system, digit).items()}
        return {s: v for s, v in values.items() if v is not None}


def _differ(a: Result, b: Result) -> str:
    """Say in what two results differ that would stand in one cell."""
    one, other = a.run.config, b.run.config
    told = ", ".join(f"{n} {one[n]!r} and {other[n]!r}" for n in one if one[n] != other[n])
    return (
        f"tables: {a.id} and {b.id} are both {a.run.system} on {a.run.data}, seed {a.run.seed}, "
        f"but have {told}: keep one of them in another folder"
    )
