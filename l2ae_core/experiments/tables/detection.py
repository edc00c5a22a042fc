"""Tables IV and V: a row a digit, a column a score, and what the constraint adds digit by digit."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import product

from l2ae_core.experiments.finder import NAMES, Finder
from l2ae_core.experiments.paper import DIGITS, PAIRS, PaperTable
from l2ae_core.experiments.run import Result
from l2ae_core.experiments.statistics import Summary, paired_difference, summarize
from l2ae_core.experiments.systems import SYSTEMS
from l2ae_core.experiments.tables.table import Table

MEASURES = {"auc": "AUC", "auprc": "AUPRC"}
PAIRED_SCORES = ("cosine", "dot", "euclidean", "reconstruction")


def detection(table: PaperTable, finder: Finder, data: str, measure: str) -> Table:
    """A row a digit, a column a score, chance last; the paper's number before ours.

    No rows without a number of ours.
    """
    columns, cells = ["digit"], [[str(digit)] for digit in DIGITS]
    means, ran = ["mean"], False
    for c in table.columns:
        name = f"{c.score}.{measure}"
        ours = [
            list(finder.scores("detection", data, c.system, name, digit).values())
            for digit in DIGITS
        ]
        paper = list(c.paper.values()) if measure == "auc" and data in table.data else []
        if paper:
            columns.append(f"{c.title}: paper")
            _add(cells, [f"{v:.3f}" for v in paper])
            means.append(f"{summarize(paper).mean:.3f}")
        if any(ours) or paper:
            columns.append(f"{c.title}: ours" if paper else c.title)
            _add(cells, map(_score_cell, ours))
            complete = all(ours)
            each = [summarize(v).mean for v in ours if v]
            means.append(f"{summarize(each).mean:.3f}" if complete else "")
            ran = ran or any(ours)
    columns.append("chance")
    chance = [_detection_chance(table, finder, data, measure, digit) for digit in DIGITS]
    _add(cells, [f"{summarize(c).mean:.3f}" if c else "" for c in chance])
    means.append(f"{summarize([c[0] for c in chance]).mean:.3f}" if all(chance) else "")
    title = f"{table.title}, {NAMES[data]}, {MEASURES[measure]}"
    note = f"{table.note} {_detection_note(table, finder, data)}".strip()
    name = f"{table.name}-{measure}" + ("" if data in table.data else f"-{data}")
    return Table(name, title, columns, [*cells, means] if ran else [], note)


def detection_pairs(table: PaperTable, finder: Finder, data: str) -> Table:
    """What the constraint adds: digits are the pairs."""
    rows = []
    systems = {c.system for c in table.columns}
    for one, other in PAIRS:
        for measure, score in product(MEASURES, PAIRED_SCORES):
            found = {d: finder.pairs(data, one, other, "detection", d) for d in DIGITS}
            a, b = (means_by_digit(found, side, f"{score}.{measure}") for side in (0, 1))
            gain = paired_difference(a, b)
            if gain is None or not {one, other} <= systems:
                continue
            digits = a.keys() & b.keys()
            means = [f"{summarize([v[d] for d in digits]).mean:.3f}" for v in (b, a)]
            low, high = (f"{v:.3f}" for v in gain.interval) if gain.interval else ("", "")
            ahead = f"{sum(a[d] > b[d] for d in digits)} of {gain.count}"
            pair = f"{SYSTEMS[one].title} − {SYSTEMS[other].title}"
            rows.append([pair, MEASURES[measure], score, *means, f"{gain.mean:.3f}", low, high,
                         ahead])  # fmt: skip
    columns = ["gain", "measure", "score", "without", "with l2", "mean", "low", "high", "l2 ahead"]
    note = (
        "Pairs are digits: the means over partitions that both have at equal epochs. low and high: "
        "95 % interval of the mean (Student's t), as if digits were drawn at random."
    )
    name = f"{table.name}-pairs" + ("" if data in table.data else f"-{data}")
    return Table(name, f"{table.title}, {NAMES[data]}: paired gain", columns, rows, note, 3)


def means_by_digit(
    found: Mapping[int, tuple[Mapping[int, Result], ...]], side: int, score: str
) -> dict[int, float]:
    """The mean of a score over the partitions that both sides have, by digit."""
    means = {}
    for digit, both in found.items():
        seeds = both[0].keys() & both[1].keys()
        values = [v for seed in seeds if (v := both[side][seed].score(score)) is not None]
        if values:
            means[digit] = summarize(values).mean
    return means


def _detection_chance(
    table: PaperTable, finder: Finder, data: str, measure: str, digit: int
) -> list[float]:
    """Chance by the runs of a digit: 0.5, and for AUPRC the share of anomalies in the test."""
    every = (finder.seeds("detection", data, c.system, digit).values() for c in table.columns)
    return [float(r.chance[measure]) for results in every for r in results]


def _add(cells: list[list[str]], column: Iterable[str]) -> None:
    for row, cell in zip(cells, column, strict=True):
        row.append(cell)


def _score_cell(values: Iterable[float]) -> str:
    values = list(values)
    if not values:
        return ""
    s: Summary = summarize(values)
    return f"{s.mean:.3f}" + (f" ± {s.sd:.3f} ({s.count})" if s.count > 1 else " (1)")


def _detection_note(table: PaperTable, finder: Finder, data: str) -> str:
    """Say how long the systems of a table were trained."""
    by_epochs: dict[int, list[str]] = defaultdict(list)
    for system in dict.fromkeys(c.system for c in table.columns):
        results = [r for d in DIGITS for r in finder.seeds("detection", data, system, d).values()]
        for epochs in sorted({r.config["epochs"] for r in results} - {0}):
            by_epochs[epochs].append(SYSTEMS[system].title)
    told = [f"{epochs} epochs: {', '.join(systems)}" for epochs, systems in by_epochs.items()]
    return f"In brackets: partitions. {'; '.join(told)}." if told else ""
