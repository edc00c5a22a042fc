"""Tables I to III: a row a system, and what the constraint adds seed by seed."""

from collections.abc import Collection, Iterable
from itertools import product

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
            if values:
                rows.append([NAMES[data], name, "", *_spread(values), "", str(len(values)), ""])
    columns = ["data", "system", "paper", "ACC", "min – max", "NMI", "seeds × epochs",
               "worst pair"]  # fmt: skip
    note = (
        f"{table.note} Shares in percent; mean ± sample standard deviation over seeds. Worst pair: "
        "the two classes that are told apart least, and of their images in the clusters of either, "
        "the share that is in its own (a coin: 50), mean over seeds."
    )
    return Table(table.name, table.title, columns, rows, note.strip(), 2)


def _clustering_row(
    data: str, column: Column, scores: dict[int, float], index: ResultIndex
) -> list[str]:
    paper = percent(column.paper[data]) if data in column.paper else ""
    if not scores:
        return [NAMES[data], column.title, paper, *[""] * 5]
    # "post_hoc_l2.acc" has "post_hoc_l2.nmi"; the many-to-one accuracy of GMVAE has the plain one
    name = column.score.replace("acc", "nmi") if column.score.endswith("acc") else "nmi"
    nmi = index.scores("clustering", data, column.system, name)
    results = list(index.seeds("clustering", data, column.system, None).values())
    epochs = results[0].run.epochs
    return [
        NAMES[data],
        column.title,
        paper,
        *_spread(scores.values()),
        percent(summarize(list(nmi.values())).mean) if nmi else "",
        f"{len(scores)} × {epochs}" if epochs else str(len(scores)),
        _worst_pair(results) if column.score == "acc" else "",
    ]


def _worst_pair(results: Iterable[Result]) -> str:
    """The two classes that are told apart least, and how well they are."""
    counted = [r.details for r in results if isinstance(r.details, ClusteringDetails)]
    found = worst_pair([np.array(d.confusion) for d in counted])
    if found is None:
        return ""
    i, j, share = found
    classes = counted[0].classes
    return f"{classes[i]}/{classes[j]}: {percent(share)}"


def _spread(values: Iterable[float]) -> list[str]:
    """Mean ± sd, min – max; one value has no spread."""
    s = summarize(list(values))
    if s.count == 1:
        return [percent(s.mean), ""]
    return [f"{percent(s.mean)} ± {percent(s.sd)}", f"{percent(s.least)} – {percent(s.most)}"]


def _chance(index: ResultIndex, table: PaperTable, data: str, score: str) -> list[float]:
    """The chance level by seed, of the systems that are judged by this score."""
    systems = [c.system for c in table.columns if c.score == score]
    every = (index.seeds("clustering", data, system, None).values() for system in systems)
    by_seed = {r.run.seed: r.chance[score] for results in every for r in results}
    return list(by_seed.values())


def clustering_pairs(table: PaperTable, index: ResultIndex) -> list[Table]:
    """The gain of the constraint seed by seed, and whether the loss tells the accuracy."""
    gains, picks = [], []
    systems = {c.system for c in table.columns}
    for data, pair in product(index.data_of(table), PAIRS):
        both = index.pairs(data, *pair)
        d = paired_difference(*({s: r.scores["acc"] for s, r in f.items()} for f in both))
        if d is None or not {*pair} <= systems:
            continue
        titles = [SYSTEMS[system].title for system in pair]
        low, high = map(percent, d.interval) if d.interval else ("", "")
        gains.append([NAMES[data], " − ".join(titles), percent(d.mean), low, high, str(d.count)])
        for title, found in zip(titles, both, strict=True):
            r = [_correlation(found.values(), name) for name in UNSUPERVISED]
            picks.append([NAMES[data], title, *r, str(len(found))])
    gain_note = (
        "Pairs have the same epochs and seed: initial weights, batches, k-means starts. low and "
        "high: 95 % interval of the mean (Student's t)."
    )
    pick_note = (
        "r: correlation over seeds of ACC with what is known without labels, the reconstruction "
        "loss and the inertia of k-means; the paper picks its model by the first, it does not say "
        "among what. To pick by one helps where its r is near −1."
    )
    columns = ["data", "gain in ACC", "mean", "low", "high", "pairs"]
    pick_columns = ["data", "system", *(f"r {name}" for name in UNSUPERVISED.values()), "seeds"]
    name, title = table.name, table.title
    return [
        Table(f"{name}-pairs", f"{title}: paired gain", columns, gains, gain_note, 2),
        Table(f"{name}-picks", f"{title}: picking without labels", pick_columns, picks, pick_note,
              2),
    ]  # fmt: skip


def _correlation(results: Collection[Result], name: str) -> str:
    found = [(r.scores[name], r.scores["acc"]) for r in results if name in r.scores]
    r = correlation(*zip(*found, strict=True)) if found else None
    return "" if r is None else f"{r:.2f}"
