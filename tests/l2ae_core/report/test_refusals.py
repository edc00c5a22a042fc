"""What stops a page: damaged results, a full disk, bad arguments; then nothing is half-written."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.cli import main
from l2ae_core.paper import read_results
from l2ae_core.report import write_report
from l2ae_core.report.results_page import results_page
from l2ae_core.report.run_page import run_page

from .made_up import clustering, some_clustering, write


def test_a_damaged_result_is_named(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (full / "report.html").write_text("an older page")
    file = full / f"{read_results(full)[0].id}.json"
    file.write_bytes(file.read_bytes()[:-40])
    assert main(["report", str(full)]) == 1
    assert str(file) in capsys.readouterr().err
    assert (full / "report.html").read_text() == "an older page"


@pytest.mark.parametrize("name", ["figure1-usps.npz", "arrays"])
def test_damaged_arrays_are_named(full: Path, name: str) -> None:
    file = full / name if name.endswith("npz") else next(
        f for r in some_clustering() if r.run.system == "cae-l2" and r.run.seed == 1
        for f in [full / "arrays" / f"{r.id}.npz"]
    )  # fmt: skip
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match=re.escape(str(file))):
        results_page(full)


@pytest.mark.slow
def test_images_of_other_shapes_are_refused(full: Path) -> None:
    for r in some_clustering():
        if r.run.system == "cae-l2":
            np.savez(full / "arrays" / f"{r.id}.npz", worst=np.zeros((8, 4, 4, 1), np.uint8))
    with pytest.raises(ValueError, match="worst_reconstructions"):
        results_page(full)


def test_half_a_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"version": 1, "training": {}}')
    with pytest.raises(ValueError, match=r"config\.json: entry 'architecture' is missing"):
        run_page(tmp_path)


def test_a_folder_may_have_braces_in_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"l2ae reproduce table2 --out .*a\{b\}` filled"):
        results_page(tmp_path / "a{b}")


def test_the_page_is_written_whole_or_not_at_all(
    tmp_path: Path, no_replace: Callable[[], None]
) -> None:
    write(tmp_path, [clustering("cae", 2, 0.7)])
    out = tmp_path / "report.html"
    out.write_text("an older page")
    no_replace()
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path)
    assert out.read_text() == "an older page"
    assert list(tmp_path.glob(".report*")) == []


def test_the_command_says_where_the_page_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, [clustering("cae", 2, 0.7)])
    out = tmp_path / "pages" / "a.html"
    assert main(["report", str(tmp_path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["empty"], "l2ae reproduce table2 --out"),
        (["empty", "--out", "a.txt"], "a.txt ends in '.txt'"),
        (["empty", "--split", "test"], "split: test was given without data"),
        (["empty", "--no-labels"], "labels: False was given without data"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["report", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_page_has_to_be_called_html(tmp_path: Path) -> None:
    write(tmp_path, [clustering("cae", 2, 0.7)])
    with pytest.raises(ValueError, match=r"page\.pdf ends in .\.pdf. but expected \.html"):
        write_report(tmp_path, tmp_path / "page.pdf")
