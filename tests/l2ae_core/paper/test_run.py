"""What fixes a run, the name that follows from it, and the file of its result."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l2ae_core.cli import main
from l2ae_core.paper import SYSTEMS, Result, Run, read_results
from l2ae_core.paper.run import Folder

from .small_runs import made_up

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
     {"settings": {"model": "cae"}}, {"start": "cae"}, {"clean": True}],
)  # fmt: skip
def test_another_setting_of_the_system_is_another_run(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = RUN.id
    monkeypatch.setitem(SYSTEMS, "cae-l2", replace(SYSTEMS["cae-l2"], **change))
    assert RUN.id != before


def test_a_title_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RUN.id
    monkeypatch.setitem(SYSTEMS, "cae-l2", replace(SYSTEMS["cae-l2"], title="another"))
    assert RUN.id == before


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


@pytest.mark.parametrize(
    ("run", "name", "expected"),
    [(PARTITION, "acc", 0.75), (PARTITION, "after.acc", 0.5), (PARTITION, "after.nmi", 0.25),
     (RUN, "cosine.auc", 0.875), (PARTITION, "after", None), (PARTITION, "after.ari", None),
     (PARTITION, "acc.acc", None), (RUN, "acc", None), (RUN, "", None)],
)  # fmt: skip
def test_scores_have_dotted_names(run: Run, name: str, expected: float | None) -> None:
    assert made_up(run).score(name) == expected


@pytest.mark.parametrize("run", [RUN, PARTITION], ids=str)
def test_a_result_comes_back_as_it_was_written(run: Run, tmp_path: Path) -> None:
    result, folder = made_up(run), Folder(tmp_path)
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
        (lambda v: v.update(format="l2ae-figure1"), "not the result of a run: of format"),
        (lambda v: v.update(version=2), "not the result of a run: of format"),
        (without("scores"), "scores"),
        (lambda v: v.update(more=1), "more"),
        (config(seed=4), f"says {RUN.id} but its configuration gives"),
        (config(settings={"norm": "none"}), f"says {RUN.id} but"),
        (lambda v: v.update(id="0" * 12), "says 000000000000 but"),
        (lambda v: v["config"].pop("digit"), "entry 'config.digit' is missing"),
        (lambda v: v.update(config=[1]), "not the result of a run"),
    ],
)
def test_a_foreign_file_names_itself(change: Any, message: str, tmp_path: Path) -> None:
    path = Folder(tmp_path).result(RUN)
    made_up(RUN).write(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message) as caught:
        read_results(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("run", "change"),
    [
        (PARTITION, without("scores", "nmi")),
        (PARTITION, without("chance", "ari")),
        (PARTITION, without("details", "classes")),
        (PARTITION, lambda v: v["details"].update(classes=[])),
        (PARTITION, lambda v: v["scores"].update(many_to_one=0.5)),
        (PARTITION, lambda v: v["scores"].update(acc=float("nan"))),
        (PARTITION, lambda v: v["scores"].update(acc="0.9")),
        (RUN, without("scores", "cosine", "auprc")),
        (RUN, without("chance", "auc")),
        (RUN, lambda v: v["scores"].update(cosine=0.9)),
        (RUN, without("seconds", "training")),
    ],
)
def test_a_file_without_what_the_tables_show_is_no_result(
    run: Run, change: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Folder(tmp_path).result(run)
    made_up(run).write(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    assert main(["reproduce", "table2", "table4", "--show", "--out", str(tmp_path)]) == 1
    assert f"{path}: not " in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "null", '{"format": "l2ae-re', "\xff\xfe"])
def test_a_damaged_file_names_itself(text: str, tmp_path: Path) -> None:
    path = Folder(tmp_path).result(RUN)
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=f"{path.name}: not "):
        read_results(tmp_path)


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    result: Result = replace(made_up(RUN), scores={"acc": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        result.write(tmp_path / "x.json")
    assert not any(tmp_path.iterdir())


def test_configurations_are_plain_json() -> None:
    """What is hashed before writing is what is read."""
    for name, system in SYSTEMS.items():
        run = Run("clustering", name, "digits", 0, int(system.trained))
        read: Mapping[str, Any] = json.loads(json.dumps(run.config))
        assert read == run.config
