"""What fixes a run, the name that follows from it, and the file of its result."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.cli import main
from l2ae_core.paper import SYSTEMS, Result, Run, read_results
from l2ae_core.paper.result import Seconds, sort_key, write_results
from l2ae_core.paper.run import ResultsDir

from .small_runs import made_up

SCRIPT = Path(__file__).parents[3] / "benchmarks/collect.py"
RUN = Run("detection", "cae-l2", "mnist", seed=3, epochs=200, digit=7)
PARTITION = Run("clustering", "cae", "usps", seed=3, epochs=200)


def test_names_of_the_published_runs_never_change() -> None:
    """Result files that are there are found again."""
    assert Run("clustering", "cae-l2", "usps", 0, 200).id == "12655553ae68"
    assert Run("clustering", "pixels", "usps", 0, 0).id == "5aedf3b70182"
    assert RUN.id == "684c61e80595"


@pytest.mark.parametrize(
    "change",
    [{"system": "cae"}, {"data": "usps"}, {"seed": 4}, {"epochs": 100}, {"digit": 8},
     {"batch_size": 255}, {"n_init": 19}, {"task": "clustering", "digit": None}],
)  # fmt: skip
def test_another_field_is_another_run(change: dict[str, Any]) -> None:
    changed = replace(RUN, **change)
    assert changed.id != RUN.id
    assert made_up(changed).id == changed.id


@pytest.mark.parametrize(
    "change",
    [{"method": "drae"}, {"settings": {"model": "cae", "norm": "l2", "slope": 0.2}},
     {"settings": {"model": "cae"}}, {"start": "cae"}, {"normals_only": True}],
)  # fmt: skip
def test_another_setting_of_the_system_is_another_run(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = RUN.id
    monkeypatch.setitem(SYSTEMS, "cae-l2", replace(SYSTEMS["cae-l2"], **change))
    assert RUN.id != before


@pytest.mark.parametrize("system", ["ae", "ae-l2", "ae-clean", "dec", "idec"])
def test_a_run_without_a_slope_is_none_of_today(system: str) -> None:
    """So that a result of slope 0.3 is not read as one of 0.01."""
    config: dict[str, Any] = Run("clustering", system, "mnist", 0, 100).config
    del config["settings"]["slope"]
    with pytest.raises(ValueError, match=f"that of {system} on mnist.*: another settings"):
        Run.from_config(config)


def test_a_start_is_equal_but_for_the_system() -> None:
    run = Run("clustering", "dcec", "usps", 5, 17, None, 32, 4)
    assert run.start == Run("clustering", "cae", "usps", 5, 17, None, 32, 4)
    assert RUN.start is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digit": None}, "digit is None but expected 0 … 9"),
        ({"digit": 10}, "digit is 10 but expected 0 … 9"),
        ({"task": "clustering"}, "task is 'clustering' and digit is 7 but expected None"),
        ({"task": "regression"}, "task is 'regression' but expected"),
        ({"data": "cifar"}, "data is 'cifar' but expected"),
        ({"seed": -1}, "seed is -1 but expected at least 0"),
        ({"epochs": 0}, "epochs is 0 but expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n_init": 0}, "n_init is 0"),
        ({"system": "pixels"}, "pixels is not trained but epochs is 200"),
        ({"system": "cea"}, "no system 'cea'; expected one of ae, ae-l2"),
    ],
)
def test_bad_fields_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RUN, **change)


@pytest.mark.parametrize("run", [RUN, PARTITION], ids=str)
def test_a_result_comes_back_as_it_was_written(run: Run, tmp_path: Path) -> None:
    result, folder = made_up(run), ResultsDir(tmp_path)
    result.write(folder.result(run))
    assert Result.read(folder.result(run)) == result
    assert read_results(tmp_path) == [result]
    assert [path.name for path in tmp_path.iterdir()] == [f"{run.id}.json"]


def test_other_files_of_the_folder_are_no_results(tmp_path: Path) -> None:
    for name in ("notes.json", "trainings", f"{RUN.id}.json.bak", f".{RUN.id}.json.1.tmp"):
        (tmp_path / name).write_text("something else")
    assert read_results(tmp_path) == []
    assert read_results(tmp_path / "nowhere") == []


def without(*names: str) -> Any:
    """Take out what the names lead to, one inside of the other."""

    def change(values: dict[str, Any]) -> None:
        *way, last = names
        for name in way:
            values = values[name]
        del values[last]

    return change


def config(**changes: Any) -> Any:
    def change(values: dict[str, Any]) -> None:
        values["config"] |= changes

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("format"), "not the result of a run: entry 'format' is missing"),
        (lambda v: v.update(format="l2ae-figure1"), "entry 'format' is 'l2ae-figure1' but"),
        (lambda v: v.update(version=3), "entry 'version' is 3 but"),
        (without("scores"), "entry 'scores' is missing"),
        (lambda v: v.update(more=1), "unknown entries .'more'."),
        (config(seed=4), f"says {RUN.id} but its configuration gives"),
        (config(seed=True), "entry 'config.seed' is True but expected an integer"),
        (config(settings={"norm": "none"}), "is not that of cae-l2 on .*: another settings"),
        (lambda v: v.update(id="0" * 12), "says 000000000000 but"),
        (without("config", "n_init"), "is not that of .*: another n_init"),
        (without("config", "seed"), "entry 'config.seed' is missing"),
        (lambda v: v.update(config=[1]), "entry 'config' is .* but expected an object"),
        (without("details", "images", "test"), "entry 'details.images.test' is missing"),
        (lambda v: v["environment"].update(versions=1), "entry 'environment.versions' is 1 but"),
    ],
)
def test_a_foreign_file_names_itself(change: Any, message: str, tmp_path: Path) -> None:
    path = ResultsDir(tmp_path).result(RUN)
    made_up(RUN).write(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message) as caught:
        read_results(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("run", "change", "message"),
    [
        (PARTITION, without("scores", "nmi"), "entry 'scores.nmi' is missing"),
        (PARTITION, without("chance", "ari"), "entry 'chance.ari' is missing"),
        (PARTITION, without("details", "classes"), "entry 'details.classes' is missing"),
        (PARTITION, lambda v: v["details"].update(classes=[]), "a row for each of 0 classes"),
        (PARTITION, lambda v: v["scores"].update(many_to_one=0.5), "'chance.many_to_one' is miss"),
        (PARTITION, lambda v: v["scores"].update(acc=float("nan")), "NaN is no number"),
        (PARTITION, lambda v: v["scores"].update(acc=1e40), "'scores.acc' is 1e.40 but expected"),
        (PARTITION, lambda v: v["scores"].update(acc="0.9"), "'scores.acc' is '0.9' but expected"),
        (RUN, without("scores", "cosine.auprc"), "entry 'scores.cosine.auprc' is missing"),
        (RUN, without("chance", "auc"), "entry 'chance.auc' is missing"),
        (RUN, without("details", "roc", "tpr", "cosine"), "'details.roc.tpr.cosine' is missing"),
        (RUN, lambda v: v["details"]["roc"]["fpr"].pop(), "cosine has 3 points but fpr 2"),
        (RUN, without("seconds", "training"), "entry 'seconds.training' is missing"),
    ],
)
def test_a_file_without_what_the_tables_show_is_no_result(
    run: Run, change: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ResultsDir(tmp_path).result(run)
    made_up(run).write(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    assert main(["reproduce", "table2", "table4", "--show", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{path}: not " in error
    assert re.search(message, error)


def test_results_of_version_1_are_read() -> None:
    """Nested scores, "after" for "post_hoc_l2", false-positive rates for every score."""
    for run in (RUN, PARTITION):
        values = made_up(run).to_json() | {"version": 1}
        if run == RUN:
            fpr, tpr = values["details"]["roc"].values()
            values["details"]["roc"] = {"cosine": {"fpr": fpr, "tpr": tpr["cosine"]}}
            values["scores"] = {"cosine": {"auc": 0.875, "auprc": 0.375}}
        else:
            values["scores"]["after"] = {"acc": values["scores"].pop("post_hoc_l2.acc")}
        assert Result.from_json(values, "a") == made_up(run)


def test_lines_are_sorted_and_read_back(tmp_path: Path) -> None:
    """A file of lines, a folder of such files, and one run a file are read alike."""
    runs = [RUN, replace(RUN, digit=2), replace(RUN, epochs=7), PARTITION, replace(RUN, seed=2)]
    path = tmp_path / "a.jsonl"
    write_results(path, map(made_up, runs))
    expected = [made_up(runs[i]) for i in (3, 2, 4, 1, 0)]
    assert read_results(path) == read_results(tmp_path) == expected
    more = replace(RUN, seed=5)
    made_up(more).write(ResultsDir(tmp_path).result(more))
    assert len(read_results(tmp_path)) == len(runs) + 1
    made_up(RUN).write(ResultsDir(tmp_path).result(RUN))
    with pytest.raises(ValueError, match=rf"a\.jsonl: line 5: {RUN} is in .*{RUN.id}.json, too"):
        read_results(tmp_path)


def test_half_a_file_of_lines_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_results(path, [made_up(RUN), made_up(PARTITION)])
    text = path.read_text()
    path.write_text(text[:-30])
    with pytest.raises(ValueError, match=r"a\.jsonl: ends within line 2"):
        read_results(path)
    path.write_text(text.replace('"usps"', '"uspx"'))
    with pytest.raises(ValueError, match=r"a\.jsonl: line 1: not the result of a run: .*uspx"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"format": "l2ae-re', "\xff\xfe"])
def test_a_damaged_file_names_itself(text: str, tmp_path: Path) -> None:
    path = ResultsDir(tmp_path).result(RUN)
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"{path.name}: not "):
        read_results(tmp_path)


@pytest.mark.parametrize("change", [{"id": "8\x7f1e"}, {"x" * 5000: 1}], ids=["control", "long"])
def test_a_message_about_a_result_is_one_short_line(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not the result of a run") as caught:
        Result.from_json(made_up(RUN).to_json() | change, "a.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    scores = {"cosine.auc": float("nan"), "cosine.auprc": 0.5}
    result: Result = replace(made_up(RUN), scores=scores)
    with pytest.raises(ValueError, match="not JSON compliant"):
        result.write(tmp_path / "x.json")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")
def test_a_folder_is_collected_into_lines(tmp_path: Path) -> None:
    """By task, data and system; a run that is there is replaced, the others stay."""
    collect = runpy.run_path(str(SCRIPT))["collect"]
    into, folder, later = tmp_path / "into", ResultsDir(tmp_path / "a"), ResultsDir(tmp_path / "b")
    pixels = Run("clustering", "pixels", "usps", 0, 0)
    for run in (RUN, PARTITION, pixels):
        made_up(run).write(folder.result(run))
    names = ["clustering-usps-cae", "clustering-usps-pixels", "detection-mnist-cae-l2"]
    assert [path.stem for path in collect(folder.path, into)] == names
    changed, more = replace(made_up(PARTITION), seconds=Seconds(7.0)), replace(PARTITION, seed=1)
    changed.write(later.result(PARTITION))
    made_up(more).write(later.result(more))
    collect(later.path, into)
    assert read_results(into) == [made_up(more), changed, made_up(pixels), made_up(RUN)]
    assert read_results(collect(into, tmp_path / "one.jsonl")[0]) == sorted(
        read_results(into), key=sort_key
    )
    with pytest.raises(ValueError, match="nowhere has no result"):
        collect(tmp_path / "nowhere", into)
