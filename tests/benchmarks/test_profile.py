"""The part `profile`: every stage is in the table, shares make a whole, what is chosen is timed."""

import json

import pytest

from l2ae_bench.command import main
from l2ae_bench.comparison import Measurement
from l2ae_bench.profile import command
from l2ae_bench.profile.measure import networks, profile
from l2ae_bench.profile.show import figure, table
from l2ae_bench.work import FMA, GIGA, Work
from l2ae_kernels.cpu.codegen.vectors import get_vectors

pytestmark = pytest.mark.skipif(get_vectors() is None, reason="no emitted kernels here")


@pytest.fixture(scope="module")
def of_16():
    return profile("step-cae-16", 1, 1)


def test_shares_make_a_whole_and_rates_are_of_the_plain_products(of_16):
    assert sum(e.share for e in of_16.entries) == pytest.approx(1)
    assert all(sum(e.kernels.values()) == pytest.approx(e.ms) for e in of_16.entries)
    forward = {e.stage: e for e in of_16.entries if e.what == "forward"}
    flop = 2 * 256 * 4 * 4 * 64 * 5 * 5 * 32  # of a 5×5 kernel at stride 2
    assert forward["encoder.2 conv 8×8×32 → 4×4×64"].work.flop == flop


def test_the_table_has_every_stage(of_16):
    text = table(of_16)
    for stage in (
        "conv 16×16×1 → 8×8×32",
        "dense 512 → 10",
        "normalize l2 10",
        "transposed 8×8×32",
    ):
        assert stage in text
    assert "adjoint in W" in text
    assert "GFLOP/s" in text


def test_the_figure_has_a_bar_a_stage(of_16):
    (ax,) = figure([of_16]).axes
    stages = {e.stage or "all stages" for e in of_16.entries}
    assert {t.get_text() for t in ax.get_yticklabels()} == stages
    assert sum(p.get_width() for p in ax.patches) == pytest.approx(sum(e.ms for e in of_16.entries))


def test_networks_without_a_compiled_step_are_left_out():
    assert "step-cae-28" in networks()


@pytest.mark.slow
def test_rows_and_figure_are_written(tmp_path, monkeypatch, capsys):
    ceilings = [Measurement(FMA, 1, 10.0, {}, work=Work(GIGA, 0.0)),
                Measurement("triad-1MiB", 1, 50.0, {}, work=Work(0.0, GIGA, "bytes"))]  # fmt: skip
    monkeypatch.setattr(command.peak, "rows", lambda *_: ceilings)  # they take ten seconds
    out, drawn = tmp_path / "rows.json", tmp_path / "profile.png"
    arguments = ["profile", "-k", "cae-16", "--quick", "--quiet", "--threads", "1"]
    assert main([*arguments, "--json", str(out), "--figure", str(drawn)]) == 0
    (row,) = json.loads(out.read_text())["profiles"]
    assert row["network"] == "step-cae-16"
    for e in row["entries"]:
        if e["ceiling"] == FMA:
            assert e["reached"] == pytest.approx(e["work"]["flop"] / e["ms"] / 1e6 / 100)
    assert {e["ceiling"] for e in row["entries"]} == {FMA, "triad-1MiB", None}
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert "of the ceiling" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "step"], "argument PART: profile is measured alone"),
        (["profile", "--tables"], "argument --tables: is not for profile"),
        (["step", "--figure", "x.png"], "argument --figure: is for profile"),
    ],
)
def test_a_wrong_command_line_names_the_argument(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
