"""Tables IV and V: a row a digit, a column a score, and what the constraint adds digit by digit."""

from collections.abc import Mapping
from itertools import product
from math import sqrt

from l2ae_core.paper.index import NAMES, ResultIndex
from l2ae_core.paper.published import DIGITS, PAIRS, Column, PaperTable
from l2ae_core.paper.result import Result
from l2ae_core.paper.statistics import Summary, paired_difference, summarize
from l2ae_core.paper.systems import SYSTEMS
from l2ae_core.paper.tables.table import MOST_COLUMNS, Table, in_parts

MEASURES = {"auc": "AUC", "auprc": "AUPRC"}
ROWS = ["anomaly", *map(str, DIGITS), "mean", "sd", "partitions", "epochs"]
PAIRED_SCORES = ("cosine", "dot", "euclidean", "reconstruction")


def detection(table: PaperTable, index: ResultIndex, data: str, measure: str) -> list[Table]:
    """A row a digit, a column a score, the paper's numbers left of ours; in parts that are narrow.

    None without a number of ours.
    """
    groups: list[list[list[str]]] = []  # columns of a score: a head, then a cell a row
    ran = False
    for column in table.columns:
        paper = list(column.paper.values()) if measure == "auc" and data in table.data else []
        ours = _ours(column, index, data, measure)
        if ours or paper:
            title = f"{column.title}, ours" if paper else column.title
            groups.append([[title, *(ours or [""] * (len(ROWS) - 1))]])
        if paper:
            cells = map(_number, [*paper, summarize(paper).mean])
            groups[-1].insert(0, [f"{column.title}, paper", *cells, "", "", ""])
        ran = ran or bool(ours)
    if not ran:
        return []
    chance = []  # of AUC it is 0.5, as the note says
    if measure == "auprc":
        chance = [["chance", *_chance(table, index, data, measure), "", "", ""]]
    parts = in_parts(groups, MOST_COLUMNS - 1 - len(chance))
    note = (
        f"{table.note} Rows: the digit that is the anomaly. Partitions: how many random tenths of "
        "it were left in the training set; cells are means over them, sd is the standard deviation "
        "of those of a digit, its root mean square over digits. By chance the AUC is 0.5, the "
        "AUPRC the share of the anomalies."
    )
    name = f"{table.name}-{measure}" + ("" if data in table.data else f"-{data}")
    title = f"{table.title}, {NAMES[data]}, {MEASURES[measure]}"
    made = []
    for i, part in enumerate(parts, start=1):
        header, *rows = zip(ROWS, *part, *chance, strict=True)
        told = [list(row) for row in rows if any(row[1:])]
        which = f", part {i} of {len(parts)}" if len(parts) > 1 else ""
        last = note.strip() if i == len(parts) else ""
        made.append(Table(f"{name}-{i}", title + which, list(header), told, last))
    return made


def _ours(column: Column, index: ResultIndex, data: str, measure: str) -> list[str]:
    """The cells of a score by digit, mean, sd, partitions and epochs; none without a number.

    Where digits differ in partitions, each cell has its own number in brackets. The mean is that
    of all digits after equal epochs, or missing.
    """
    found = {
        digit: list(scores.values())
        for digit in DIGITS
        if (scores := index.scores("detection", data, column.system, f"{column.score}.{measure}",
                                    digit))
    }  # fmt: skip
    if not found:
        return []
    summaries = {digit: summarize(values) for digit, values in found.items()}
    counts = {s.count for s in summaries.values()}
    cells = [_cell(summaries.get(digit), len(counts) > 1) for digit in DIGITS]
    variances = [s.sd**2 for s in summaries.values() if s.count > 1]
    sd = _number(sqrt(summarize(variances).mean)) if variances else ""
    runs = [r for d in found for r in index.seeds("detection", data, column.system, d).values()]
    epochs = sorted({r.run.epochs for r in runs} - {0})
    complete = len(found) == len(DIGITS) and len(epochs) <= 1
    mean = _number(summarize([s.mean for s in summaries.values()]).mean) if complete else ""
    partitions = str(*counts) if len(counts) == 1 else ""
    return [*cells, mean, sd, partitions, ", ".join(map(str, epochs))]


def _cell(summary: Summary | None, counted: bool) -> str:
    """Mean over partitions, and, if `counted`, how many they are."""
    if summary is None:
        return ""
    return _number(summary.mean) + (f" ({summary.count})" if counted else "")


def _number(value: float) -> str:
    return f"{value:.3f}"


def _chance(table: PaperTable, index: ResultIndex, data: str, measure: str) -> list[str]:
    """Chance by digit, and its mean: 0.5, and for AUPRC the share of anomalies in the test."""
    means = {}
    for digit in DIGITS:
        found = [index.seeds("detection", data, c.system, digit) for c in table.columns]
        if any(found):
            values = [r.chance[measure] for by_seed in found for r in by_seed.values()]
            means[digit] = summarize(values).mean
    mean = _number(summarize(list(means.values())).mean) if len(means) == len(DIGITS) else ""
    return [*(_number(means[d]) if d in means else "" for d in DIGITS), mean]


def detection_pairs(table: PaperTable, index: ResultIndex, data: str) -> Table:
    """What the constraint adds: digits are the pairs."""
    rows = []
    systems = {c.system for c in table.columns}
    for one, other in PAIRS:
        for measure, score in product(MEASURES, PAIRED_SCORES):
            found = {d: index.pairs(data, one, other, "detection", d) for d in DIGITS}
            a, b = (means_by_digit(found, side, f"{score}.{measure}") for side in (0, 1))
            gain = paired_difference(a, b)
            if gain is None or not {one, other} <= systems:
                continue
            digits = a.keys() & b.keys()
            means = [f"{summarize([v[d] for d in digits]).mean:.3f}" for v in (b, a)]
            low, high = (f"{v:.3f}" for v in gain.interval) if gain.interval else ("", "")
            ahead = f"{sum(a[d] > b[d] for d in digits)} of {gain.count}"
            pair = f"{SYSTEMS[one].title} − {SYSTEMS[other].title}"
            told = f"{score}, {MEASURES[measure]}"
            rows.append([pair, told, *means, f"{gain.mean:.3f}", low, high, ahead])
    columns = ["gain", "score", "without", "with l2", "mean", "low", "high", "l2 ahead"]
    note = (
        "Pairs are digits: the means over partitions that both have at equal epochs. low and high: "
        "95 % interval of the mean (Student's t), as if digits were drawn at random."
    )
    name = f"{table.name}-pairs" + ("" if data in table.data else f"-{data}")
    return Table(name, f"{table.title}, {NAMES[data]}: paired gain", columns, rows, note, 2)


def means_by_digit(
    found: Mapping[int, tuple[Mapping[int, Result], ...]], side: int, score: str
) -> dict[int, float]:
    """The mean of a score over the partitions that both sides have, by digit."""
    means = {}
    for digit, both in found.items():
        seeds = both[0].keys() & both[1].keys()
        values = [v for seed in seeds if (v := both[side][seed].scores.get(score)) is not None]
        if values:
            means[digit] = summarize(values).mean
    return means
