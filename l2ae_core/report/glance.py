"""The first part of the page: one number for each pair of systems, and what it stands beside."""

from collections.abc import Iterable, Sequence

from l2ae_core.paper.index import NAMES, ResultIndex
from l2ae_core.paper.published import DIGITS, PAIRS, TABLES
from l2ae_core.paper.result import Result
from l2ae_core.paper.statistics import summarize
from l2ae_core.paper.tables.detection import means_by_digit
from l2ae_core.report.evidence import PLAIN, percentage, title
from l2ae_core.report.markup import Markup, element, tile
from l2ae_core.tables import ranges


def glance(results: Sequence[Result]) -> list[Markup]:
    """One tile for each pair of systems: the constraint, without it, the paper, chance.

    Both sides have the same epochs and seeds, as in the tables of gains.
    """
    index = ResultIndex(results)
    tiles = [_accuracy_tile(data, one, index) for data in NAMES for one, _ in PAIRS]
    tiles += [_auc_tile(data, index) for data in NAMES]
    found = [tile for tile in tiles if tile]
    return [element("dl", *found, class_="glance")] if found else []


def _accuracy_tile(data: str, system: str, index: ResultIndex) -> Markup:
    """Means over the seeds that both have; empty without one."""
    with_l2, without = index.pairs(data, system, PLAIN[system])
    seeds = with_l2.keys() & without.keys()
    if not seeds:
        return Markup("")
    ours, plain = (
        summarize([side[s].scores["acc"] for s in seeds]).mean for side in (with_l2, without)
    )
    paper = [_paper(data, s) for s in (system, PLAIN[system])]
    chance = summarize([with_l2[s].chance["acc"] for s in seeds]).mean
    beside = [f"without it {percentage(plain)}", f"chance {percentage(chance)}"]
    if paper[0] is not None and paper[1] is not None:
        beside.insert(1, f"the paper {percentage(paper[0])}, without it {percentage(paper[1])}")
    counted = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
    return tile(f"{NAMES[data]}, accuracy of {title(system)}, {counted}", percentage(ours),
                 beside)  # fmt: skip


def _paper(data: str, system: str) -> float | None:
    """Return the paper's accuracy of a system."""
    columns = [c for t in TABLES.values() for c in t.columns if c.system == system]
    return next((c.paper[data] for c in columns if data in c.paper), None)


def _auc_tile(data: str, index: ResultIndex) -> Markup:
    """Means over digits of means over the partitions that both have; empty without one."""
    both = {d: index.pairs(data, "cae-l2", "cae", "detection", d) for d in DIGITS}
    l2, error = (means_by_digit(both, 0, f"{score}.auc") for score in ("cosine", "reconstruction"))
    plain = means_by_digit(both, 1, "cosine.auc")
    if not l2:
        return Markup("")
    mean = [f"{summarize(list(found.values())).mean:.3f}" for found in (l2, plain, error)]
    paper = _paper_auc(data, l2)
    beside = [f"without it {mean[1]}", *paper, f"by reconstruction error {mean[2]}", "chance 0.500"]
    return tile(f"{NAMES[data]}, AUC of CAE-l2, mean over anomalies {ranges(l2)}", mean[0], beside)


def _paper_auc(data: str, digits: Iterable[int]) -> list[str]:
    """What the paper has for the same digits, in words."""
    if data not in TABLES["table4"].data:
        return []
    by_system = {c.system: c.paper for c in TABLES["table4"].columns if c.score == "cosine"}
    l2, plain = (summarize([by_system[s][d] for d in digits]).mean for s in ("cae-l2", "cae"))
    return [f"the paper {l2:.3f}, without it {plain:.3f}"]
