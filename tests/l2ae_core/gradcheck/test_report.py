"""The ranked tables and the command."""

import numpy as np
import pytest

from l2ae_core.gradcheck import GradientError, Report, Row
from l2ae_core.gradcheck.cases import FunctionCase
from l2ae_core.gradcheck.command import main
from l2ae_core.gradcheck.suite import CASES, select


def test_the_report_ranks_the_worst_first_and_fits_100_columns(rng) -> None:
    report = Report(
        "toy",
        (
            Row("a", "central", "ok", relative_error=1e-9, checked=1),
            Row("b", "central", "UNCLEAR", kinks=3),
            Row("c", "central", "WRONG", "hint " * 40, (1, 2), None, 1.0, 2.0, 0.5, 1.0, 4, 2),
            Row("d", "central", "WRONG", relative_error=0.9, checked=1),
        ),
    )
    assert [row.block for row in report.rows] == ["d", "c", "b", "a"]
    assert max(map(len, str(report).splitlines())) <= 100
    with pytest.raises(GradientError, match="toy: NOT OK") as caught:
        report.raise_if_bad()
    assert isinstance(caught.value, AssertionError)


def test_an_empty_report_and_a_block_nobody_compared_are_not_ok() -> None:
    assert not Report("nothing", ()).ok
    assert not Report("skipped", (Row("x", "complex", "skipped"),)).ok


@pytest.mark.slow
def test_tables_of_the_suite_fit_100_columns(capsys) -> None:
    assert main(["cae/l2-hidden-batch", "conv2d/5x5-s2-same"]) == 0
    printed = capsys.readouterr().out
    assert "decoder.0.W" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_names_select_families_and_cases() -> None:
    assert select(["Conv2D"]) == [name for name in CASES if name.startswith("conv2d/")]
    assert select(["relu/kinks", "relu"]) == ["relu/kinks", "relu/plain"]
    assert select(None) == list(CASES)


def test_the_command_returns_1_for_a_wrong_layer_and_2_for_an_unknown_one(
    monkeypatch, capsys
) -> None:
    assert main(["dropout"]) == 2
    assert "no layer 'dropout'; expected one of dense, conv2d" in capsys.readouterr().err
    x = np.random.default_rng(0).standard_normal((3, 4))
    wrong = FunctionCase(lambda x: (x * x).sum(), lambda x: x, x)
    monkeypatch.setitem(CASES, "dense", lambda rng: wrong)
    assert main(["dense", "identity"]) == 1
    assert "1 of 2 are NOT OK" in capsys.readouterr().out
