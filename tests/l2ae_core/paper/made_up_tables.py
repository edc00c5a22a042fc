"""Made-up results, and what a table of them holds."""

from dataclasses import replace
from typing import Any

from l2ae_core.paper import Result, Run
from l2ae_core.paper.published import DIGITS
from l2ae_core.paper.result import ClusteringDetails, Count, DetectionDetails, Roc
from l2ae_core.paper.tables import Table, paper_tables

from .small_runs import made_up

EPOCHS = 7
CHANCE = {"acc": 0.1234, "nmi": 0.0021, "ari": -1e-6}


def counted(confusion: list[list[int]], classes: list[int]) -> ClusteringDetails:
    return ClusteringDetails(images=10, confusion=confusion, classes=classes)


UNCOUNTED = counted([[5], [5]], [0, 1])  # fewer clusters than classes: no worst pair


def clustering(
    system: str, seed: int, acc: float, data: str = "usps", epochs: int = EPOCHS, **scores: Any
) -> Result:
    found: dict[str, float] = {"acc": acc, "nmi": acc / 2, "ari": acc / 3, "inertia": 100 + acc}
    found["reconstruction_mse"] = (1 - acc) / 10
    run = Run("clustering", system, data, seed, 0 if system == "pixels" else epochs)
    return replace(made_up(run), scores=found | scores, chance=CHANCE, details=UNCOUNTED)


def detection(
    system: str, digit: int, seed: int, aucs: dict[str, float], data: str = "mnist"
) -> Result:
    scores = {f"{name}.auc": auc for name, auc in aucs.items()}
    scores |= {f"{name}.auprc": auc / 2 for name, auc in aucs.items()}
    run = Run("detection", system, data, seed, EPOCHS, digit)
    chance = {"auc": 0.5, "auprc": 0.09 + digit / 1000}
    roc = Roc([0.0, 1.0], {name: [0.0, 1.0] for name in aucs})
    details = DetectionDetails(images=Count(9, 8), anomalies=Count(0, 1), roc=roc)
    return replace(made_up(run), scores=scores, chance=chance, details=details)


def named(results: list[Result], name: str) -> Table:
    (table,) = (t for t in paper_tables(results) if t.name == name)
    return table


def rows(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def row(table: Table, **cells: str) -> dict[str, str]:
    (found,) = (r for r in rows(table) if all(r[k] == v for k, v in cells.items()))
    return found


ACCS = {"cae": (0.71, 0.7433, 0.7512), "cae-l2": (0.91, 0.8877, 0.9259)}
SOME = [
    clustering(s, seed, a, **{"post_hoc_l2.acc": a - 0.05, "post_hoc_l2.nmi": a / 4})
    for s, accs in ACCS.items()
    for seed, a in enumerate(accs)
]
AUCS = {"cae": {"cosine": 0.81}, "cae-l2": {"cosine": 0.91, "reconstruction": 0.61}}
DETECTED = [
    detection(system, digit, seed, {k: v + digit / 1000 + seed / 100 for k, v in aucs.items()})
    for system, aucs in AUCS.items() for digit in DIGITS for seed in (0, 1)
]  # fmt: skip


def columns(results: list[Result], name: str) -> dict[str, dict[str, str]]:
    """The columns of all parts of a table: head → name of the row → cell."""
    found: dict[str, dict[str, str]] = {}
    for table in paper_tables(results):
        if table.name.startswith(f"{name}-") and table.name.removeprefix(f"{name}-").isdigit():
            names, *others = zip(table.columns, *table.rows, strict=True)
            assert names[0] == "anomaly"
            for head, *cells in others:
                assert head not in found or head == "chance"
                found[head] = dict(zip(names[1:], cells, strict=True))
    return found
