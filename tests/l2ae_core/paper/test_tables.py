"""What all tables of results have in common."""

from dataclasses import replace

import pytest

from l2ae_core.paper import Run
from l2ae_core.paper.index import ResultIndex
from l2ae_core.paper.published import TABLES
from l2ae_core.paper.tables import Table, paper_tables, percent

from .made_up_tables import DETECTED, EPOCHS, SOME


def test_no_result_makes_no_table() -> None:
    assert paper_tables([]) == []
    assert [t.name for t in paper_tables(SOME)] == [
        "table2", "table2-pairs", "table2-picks", "table3",
    ]  # fmt: skip
    assert [t.name for t in paper_tables(SOME, ["table3"])] == ["table3"]


def test_results_that_no_table_tells_apart_are_refused() -> None:
    run = Run("clustering", "cae", "usps", 0, EPOCHS, n_init=5)
    other = replace(SOME[0], run=run)
    with pytest.raises(ValueError, match=r"cae on usps, seed 0, but have n_init 20 and 5") as e:
        ResultIndex([*SOME, other])
    assert other.id in str(e.value)
    assert SOME[0].id in str(e.value)
    ResultIndex([*SOME, SOME[0]])


@pytest.mark.parametrize("made", [paper_tables([*SOME, *DETECTED])])
def test_both_kinds_of_text_have_every_cell(made: list[Table]) -> None:
    assert {t.name.split("-")[0] for t in made} == set(TABLES) - {"table1", "beyond"}
    for table in made:
        for text in (table.screen(), table.markdown()):
            assert table.title in text
            assert table.note in text
            for line in table.rows:
                assert any(all(cell in shown for cell in line) for shown in text.splitlines())
            assert all(part in text for head in table.columns for part in head.split(", "))
        lines = table.markdown().splitlines()
        assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.73521, "73.52"), (1, "100.00"), (-1e-6, "0.00"), (-0.123, "-12.30"), (0, "0.00")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_percent_of_no_number_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        percent(share)
