"""The paper's numbers, typed a second time from its text, row by row as it prints them."""

import numpy as np
import pytest

from l2ae_core.paper import SYSTEMS
from l2ae_core.paper.published import DIGITS, PAIRS, TABLES, Column

CLUSTERING = {  # percent
    "table1": """
              ae     dec    idec   ae-l2
        mnist 81.43  86.55  88.06  90.20""",
    "table2": """
              cae     dcec   cae-l2
        mnist 84.83   88.97  95.11
        usps  73.521  79.00  91.35""",
    "table3": """
              cae-bn  cae-ln  cae-l2
        mnist 70.67   70.83   95.11
        usps  74.95   75.263  91.35""",
}
DETECTION = {
    "table4": """
          cae-l2.reconstruction cae.cosine cae-l2.cosine
        0 0.7025 0.7998 0.9615
        1 0.0782 0.8871 0.9673
        2 0.879  0.7512 0.9790
        3 0.8324 0.8449 0.9382
        4 0.7149 0.4988 0.7825
        5 0.8359 0.7635 0.9136
        6 0.6925 0.7896 0.9497
        7 0.5767 0.7421 0.9100
        8 0.8912 0.9200 0.9237
        9 0.514  0.8944 0.7495""",
    "table5": """
          ae-clean.reconstruction vae-200-gaussian.probability cae-l2.cosine
        0 0.825 0.917 0.9615
        1 0.135 0.136 0.9673
        2 0.874 0.921 0.9790
        3 0.761 0.781 0.9382
        4 0.727 0.808 0.7825
        5 0.792 0.862 0.9136
        6 0.812 0.848 0.9497
        7 0.508 0.596 0.9100
        8 0.869 0.895 0.9237
        9 0.548 0.545 0.7495""",
}


MEANS = {  # over the digits, to four places
    ("table4", "cae-l2", "cosine"): 0.9075,
    ("table4", "cae", "cosine"): 0.7891,
    ("table4", "cae-l2", "reconstruction"): 0.6717,
    ("table5", "vae-200-gaussian", "probability"): 0.7309,
    ("table5", "ae-clean", "reconstruction"): 0.6851,
    ("table5", "cae-l2", "cosine"): 0.9075,
}


def column(table: str, system: str, score: str) -> Column:
    (found,) = (c for c in TABLES[table].columns if (c.system, c.score) == (system, score))
    return found


def typed(text: str) -> tuple[list[str], dict[str, list[float]]]:
    head, *lines = (line.split() for line in text.strip().splitlines())
    return head, {row[0]: [float(number) for number in row[1:]] for row in lines}


@pytest.mark.parametrize("table", CLUSTERING)
def test_accuracies_are_those_of_the_paper(table: str) -> None:
    systems, rows = typed(CLUSTERING[table])
    for i, system in enumerate(systems):
        found = {k: round(100 * v, 6) for k, v in column(table, system, "acc").paper.items()}
        assert found == {data: numbers[i] for data, numbers in rows.items()}
    assert tuple(rows) == TABLES[table].data
    assert {c.system for c in TABLES[table].columns if c.paper} == set(systems)


@pytest.mark.parametrize("table", DETECTION)
def test_aucs_are_those_of_the_paper(table: str) -> None:
    names, rows = typed(DETECTION[table])
    for i, name in enumerate(names):
        found = column(table, *name.split("."))
        assert found.paper == {int(digit): numbers[i] for digit, numbers in rows.items()}
    assert [f"{c.system}.{c.score}" for c in TABLES[table].columns if c.paper] == names


@pytest.mark.parametrize(("where", "expected"), MEANS.items())
def test_means_over_the_digits(where: tuple[str, str, str], expected: float) -> None:
    numbers = column(*where).paper
    assert tuple(numbers) == DIGITS
    assert np.mean(list(numbers.values())) == pytest.approx(expected, abs=5e-5)


def test_epochs_are_those_of_the_paper() -> None:
    assert {t.name: t.epochs for t in TABLES.values() if t.name != "beyond"} == {
        "table1": 100, "table2": 200, "table3": 200, "table4": 200, "table5": 100,
    }  # fmt: skip


def test_runs_of_dense_networks_are_named_by_their_slope() -> None:
    """A setting without a name has the default of the day, and a name outlives it."""
    for name, system in SYSTEMS.items():
        network = SYSTEMS[system.start] if system.start else system
        if network.settings.get("model") == "dense":
            slope = 0.3 if name.endswith("-keras-slope") or name == "ae-clean" else 0.01
            assert system.settings["slope"] == network.settings["slope"] == slope, name


def test_pairs_differ_by_the_constraint_alone() -> None:
    for one, other in PAIRS:
        a, b = SYSTEMS[one], SYSTEMS[other]
        assert a.settings | {"norm": "none"} == b.settings
        assert a.settings["norm"] == "l2"
        assert (a.method, a.normals_only, a.start) == (b.method, b.normals_only, b.start)
