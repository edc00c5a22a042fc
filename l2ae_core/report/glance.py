"""The first part of the page: one number for each pair of systems, and what it stands beside."""

from collections.abc import Mapping, Sequence

from l2ae_core.experiments.finder import NAMES
from l2ae_core.experiments.paper import PAIRS, TABLES
from l2ae_core.experiments.run import Result
from l2ae_core.experiments.statistics import summarize
from l2ae_core.report.evidence import PLAIN, of_task, percentage, title
from l2ae_core.report.markup import Markup, element
from l2ae_core.text import ranges


def glance(results: Sequence[Result]) -> list[Markup]:
    """One tile for each pair of systems: the constraint, without it, the paper, chance."""
    tiles = []
    for data, systems in of_task(results, "clustering").items():
        for one, other in PAIRS:
            if one in systems and other in systems:
                tiles.append(_accuracy_tile(data, one, systems[one], systems[other]))
    for data, systems in of_task(results, "detection").items():
        if {"cae-l2", "cae"} <= systems.keys():
            tiles.append(_auc_tile(data, systems))
    return [element("dl", *tiles, class_="glance")] if tiles else []


def _accuracy_tile(data: str, system: str, with_l2: list[Result], without: list[Result]) -> Markup:
    ours, plain = (summarize([r.scores["acc"] for r in rs]).mean for rs in (with_l2, without))
    paper = [_paper(data, s) for s in (system, PLAIN[system])]
    chance = summarize([r.chance["acc"] for r in with_l2]).mean
    beside = [f"without it {percentage(plain)}", f"chance {percentage(chance)}"]
    if paper[0] is not None and paper[1] is not None:
        beside.insert(1, f"the paper {percentage(paper[0])}, without it {percentage(paper[1])}")
    seeds = f"{len(with_l2)} seed{'s' if len(with_l2) > 1 else ''}"
    return _tile(f"{NAMES[data]}, accuracy of {title(system)}, {seeds}", percentage(ours),
                 beside)  # fmt: skip


def _paper(data: str, system: str) -> float | None:
    """Return the paper's accuracy of a system."""
    columns = [c for t in TABLES.values() for c in t.columns if c.system == system]
    return next((c.paper[data] for c in columns if data in c.paper), None)


def _auc_tile(data: str, systems: Mapping[str, list[Result]]) -> Markup:
    def mean(system: str, score: str) -> float:
        values = [r.score(score) for r in systems[system]]
        return summarize([v for v in values if v is not None]).mean

    digits = ranges(r.config["digit"] for r in systems["cae-l2"])
    beside = [
        f"without it {mean('cae', 'cosine.auc'):.3f}",
        f"by reconstruction error {mean('cae-l2', 'reconstruction.auc'):.3f}",
        "chance 0.500",
    ]
    return _tile(f"{NAMES[data]}, AUC of CAE-l2, mean over anomalies {digits}",
                 f"{mean('cae-l2', 'cosine.auc'):.3f}", beside)  # fmt: skip


def _tile(name: str, value: str, beside: Sequence[str]) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="value"),
        *(element("dd", line, class_="beside") for line in beside),
    )
