"""Tables for the screen and the READMEs; the READMEs hold what the results say."""

import json

import pytest

from l2ae_bench import tables
from l2ae_bench.comparison import Measurement
from l2ae_bench.ladder import ladder
from l2ae_bench.machine import ROOT, Measurements
from l2ae_bench.tables import LADDER, README, speed
from l2ae_bench.text import screen
from l2ae_core.text import rewrite

STEP = Measurement(
    "step-cae-28", 1, 40.0, {"torch": 101.2, "torch-jit": 99.5}, 2.5, (2.4, 2.6), 1e-6
)
START = Measurement("start-cold", 1, 21_000.0, {})
MACHINE = {
    "processor": "A Processor", "cores": 2, "vectors": "avx2", "blas": ["openblas 0.3 Haswell"],
    "system": "Linux", "python": "3.11", "versions": {"numpy": "2.0"}, "commit": "abc",
    "date": "2026-01-02",
}  # fmt: skip


def test_screen_has_a_line_a_row():
    header, step, start = screen([STEP, START]).splitlines()
    assert header.split()[:2] == ["workload", "threads"]
    assert "torch-jit 99.5, torch 101" in step
    assert step.split()[-4:] == ["2.40–2.60", "≥", "2.5×", "met"]
    assert start.endswith("≤ 20 s  missed")


def test_the_speed_table_is_markdown_with_its_machine():
    text = speed({"step": Measurements(MACHINE, [STEP]), "start": Measurements(MACHINE, [START])})
    lines = text.splitlines()
    assert "| training step, convolutional, 28×28 | 1 | 40 ms |" in lines[2]
    assert "**2.50** (2.40–2.60) | ≥ 2.5× | met |" in lines[2]
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "A Processor, 2 cores, vectors avx2, BLAS openblas 0.3 Haswell, Linux" in lines[-1]
    assert "commit abc, 2026-01-02" in lines[-1]
    assert "`python benchmarks/run.py step start --tables`" in lines[-1]
    assert speed({}) == ""


def test_the_ladder_shows_rates_and_the_share_of_the_peak():
    flop = 2 * 256 * 784 * 500
    rows = [
        Measurement("gflop-fma", 1, 10.0, {}),  # 100 GFLOP/s
        Measurement("dense-784x500-blocked", 1, flop / 40e9 * 1e3,
            {"reference": flop / 20e9 * 1e3, "sgemm": flop / 80e9 * 1e3}),
        Measurement("dense-784x500-register", 1, flop / 60e9 * 1e3,
            {"reference": flop / 20e9 * 1e3, "blocked": flop / 40e9 * 1e3, "sgemm": 1.0}),
        Measurement("leaky_relu-14x14x32-blocked", 1, 1.0, {"reference": 2.0}),
    ]  # fmt: skip
    text = ladder(Measurements(MACHINE, rows))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[:4]]
    assert cells[0][3:] == ["reference", "blocked", "register", "sgemm"]
    assert cells[2][:3] == ["`dense`", "784x500", "1"]
    assert [cell.split(" ms, ")[1] for cell in cells[2][3:6]] == [
        "20, 20 %",
        "40, 40 %",
        "60, 60 %",
    ]
    assert cells[3][3:] == ["2 ms, 6.42 GB/s", "1 ms, 12.8 GB/s", "", ""]
    assert "Ceilings in GFLOP/s at 1 threads: multiply-adds in registers 100." in text
    assert ladder(None) == ""


def test_rewrite_changes_nothing_but_the_region():
    text = "before\n<!-- t -->\nold\n<!-- /t -->\nafter\n"
    new = rewrite(text, "t", "| new |")
    assert new == "before\n<!-- t -->\n\n| new |\n\n<!-- /t -->\nafter\n"
    assert rewrite(new, "t", "| new |") == new
    assert rewrite(new, "t", "") == "before\n<!-- t -->\n<!-- /t -->\nafter\n"
    with pytest.raises(ValueError, match="expected <!-- t --> and <!-- /t --> once each"):
        rewrite("<!-- t -->", "t", "")


def test_results_become_tables_of_a_checkout(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / tables.RESULTS).mkdir(parents=True)
    for path, region in tables.REGIONS.items():
        (tmp_path / path).write_text(f"text\n<!-- {region} -->\n<!-- /{region} -->\n", "utf-8")
    tables.save(tmp_path, "step", Measurements(MACHINE, [STEP]))
    value = json.loads((tmp_path / tables.RESULTS / "bench-step.json").read_text("utf-8"))
    assert value == {"machine": MACHINE, "rows": [STEP.to_dict()]}
    assert tables.read(tmp_path) == {"step": Measurements(MACHINE, [STEP])}
    tables.write_readmes(tmp_path)
    assert "convolutional, 28×28" in (tmp_path / README).read_text("utf-8")
    assert "convolutional" not in (tmp_path / LADDER).read_text("utf-8")
    assert tables.readmes(tmp_path)[README] == (tmp_path / README).read_text("utf-8")


def test_the_readmes_hold_the_committed_results():
    """Red when somebody changes a number by hand, or results without `benchmarks/tables.py`."""
    for path, text in tables.readmes(ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, (
            f"{path}: run benchmarks/tables.py"
        )
