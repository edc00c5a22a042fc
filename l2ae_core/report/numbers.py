"""The parts of the page that are tables: what was run, the paper beside ours, paired gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from l2ae_core.figures import paired
from l2ae_core.paper.index import NAMES, ResultIndex
from l2ae_core.paper.published import PAIRS
from l2ae_core.paper.result import Result
from l2ae_core.paper.statistics import paired_difference, summarize
from l2ae_core.paper.tables import paper_tables, percent
from l2ae_core.report.evidence import CLUSTERING, of_task, title
from l2ae_core.report.markup import Markup, element, figure, grid, join, paragraph, table
from l2ae_core.report.pictures import svg
from l2ae_core.tables import ranges

DETECTION_SCORES = ("cosine", "euclidean", "reconstruction")  # the first is that of the paper
POST_HOC = "post_hoc_l2.acc"


def what_was_run(results: Sequence[Result]) -> list[Markup]:
    """A row for each task, data set and system: seeds, epochs, digits, hours."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for r in results:
        run = r.run
        key = (run.task, NAMES[run.data], title(run.system), run.epochs, run.batch_size)
        groups.setdefault(key, []).append(r)
    rows = []
    for (task, data, system, epochs, batch_size), group in groups.items():
        digits = ranges(r.run.digit for r in group if r.run.digit is not None)
        hours = sum(r.seconds.training for r in group) / 3600
        rows.append([task, data, system, digits, ranges(r.run.seed for r in group),
                     str(len(group)), str(epochs or ""), str(batch_size if epochs else ""),
                     f"{hours:.2f}" if epochs else ""])  # fmt: skip
    columns = ["task", "data", "system", "anomalies", "seeds", "runs", "epochs", "batch",
               "hours of training"]  # fmt: skip
    note = (
        "A seed fixes initial weights, order of the images, first centers of k-means and, in "
        "detection, which tenth of the anomalous digit stays in training. Labels are used for "
        "scores alone."
    )
    return [table(columns, rows, note=note, text_columns=3)]


def tables(results: Sequence[Result]) -> list[Markup]:
    """All tables of the paper for which there is a result."""
    made = [
        table(t.columns, t.rows, caption=t.title, note=t.note, text_columns=t.text_columns)
        for t in paper_tables(results)
    ]
    empty = (
        "A row without an accuracy was not run. Other empty cells: a number that the paper does "
        "not have, or that takes more seeds, or that the system does not have."
    )
    return [paragraph(empty), *made] if made else []


def paired_gains(results: Sequence[Result]) -> list[Markup]:
    """What the constraint adds, seed by seed; of all results, as pairs may be shorter runs."""
    shown: list[Markup] = []
    index = ResultIndex(results)
    panels, rows = [], []
    for data in of_task(results, "clustering"):
        for one, other in PAIRS:
            pairs = Pairs(data, one, other, *index.pairs(data, one, other))
            rows += [_clustering_row(pairs, s) for s in CLUSTERING if pairs.seeds]
            panels += _slopes(pairs) if pairs.seeds else []
    if rows:
        columns = ["data", "pair", "score", "without", "with l2", "gain", "from", "to",
                   "l2 ahead", "chance"]  # fmt: skip
        note = (
            "Percent; gains in percentage points, mean over seeds that both have at the same "
            "number of epochs, with its 95 % interval (Student's t)."
        )
        shown += [
            figure(grid(panels), caption="Each thin line is one seed; bars are means. Middle: the "
                   "codes of the network without the constraint, brought to unit length after "
                   "training. If that were all there is to it, middle and right would agree."),
            table(columns, rows, caption="Clustering: with l2 minus without", note=note,
                  text_columns=3),
        ]  # fmt: skip
    for data in of_task(results, "detection"):
        shown += _detection(data, index)
    return shown


@dataclass(frozen=True)
class Pairs:
    """Results by seed of a system with the constraint, and of the same one without."""

    data: str
    one: str
    other: str
    with_l2: Mapping[int, Result]
    without: Mapping[int, Result]

    @property
    def seeds(self) -> list[int]:
        """Those that both have."""
        return sorted(self.with_l2.keys() & self.without.keys())


def _clustering_row(pairs: Pairs, score: str) -> list[str]:
    """One row of paired differences, in percent."""
    seeds = pairs.seeds
    a, b = ({s: side[s].scores[score] for s in seeds}
            for side in (pairs.with_l2, pairs.without))  # fmt: skip
    gain = paired_difference(a, b)
    assert gain is not None  # there are seeds
    chance = summarize([pairs.with_l2[s].chance[score] for s in seeds]).mean
    means = [percent(summarize(list(scores.values())).mean) for scores in (b, a)]
    low, high = map(percent, gain.interval) if gain.interval else ("", "")
    ahead = f"{sum(a[s] > b[s] for s in seeds)} of {len(seeds)}"
    name = f"{title(pairs.one)} − {title(pairs.other)}"
    return [NAMES[pairs.data], name, score.upper(), *means, percent(gain.mean), low, high, ahead,
            percent(chance)]  # fmt: skip


