"""The paper's numbers beside ours: every table as text, from result files alone."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from l2ae_core.experiments.finder import DATA, Finder
from l2ae_core.experiments.paper import DIGITS, PAIRS, TABLES, Column, PaperTable
from l2ae_core.experiments.run import Result
from l2ae_core.experiments.statistics import (
    Summary,
    correlation,
    paired_difference,
    summarize,
)
from l2ae_core.experiments.systems import SYSTEMS
from l2ae_core.text import aligned, markdown

__all__ = ["Finder", "Table", "paper_tables", "percent"]

MEASURES = {"auc": "AUC", "auprc": "AUPRC"}


@dataclass(frozen=True)
class Table:
    """A table as text: a name, a title, cells, and a note below it. An empty cell was not run."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    text_columns: int = 1  # the first ones, which are words and not numbers

    def screen(self) -> str:
        """The table in aligned columns."""
        text = aligned(self.columns, self.rows, self._numbers)
        return "\n".join(filter(None, (self.title, text, self.note)))

    def markdown(self) -> str:
        """The table in Markdown."""
        text = markdown(self.columns, self.rows, self._numbers)
        return "\n\n".join(filter(None, (f"**{self.title}**", text, self.note)))

    @property
    def _numbers(self) -> set[int]:
        return set(range(self.text_columns, len(self.columns)))


def paper_tables(
    results: Sequence[Result], names: Iterable[str] = tuple(TABLES), data: Sequence[str] = ()
) -> list[Table]:
    """Return the named tables for which there is a result, and what the seeds say together.

    Data sets are those of the paper, others on which a network was trained, and `data`.
    """
    finder = Finder(results, data)
    made = []
    for name in names:
        table = TABLES[name]
        if table.task == "clustering":
            made += [_clustering(table, finder), _pairs(table, finder)]
        else:
            made += [
                _detection(table, finder, d, m) for d in finder.data_of(table) for m in MEASURES
            ]
    return [t for t in made if t.rows]


def _clustering(table: PaperTable, finder: Finder) -> Table:
    """A row a system, since what matters is its spread over seeds."""
    rows = []
    for data in finder.data_of(table):
        found = [finder.scores("clustering", data, c.system, c.score) for c in table.columns]
        if not any(found):
            continue
        pairs = zip(table.columns, found, strict=True)
        rows += [_clustering_row(data, column, scores, finder) for column, scores in pairs]
        rows.append([DATA[data], "chance", "", *_spread(_chance(finder, table, data)), ""])
    columns = ["data", "system", "paper", "ACC", "sd", "min", "max", "NMI", "seeds", "epochs"]
    note = f"{table.note} Shares in percent; mean over seeds, sample standard deviation."
    return Table(table.name, table.title, columns, rows, note.strip(), 2)


def _clustering_row(data: str, column: Column, scores: dict[int, float], f: Finder) -> list[str]:
    paper = percent(column.paper[data]) if data in column.paper else ""
    if not scores:
        return [DATA[data], column.title, paper, *[""] * 7]
    # "after.acc" has "after.nmi"; the many-to-one accuracy of GMVAE has the plain one
    name = column.score.replace("acc", "nmi") if column.score.endswith("acc") else "nmi"
    nmi = f.scores("clustering", data, column.system, name)
    epochs = next(iter(f.seeds("clustering", data, column.system, None).values())).config["epochs"]
    spread = _spread(scores.values(), percent(summarize(list(nmi.values())).mean) if nmi else "")
    return [DATA[data], column.title, paper, *spread, str(epochs or "")]


def _spread(values: Iterable[float], nmi: str = "") -> list[str]:
    """Mean, sd, min, max, NMI, count; one value has no spread."""
    values = list(values)
    if not values:
        return [""] * 6
    s = summarize(values)
    several = [percent(s.sd), percent(s.least), percent(s.most)] if s.count > 1 else [""] * 3
    return [percent(s.mean), *several, nmi, str(s.count)]


def _chance(finder: Finder, table: PaperTable, data: str) -> list[float]:
    every = (finder.seeds("clustering", data, c.system, None).values() for c in table.columns)
    by_seed = {r.config["seed"]: float(r.chance["acc"]) for results in every for r in results}
    return list(by_seed.values())


def _pairs(table: PaperTable, finder: Finder) -> Table:
    """The gain of the constraint seed by seed, and whether the loss tells the accuracy."""
    rows = []
    systems = {c.system for c in table.columns}
    for data in finder.data_of(table):
        for one, other in PAIRS:
            if not {one, other} <= systems:
                continue
            both = finder.pairs(data, one, other)
            d = paired_difference(*({s: r.scores["acc"] for s, r in f.items()} for f in both))
            if d is not None:
                low, high = map(percent, d.interval) if d.interval else ("", "")
                pair = f"{SYSTEMS[one].title} − {SYSTEMS[other].title}"
                r = [_loss_correlation(found.values()) for found in both]
                rows.append([DATA[data], pair, percent(d.mean), low, high, str(d.count), *r])
    columns = ["data", "gain in ACC", "mean", "low", "high", "pairs", "r with l2", "r without"]
    note = (
        "Pairs have the same epochs and seed: initial weights, batches, k-means starts. low and "
        "high: 95 % interval of the mean (Student's t). r: correlation over seeds between "
        "reconstruction loss and ACC; the paper picks models by the first, which helps only where "
        "r is near −1."
    )
    return Table(f"{table.name}-pairs", f"{table.title}: paired gain", columns, rows, note, 2)


def _loss_correlation(results: Collection[Result]) -> str:
    names = ("reconstruction_mse", "acc")
    r = correlation(*([found.scores[name] for found in results] for name in names))
    return "" if r is None else f"{r:.2f}"


def _detection(table: PaperTable, finder: Finder, data: str, measure: str) -> Table:
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
    title = f"{table.title}, {DATA[data]}, {MEASURES[measure]}"
    note = f"{table.note} {_detection_note(table, finder, data)}".strip()
    name = f"{table.name}-{measure}" + ("" if data in table.data else f"-{data}")
    return Table(name, title, columns, [*cells, means] if ran else [], note)


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


def percent(share: float) -> str:
    """Return a share in percent, two digits after the point, as the paper prints it."""
    if not isfinite(share):
        raise ValueError(f"percent: share is {share} but expected a number")
    return f"{round(100 * share, 2) + 0.0:.2f}"  # never "-0.00"
