"""`l2ae reproduce` as a user meets it, and which runs it asks for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.cli import main
from l2ae_core.paper import SYSTEMS, Run, figure1, read_results, schedule
from l2ae_core.paper.command import describe
from l2ae_core.paper.methods import refined
from l2ae_core.paper.published import TABLES, runs_of
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.tables import percent

from .small_runs import made_up

SHORT = ("--data", "digits", "--epochs", "1")
FEW = (*SHORT, "--systems", "cae", "cae-l2", "pixels")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems of Table II on the digits, two seeds."""
    out = tmp_path_factory.mktemp("results")
    assert main(["reproduce", "table2", *FEW, "--seeds", "2", "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, to do a run is a failure."""

    def fail(*_: object) -> None:
        raise AssertionError("a run was done")

    monkeypatch.setattr(schedule, "do", fail)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_second_call_runs_nothing_and_prints_what_is_there(
    results: Path, no_run: None, capsys: Capture
) -> None:
    files = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    call = ["reproduce", "table2", *FEW, "--seeds", "2", "--out", str(results)]
    assert main(call) == 0
    shown = capsys.readouterr()
    assert "reproduce: 0 of 6 runs missing\n" in shown.err
    assert "6 runs, 0.0 hours of training" in shown.err
    assert main([*call, "--show", "--quiet"]) == 0
    assert capsys.readouterr().out == shown.out
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == files


def test_the_printed_numbers_are_those_of_the_results(
    results: Path, no_run: None, capsys: Capture
) -> None:
    assert main(["reproduce", "table2", "--show", "--markdown", "--out", str(results)]) == 0
    out = capsys.readouterr().out
    lines = [cells(line) for line in out.splitlines() if line.startswith("| digits")]
    found = {line[1]: line for line in lines}
    for system, title in (("cae", "CAE, k-means"), ("pixels", "k-means on pixels")):
        accs = [r.scores["acc"] for r in read_results(results) if r.run.system == system]
        assert len(accs) == 2
        assert found[title][3].startswith(f"{percent(sum(accs) / 2)} ±")
        assert found[title][4] == f"{percent(min(accs))} – {percent(max(accs))}"
    assert set(found["DCEC"][2:]) == {""}
    assert found["chance"][3]
    assert "CAE-l2 − CAE" in out
    assert "**Table II" in out


def test_the_whole_of_a_table_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """With what no one asked for by name: DCEC goes on from CAE."""
    plain = refined.settings
    monkeypatch.setattr(refined, "settings", lambda run: replace(plain(run), max_iter=2))
    assert main(["reproduce", "table2", *SHORT, "--out", str(tmp_path / "new")]) == 0
    shown = capsys.readouterr()
    said = "reproduce: 5 of 5 runs missing: cae, cae-l2, dcec, dcec-l2 on digits, 1 epoch, seed 0; "
    said += "pixels on digits, seed 0\n"
    assert shown.err.startswith(said)
    assert "\n5 of 5 runs, done: " in shown.err
    table = [line for line in shown.out.splitlines() if line.startswith("digits  ")]
    assert "1 × 1" in next(line for line in table if "DCEC" in line)  # seeds × epochs
    assert len(read_results(tmp_path / "new")) == 5


def test_detection_from_nothing(tmp_path: Path, capsys: Capture) -> None:
    options = [*SHORT, "--systems", "pixels", "pca", "--digits", "6", "0", "--out", str(tmp_path)]
    assert main(["reproduce", "table4", *options, "--quiet"]) == 0
    shown = capsys.readouterr()
    for name in ("digits, AUC", "digits, AUPRC"):
        assert f"Table IV: anomaly detection with convolutional auto-encoders, {name}" in shown.out
    (pixels,) = (r for r in read_results(tmp_path)
                 if (r.run.system, r.run.digit) == ("pixels", 6))  # fmt: skip
    row = next(line for line in shown.out.splitlines() if line.startswith("6 ")).split()
    assert row[1] == f"{pixels.scores['euclidean.auc']:.3f}"
    assert len(row) == 3  # and PCA


def test_an_empty_folder_has_nothing_to_show(tmp_path: Path, no_run: None, capsys: Capture) -> None:
    for out in (tmp_path, tmp_path / "nowhere"):
        assert main(["reproduce", "table1", "table4", "--show", "--out", str(out)]) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        assert f"table1: {out} has no result of it yet\ntable4: {out} has no" in shown.err
    assert not (tmp_path / "nowhere").exists()


def test_figure1_is_drawn_from_the_networks_that_are_there(
    results: Path, no_run: None, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    asked: list[Any] = []

    def draw(folder: ResultsDir, *how: Any, fourth_epochs: int | None, progress: bool) -> Path:
        asked.append((*how, fourth_epochs))
        return folder.path / "figure1-digits.png"

    monkeypatch.setattr(figure1, "figure1", draw)
    assert main(["reproduce", "figure1", *SHORT, "--out", str(results)]) == 0
    shown = capsys.readouterr()
    assert asked == [("digits", 0, 1, None)]
    assert shown.out == f"{results / 'figure1-digits.png'}\n"
    assert "reproduce: 0 of 2 runs missing" in shown.err
    monkeypatch.setattr(schedule, "run_missing", lambda runs, *_, **__: asked.append(runs))
    assert main(["reproduce", "figure1", *SHORT, "--fourth-panel", "--out", str(results)]) == 0
    systems = ("cae-l2", "cae", "cae-l2-warp-self")
    runs = [Run("clustering", system, "digits", 0, 1) for system in systems]
    assert asked[1:] == [runs, ("digits", 0, 1, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["table2", "--systems", "cea"],
            "no system 'cea'; expected one of ae, ae-l2",
        ),
        (
            ["table2", "--systems", "cae", "ae"],
            "table2 has no system 'ae'; expected one of cae, dc",
        ),
        (["table2", "--fourth-panel"], "--fourth-panel is for figure1"),
        (["figure1", "--systems", "ae"], "figure1 has no system 'ae'"),
        (["table4", "--digits", "3", "10"], "digit 10 is none of 0 … 9"),
        (["table2", "--seeds", "0"], "seeds is 0 but expected at least 1"),
        (["table2", "--epochs", "0"], "epochs is 0 but expected at least 1"),
        (["figure1", "--epochs", "0"], "epochs is 0 but expected at least 1"),
        (["table2", "--jobs", "0"], "jobs is 0 but expected at least 1"),
    ],
)
def test_bad_values_are_one_line_and_status_one(
    options: list[str], message: str, tmp_path: Path, no_run: None, capsys: Capture
) -> None:
    assert main(["reproduce", *options, "--quiet", "--out", str(tmp_path / "x")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("l2ae: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_table_wants_every_system_of_its_columns_once() -> None:
    for table in TABLES.values():
        runs = list(runs_of(table, 2))
        assert len(set(runs)) == len(runs)
        columns = {c.system for c in table.columns}
        digits = range(10) if table.task == "detection" else (None,)
        expected = {
            (system, data, seed, digit, table.epochs if SYSTEMS[system].trained else 0)
            for system in columns for data in table.data for seed in (0, 1) for digit in digits
        }  # fmt: skip
        assert {(r.system, r.data, r.seed, r.digit, r.epochs) for r in runs} == expected
        assert {r.task for r in runs} == {table.task}
        assert [r.seed for r in runs] == sorted(r.seed for r in runs)


def test_a_choice_is_kept_to() -> None:
    runs = list(
        runs_of(TABLES["table4"], 1, 3, digits=[7, 1], data=["usps"], systems=["pca", "cae"])
    )
    assert {(r.system, r.data, r.digit, r.epochs) for r in runs} == {
        ("cae", "usps", 7, 3), ("pca", "usps", 7, 0), ("cae", "usps", 1, 3), ("pca", "usps", 1, 0),
    }  # fmt: skip


def put(folder: ResultsDir, *runs: Run) -> None:
    for run in runs:
        made_up(run).write(folder.result(run))


def test_what_is_missing_in_words(tmp_path: Path) -> None:
    folder = ResultsDir(tmp_path)
    runs = list(runs_of(TABLES["table2"], 3, systems=["cae", "cae-l2"], data=["usps"]))
    assert describe(runs, folder) == (
        "reproduce: 6 of 6 runs missing: cae, cae-l2 on usps, 200 epochs, seeds 0–2"
    )  # fmt: skip
    put(folder, runs[0], runs[2])
    assert describe(runs, folder) == (
        "reproduce: 4 of 6 runs missing: cae-l2 on usps, 200 epochs, seeds 0–2; "
        "cae on usps, 200 epochs, seed 2"
    )
    put(folder, *runs)
    assert describe(runs, folder) == "reproduce: 0 of 6 runs missing"
    runs = list(runs_of(TABLES["table4"], 2, digits=[1, 2, 3], systems=["pca", "cae"]))
    put(folder, *(r for r in runs if r.system == "pca" and r.digit == 3 and r.seed == 1))
    assert describe(runs, folder) == (
        "reproduce: 11 of 12 runs missing: cae on mnist, 200 epochs, seeds 0–1, anomalies 1–3; "
        "pca on mnist, 5 runs of seeds 0–1, anomalies 1–3"
    )
    dcec = Run("clustering", "dcec", "digits", 0, 5)
    assert describe([dcec], folder) == (
        "reproduce: 2 of 2 runs missing: cae, dcec on digits, 5 epochs, seed 0"
    )  # fmt: skip


def test_runs_that_differ_by_epochs_or_task_alone_are_told_apart(tmp_path: Path) -> None:
    chosen = [TABLES["table2"], TABLES["table4"], TABLES["table5"]]
    runs = [
        r for t in chosen for r in runs_of(t, 1, digits=[3], systems=["cae-l2"], data=["mnist"])
    ]
    assert describe(runs, ResultsDir(tmp_path)) == (
        "reproduce: 3 of 3 runs missing: cae-l2 on mnist, 200 epochs, seed 0; "
        "cae-l2 on mnist, 200 epochs, seed 0, anomaly 3; "
        "cae-l2 on mnist, 100 epochs, seed 0, anomaly 3"
    )
    assert len({str(run) for run in runs}) == 3


def test_showing_figure1_draws_nothing(tmp_path: Path, no_run: None, capsys: Capture) -> None:
    call = ["reproduce", "figure1", "--data", "usps", "digits", "--show", "--out", str(tmp_path)]
    (tmp_path / "figure1-usps.png").touch()
    assert main(call) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'figure1-usps.png'}\n"
    assert f"there is no {tmp_path / 'figure1-digits.png'} yet" in shown.err