def _slopes(pairs: Pairs) -> list[Markup]:
    """One panel: accuracy without, after training, with the constraint, a line a seed."""
    plain, with_l2 = ([side[s] for s in pairs.seeds] for side in (pairs.without, pairs.with_l2))
    post_hoc = [r.scores.get(POST_HOC) for r in plain]
    columns = {"no l2": [r.scores["acc"] for r in plain]}
    if None not in post_hoc:
        columns["l2 after training"] = [v for v in post_hoc if v is not None]
    columns["l2 in training"] = [r.scores["acc"] for r in with_l2]
    chance = summarize([r.chance["acc"] for r in with_l2]).mean
    name = f"{NAMES[pairs.data]}, {title(pairs.other)}"
    drawn = paired({k: [100 * v for v in vs] for k, vs in columns.items()}, chance=100 * chance,
                   y="accuracy, %", panel=name)  # fmt: skip
    told = ", ".join(f"{k} {percent(summarize(v).mean)} %" for k, v in columns.items())
    picture = svg(drawn, f"pairs-{pairs.data}-{pairs.other}", f"{name}: {told}")
    return [element("div", picture, class_="panel")]


def _detection(data: str, index: ResultIndex) -> list[Markup]:
    """Gain of CAE-l2 over CAE in AUC, digit by digit; all scores but the first folded away."""
    columns = ["anomaly", "without", "with l2", "gain", "from", "to", "partitions", "chance"]
    note = "Mean over partitions that both have at equal epochs; 95 % interval of the mean (t)."
    made = []
    for score in DETECTION_SCORES:
        rows = [row for d in range(10) if (row := _detection_row(data, d, f"{score}.auc", index))]
        if rows:
            head = f"Detection on {NAMES[data]}, {score} score: AUC of CAE-l2 minus CAE"
            made.append(table(columns, rows, caption=head, note=note))
    others = element("details", element("summary", "The same for other scores"), *made[1:])
    return [*made[:1], others] if len(made) > 1 else made


def _detection_row(data: str, digit: int, score: str, index: ResultIndex) -> list[str]:
    """One row of paired differences in AUC; empty without a partition that both have."""
    a, b = (
        {seed: v for seed, r in side.items() if (v := r.scores.get(score)) is not None}
        for side in index.pairs(data, "cae-l2", "cae", "detection", digit)
    )
    gain = paired_difference(a, b)
    if gain is None:
        return []
    seeds = sorted(a.keys() & b.keys())
    means = [f"{summarize([v[s] for s in seeds]).mean:.3f}" for v in (b, a)]
    low, high = (f"{v:.3f}" for v in gain.interval) if gain.interval else ("", "")
    return [str(digit), *means, f"{gain.mean:.3f}", low, high, str(gain.count), "0.500"]


def environments(results: Sequence[Result]) -> list[Markup]:
    """Every machine and set of versions that made a result, and how many it made."""
    groups: dict[str, list[Result]] = {}
    for r in results:
        groups.setdefault(repr((r.environment.versions, r.environment.machine)), []).append(r)
    shown = []
    for group in groups.values():
        e = group[0].environment
        dates = sorted({r.environment.date for r in group})
        m = e.machine
        pairs = {
            "runs": str(len(group)),
            "dates": dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
            "machine": f"{m.processor}, {m.system}, cores: {m.cores}",
            "BLAS": ", ".join(m.blas or ()),
            **e.versions,
        }
        shown.append(pairs)
    names = list(dict.fromkeys(name for pairs in shown for name in pairs))
    columns = ["", *(f"environment {i}" for i in range(1, len(shown) + 1))]
    rows = [[name, *(pairs.get(name, "") for pairs in shown)] for name in names]
    digests = {(NAMES[r.run.data], r.run.task, r.environment.data_sha256)
               for r in results if r.run.task == "clustering"}  # fmt: skip
    data = [[name, digest] for name, _, digest in sorted(digests)]
    parts = [table(columns, rows, text_columns=len(columns))]
    if data:
        parts.append(table(["data", "SHA-256 of images and labels"], data, text_columns=2))
    return [join([paragraph("A seed gives the same bits in one and the same environment."),
                  *parts])]  # fmt: skip
