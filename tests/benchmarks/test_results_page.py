"""RESULTS.md and the tables of the READMEs say what the result files say."""

import json
from dataclasses import replace

import pytest

import findings_tables
import results_page
from l2ae_bench import kernel_tables, results
from l2ae_bench.comparison import Measurement
from l2ae_bench.machine import ROOT, Measurements
from l2ae_bench.rates import Ceilings
from l2ae_bench.text import screen
from l2ae_bench.work import Work
from l2ae_core.paper import read_results
from scores import Numbers

MACHINE = {
    "processor": "A Processor", "cores": 2, "vectors": "avx2", "blas": ["openblas 0.3 Haswell"],
    "system": "Linux", "python": "3.11", "versions": {"numpy": "2.0"}, "commit": "abc",
    "date": "2026-01-02",
}  # fmt: skip
STEP = Measurement(
    "step-cae-28", 1, 40.0, {"torch": 101.2, "torch-jit": 99.5}, 2.5, (2.4, 2.6), 1e-6
)
START = Measurement("start-cold", 1, 21_000.0, {})


@pytest.fixture(scope="module")
def texts():
    return results_page.texts(ROOT)


@pytest.mark.parametrize(
    "path", [results_page.PAGE, results_page.README, results_page.KERNELS], ids=str
)
def test_a_text_is_that_of_the_results(texts, path):
    """Red when somebody changes a number by hand, or results without the page."""
    assert (ROOT / path).read_text(encoding="utf-8") == texts[path], (
        "run benchmarks/results_page.py"
    )


def test_tables_have_at_most_eight_columns(texts):
    for line in texts[results_page.PAGE].splitlines():
        assert not line.startswith("|") or line.count(" | ") < 8, line


def test_a_claim_that_the_results_do_not_support_is_an_error():
    changed = [
        replace(r, scores=r.scores | {"acc": 0.5})
        if (r.run.data, r.run.system, r.run.seed) == ("usps", "cae-l2", 3)
        else r
        for r in read_results(ROOT / results_page.RUNS)
    ]
    with pytest.raises(ValueError, match="do not say that the constraint is ahead"):
        findings_tables.verdicts(Numbers(changed))


def test_the_speed_stands_beside_its_machine():
    (table,) = kernel_tables.speed(
        [{"step": Measurements(MACHINE, [STEP]), "start": Measurements(MACHINE, [START])}]
    )
    assert table.columns[2:] == ["target", "A Processor, avx2, 2 cores"]
    assert table.rows == [
        ["training step, convolutional, 28×28", "1", "≥ 2.5×",
         "40 ms; torch-jit 99.5; **2.50** (2.40–2.60)"],
        ["first step of a process, all to be compiled", "1", "≤ 6 s", "21,000 ms; missed"],
    ]  # fmt: skip
    assert "A Processor, 2 cores, vectors avx2" in table.note
    assert kernel_tables.speed([]) == []
    told = MACHINE | {"dense_tile": "12x2"}
    (table,) = kernel_tables.speed([{"step": Measurements(told, [STEP])}])
    assert "vectors avx2, dense tile 12x2, " in table.note


def test_a_processor_is_a_column():
    """Rows of the one without a row of the other: an empty cell."""
    slower = replace(STEP, ours_ms=50.0, ratio_best_peer=1.99, ratio_spread=(1.9, 2.0))
    other = MACHINE | {"cpu": "znver9", "date": "2026-03-01"}
    (table,) = kernel_tables.speed(
        [{"step": Measurements(other, [slower])},
         {"step": Measurements(MACHINE, [STEP, replace(STEP, threads=2)])}]
    )  # fmt: skip
    assert table.columns[3:] == ["A Processor znver9, avx2, 2 cores", "A Processor, avx2, 2 cores"]
    cells = [row[3:] for row in table.rows]
    assert cells[0][0] == "50 ms; torch-jit 99.5; **1.99** (1.90–2.00); missed"
    assert [bool(cell) for row in cells for cell in row] == [True, True, False, True]


def test_a_processor_that_was_told_to_use_amx_is_a_row():
    """Of what AMX makes another; all else is that of its other vectors."""
    dense, plain = replace(STEP, workload="step-dense"), MACHINE | {"vectors": "avx512"}
    amx = replace(dense, ours_ms=20.0, ratio_best_peer=4.0, ratio_spread=(3.9, 4.1))
    (table,) = kernel_tables.speed(
        [{"step": Measurements(MACHINE | {"vectors": "amx6"}, [replace(STEP, ours_ms=1.0), amx])},
         {"step": Measurements(plain, [STEP, dense])}]
    )  # fmt: skip
    assert table.columns[3:] == ["A Processor, avx512, 2 cores"]
    assert [row[0] for row in table.rows] == [
        "training step, convolutional, 28×28", "training step, dense, 28×28",
        "training step, dense, 28×28, `amx6`",
    ]  # fmt: skip
    assert [row[3].split(";")[0] for row in table.rows] == ["40 ms", "40 ms", "20 ms"]


def test_augmented_steps_are_told_as_times_the_plain_one():
    row = Measurement("step-cae-28-warped", 1, 42.0, {"plain": 40.0}, 0.95, (0.94, 0.96), 1e-6)
    (table,) = kernel_tables.augmented([{"augmented": Measurements(MACHINE, [row])}])
    assert table.rows == [["convolutional, 28×28, warped images", "1", "≤ 1.1 times as long",
                           "42 ms; plain 40; **1.05** (1.04–1.06)"]]  # fmt: skip
    assert "A Processor" in table.note
    assert kernel_tables.augmented([]) == []


