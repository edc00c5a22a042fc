"""Tables I to III: a row a system, and what the constraint adds seed by seed."""

from collections.abc import Collection, Iterable

import numpy as np

from l2ae_core.paper.index import NAMES, ResultIndex
from l2ae_core.paper.published import PAIRS, Column, PaperTable
from l2ae_core.paper.result import ClusteringDetails, Result
from l2ae_core.paper.statistics import (
    correlation,
    paired_difference,
    summarize,
    worst_pair,
)
from l2ae_core.paper.systems import SYSTEMS
from l2ae_core.paper.tables.table import Table, percent

CHANCE = {"acc": "chance", "many_to_one": "chance, many-to-one"}
UNSUPERVISED = {"reconstruction_mse": "loss", "inertia": "inertia"}  # what could pick a model


def clustering(table: PaperTable, index: ResultIndex) -> Table:
    """A row a system, since what matters is its spread over seeds."""
    rows = []
    for data in index.data_of(table):
        found = [index.scores("clustering", data, c.system, c.score) for c in table.columns]
        if not any(found):
            continue
        pairs = zip(table.columns, found, strict=True)
        rows += [_clustering_row(data, column, scores, index) for column, scores in pairs]
        for score, name in CHANCE.items():
            values = _chance(index, table, data, score)
            rows += [[NAMES[data], name, "", *_spread(values), "", ""]] if values else []
    columns = ["data", "system", "paper", "ACC", "sd", "min", "max", "NMI", "seeds", "epochs",
               "worst pair"]  # fmt: skip
    note = (
        f"{table.note} Shares in percent; mean over seeds, sample standard deviation. Worst pair: "
        "the two classes that are told apart least, and of their images in the clusters of either, "
        "the share that is in its own (a coin: 50), mean over seeds."
    )
    return Table(table.name, table.title, columns, rows, note.strip(), 2)


def _clustering_row(
    data: str, column: Column, scores: dict[int, float], f: ResultIndex
) -> list[str]:
    paper = percent(column.paper[data]) if data in column.paper else ""
    if not scores:
        return [NAMES[data], column.title, paper, *[""] * 8]
    # "post_hoc_l2.acc" has "post_hoc_l2.nmi"; the many-to-one accuracy of GMVAE has the plain one
    name = column.score.replace("acc", "nmi") if column.score.endswith("acc") else "nmi"
    nmi = f.scores("clustering", data, column.system, name)
    results = list(f.seeds("clustering", data, column.system, None).values())
    epochs = results[0].run.epochs
    spread = _spread(scores.values(), percent(summarize(list(nmi.values())).mean) if nmi else "")
    worst = _worst_pair(results) if column.score == "acc" else ""
    return [NAMES[data], column.title, paper, *spread, str(epochs or ""), worst]


def _worst_pair(results: Iterable[Result]) -> str:
    """The two classes that are told apart least, and how well they are."""
    counted = [r.details for r in results if isinstance(r.details, ClusteringDetails)]
    found = worst_pair([np.array(d.confusion) for d in counted])
    if found is None:
        return ""
    i, j, share = found
    classes = counted[0].classes
    return f"{classes[i]}/{classes[j]}: {percent(share)}"


def _spread(values: Iterable[float], nmi: str = "") -> list[str]:
    """Mean, sd, min, max, NMI, count; one value has no spread."""
    values = list(values)
    if not values:
        return [""] * 6
    s = summarize(values)
    several = [percent(s.sd), percent(s.least), percent(s.most)] if s.count > 1 else [""] * 3
    return [percent(s.mean), *several, nmi, str(s.count)]


def _chance(index: ResultIndex, table: PaperTable, data: str, score: str) -> list[float]:
    """The chance level by seed, of the systems that are judged by this score."""
    systems = [c.system for c in table.columns if c.score == score]
    every = (index.seeds("clustering", data, system, None).values() for system in systems)
    by_seed = {r.run.seed: r.chance[score] for results in every for r in results}
    return list(by_seed.values())


def clustering_pairs(table: PaperTable, index: ResultIndex) -> Table:
    """The gain of the constraint seed by seed, and whether the loss tells the accuracy."""
    rows = []
    systems = {c.system for c in table.columns}
    for data in index.data_of(table):
        for one, other in PAIRS:
            if not {one, other} <= systems:
                continue
            both = index.pairs(data, one, other)
            d = paired_difference(*({s: r.scores["acc"] for s, r in f.items()} for f in both))
            if d is not None:
                low, high = map(percent, d.interval) if d.interval else ("", "")
                pair = f"{SYSTEMS[one].title} − {SYSTEMS[other].title}"
                r = [_correlation(f.values(), name) for name in UNSUPERVISED for f in both]
                rows.append([NAMES[data], pair, percent(d.mean), low, high, str(d.count), *r])
    columns = ["data", "gain in ACC", "mean", "low", "high", "pairs"]
    columns += [f"r {name} {side}" for name in UNSUPERVISED.values() for side in ("l2", "without")]
    note = (
        "Pairs have the same epochs and seed: initial weights, batches, k-means starts. low and "
        "high: 95 % interval of the mean (Student's t). r: correlation over seeds of ACC with what "
        "is known without labels, the reconstruction loss and the inertia of k-means; the paper "
        "picks its model by the first, it does not say among what. To pick by one helps where its "
        "r is near −1."
    )
    return Table(f"{table.name}-pairs", f"{table.title}: paired gain", columns, rows, note, 2)


def _correlation(results: Collection[Result], name: str) -> str:
    found = [(r.scores[name], r.scores["acc"]) for r in results if name in r.scores]
    r = correlation(*zip(*found, strict=True)) if found else None
    return "" if r is None else f"{r:.2f}"
