"""Which runs a table asks for, and which of them are missing, in words."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product

from l2ae_core.paper.paper import DIGITS, PaperTable
from l2ae_core.paper.result_check import Task
from l2ae_core.paper.run import Folder, Run
from l2ae_core.paper.schedule import plan
from l2ae_core.paper.systems import SYSTEMS, find_system
from l2ae_core.text import ranges


def wanted(
    table: PaperTable,
    seeds: int,
    epochs: int | None = None,
    *,
    digits: Sequence[int] = DIGITS,
    data: Sequence[str] | None = None,
    systems: Sequence[str] | None = None,
) -> Iterator[Run]:
    """Yield the runs of a table, all systems of one seed before the next seed.

    `data` and `systems` choose some, None means those of the table; `data` may name another data
    set. ValueError for a digit that is none, seeds < 1 or epochs < 1.
    """
    _check_counts(seeds, epochs)
    for digit in digits:
        if digit not in DIGITS:
            raise ValueError(f"reproduce: digit {digit} is none of 0 … 9")
    columns = dict.fromkeys(c.system for c in table.columns if not systems or c.system in systems)
    for seed in range(seeds):
        for source in data or table.data:
            anomalies: Sequence[int | None] = digits if table.task == "detection" else (None,)
            for anomaly in anomalies:
                for system in columns:
                    total = (epochs or table.epochs) if SYSTEMS[system].trained else 0
                    yield Run(table.task, system, source, seed, total, anomaly)


def check_systems(systems: Sequence[str], tables: Sequence[PaperTable]) -> None:
    """Raise ValueError for a system that is none, or is in none of the tables."""
    known = list(dict.fromkeys(c.system for table in tables for c in table.columns))
    for system in systems:
        find_system(system)
        if system not in known:
            names = ", ".join(table.name for table in tables) or "figure1"
            expected = f"; expected one of {', '.join(known)}" if known else ""
            raise ValueError(f"reproduce: {names} has no system {system!r}{expected}")


def in_words(runs: Sequence[Run], folder: Folder) -> str:
    """Return in one line how many runs are missing, and which: systems with equal gaps together."""
    missing = [run for wave in plan(runs, folder) for run in wave]
    total = len(set(runs) | set(missing))  # a start may be one that no table asks for
    gaps: dict[tuple[str, str, Task], set[tuple[int, int | None]]] = defaultdict(set)
    for run in missing:
        gaps[run.system, run.where, run.task].add((run.seed, run.digit))
    alike: dict[tuple[str, frozenset[tuple[int, int | None]]], list[str]] = defaultdict(list)
    for (system, where, _), gap in gaps.items():
        alike[where, frozenset(gap)].append(system)
    told = [f"{', '.join(s)} on {where}, {_gap(gap)}" for (where, gap), s in alike.items()]
    which = f": {'; '.join(told)}" if told else ""
    return f"reproduce: {len(missing)} of {total} runs missing{which}"


def _gap(gap: frozenset[tuple[int, int | None]]) -> str:
    """Seeds and anomalies of some runs; their number, where it is not every pair of the two."""
    seeds, digits = {seed for seed, _ in gap}, {digit for _, digit in gap}
    text = f"seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}"
    if digits != {None}:
        anomalies = [digit for digit in digits if digit is not None]
        text += f", anomal{'ies' if len(digits) > 1 else 'y'} {ranges(anomalies)}"
    return text if gap == set(product(seeds, digits)) else f"{len(gap)} runs of {text}"


def _check_counts(seeds: int, epochs: int | None) -> None:
    for name, value in {"seeds": seeds, "epochs": epochs}.items():
        if value is not None and value < 1:
            raise ValueError(f"reproduce: {name} is {value} but expected at least 1")