def test_rungs_show_rates_and_the_share_of_the_peak():
    flop = 2 * 256 * 784 * 500
    rows = [
        Measurement("gflop-fma", 1, 10.0, {}, work=Work(1e9, 0.0)),  # 100 GFLOP/s
        Measurement("dense-784x500-blocked", 1, flop / 40e9 * 1e3,
            {"reference": flop / 20e9 * 1e3, "sgemm": flop / 80e9 * 1e3}),
        Measurement("dense-784x500-register", 1, flop / 60e9 * 1e3,
            {"reference": flop / 20e9 * 1e3, "blocked": flop / 40e9 * 1e3, "sgemm": 1.0}),
        Measurement("leaky_relu-14x14x32-blocked", 1, 1.0, {"reference": 2.0}),
    ]  # fmt: skip
    dense, elementwise, ceilings = kernel_tables.rungs(Measurements(MACHINE, rows))
    assert dense.columns == ["operation", "threads", "reference", "blocked", "register", "sgemm"]
    assert dense.rows[0][:2] == ["`dense` 784x500", "1"]
    shares = [cell.split(" ms, ")[1] for cell in dense.rows[0][2:5]]
    assert shares == ["20, 20 %", "40, 40 %", "60, 60 %"]
    assert elementwise.rows == [
        ["`leaky_relu` 14x14x32", "1", "2 ms, 6.42 GB/s", "1 ms, 12.8 GB/s"]
    ]
    assert ceilings.rows[0] == ["multiply-adds in registers", "100"]
    assert "share of the first ceiling." in ceilings.note
    triads = [
        Measurement(name, 1, 1e3 / rate, {}, work=Work(0.0, 1e9, "bytes"))
        for name, rate in (("triad-1MiB", 100), ("triad-16MiB", 25.6), ("triad-512MiB", 5))
    ]
    _, elementwise, ceilings = kernel_tables.rungs(Measurements(MACHINE, [*rows, *triads]))
    # 12.8 MB are read and written: they stay where the arrays of 16 MiB do
    assert elementwise.rows[0][2:] == ["2 ms, 6.42 GB/s, 25 %", "1 ms, 12.8 GB/s, 50 %"]
    assert ceilings.rows[-1] == ["triad-512MiB, GB/s", "5"]
    assert "share of a ceiling: the first, or for GB/s the triad" in ceilings.note


def test_screen_has_a_line_a_row():
    header, step, start = screen([STEP, START]).splitlines()
    assert header.split()[:2] == ["workload", "threads"]
    assert "torch-jit 99.5, torch 101" in step
    assert step.split()[-4:] == ["2.40–2.60", "≥", "2.5×", "met"]
    assert start.split()[-4:] == ["≤", "6", "s", "missed"]


def test_screen_has_rates_and_shares_in_their_units():
    fma = Measurement("gflop-fma", 1, 4.0, {}, work=Work(1e9, 0.0))
    triad = Measurement("triad-16MiB", 1, 50.0, {}, work=Work(0.0, 1e9, "bytes"))
    step = replace(STEP, work=Work(5e9, 1e6))  # in 40 ms
    update = Measurement("update", 1, 0.5, {}, work=Work(1e6, 5e6, "bytes"))
    ceilings = Ceilings([fma, triad])
    lines = screen([fma, triad, *(ceilings.shared(row) for row in (step, update))]).splitlines()
    assert lines[1].split() == ["gflop-fma", "1", "250", "GFLOP/s"]  # no time: it is a rate
    assert lines[2].split() == ["triad-16MiB", "1", "20", "GB/s"]
    assert lines[3].split()[:7] == ["step-cae-28", "1", "40", "125", "GFLOP/s", "50", "%"]
    assert lines[4].split() == ["update", "1", "0.5", "10", "GB/s", "50", "%"]
    assert "share: of the ceiling" in lines[6]


def test_rewrite_changes_nothing_but_the_region():
    text = "before\n<!-- t -->\nold\n<!-- /t -->\nafter\n"
    new = results_page.rewrite(text, "t", "| new |")
    assert new == "before\n<!-- t -->\n\n| new |\n\n<!-- /t -->\nafter\n"
    assert results_page.rewrite(new, "t", "| new |") == new
    with pytest.raises(ValueError, match="expected <!-- t --> and <!-- /t --> once each"):
        results_page.rewrite("<!-- t -->", "t", "")


def test_measurements_of_every_processor_are_kept(tmp_path):
    other, later = MACHINE | {"vectors": "avx512"}, MACHINE | {"date": "2026-03-01"}
    for machine in (other, MACHINE, later):  # the last two are one processor
        results.save(tmp_path, "step", Measurements(machine, [STEP]))
    results.save(tmp_path, "start", Measurements(other, [START]))
    assert results.read(tmp_path) == [
        {"step": Measurements(later, [STEP])},
        {"step": Measurements(other, [STEP]), "start": Measurements(other, [START])},
    ]
    assert [m.machine for m in results.with_part(results.read(tmp_path), "start")] == [other]
    path = tmp_path / results.RESULTS / "a-processor-avx512-2-cores" / "step.json"
    assert json.loads(path.read_text("utf-8")) == {"machine": other, "rows": [STEP.to_dict()]}
