"""The page of a run directory."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.cli import main
from l2ae_core.clusters import SavedClusters
from l2ae_core.report.run_page import run_page
from l2ae_core.training.checkpoint import CheckpointError

from .made_up import Page

pytestmark = pytest.mark.usefixtures("no_maps")  # test_run_images.py has pages with them


def fitted(folder: Path, *options: str) -> Path:
    """A small finished run on 48 images of three kinds."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    x = rng.random((48, 8, 8)) * 0.2
    for kind in range(3):
        x[y == kind, :, kind * 3 : kind * 3 + 2] += 0.8
    np.savez(folder / "images.npz", x=x, y=y)
    out = folder / "run"
    command = ["fit", "--data", str(folder / "images.npz"), "--epochs", "3", "--out", str(out),
               "--quiet", "--batch-size", "16", "--n-init", "2", "--clusters", "3"]  # fmt: skip
    assert main([*command, *options]) == 0
    return out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def self_labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("runs"), "--self-label", "--rounds", "4", "--tol", "0")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def self_labelled_run(self_labelled: Path, tmp_path: Path) -> Path:
    """A copy of the one with self-labelling."""
    return shutil.copytree(self_labelled, tmp_path / "run")


def scores(page: Page) -> dict[str, list[str]]:
    """The rows of the table of scores."""
    table = next(t for t in page.tables.values() if t[0][-1] == "inertia of k-means")
    return {row[0]: row[1:] for row in table[1:]}


def test_scores_stand_beside_chance(run: Path) -> None:
    page = Page(run_page(run))
    metrics = json.loads((run / "metrics.json").read_text())
    rows = scores(page)
    names = ("acc", "nmi", "ari")
    for which in ("best", "last"):
        assert rows[f"{which} weights"][:3] == [f"{100 * metrics[which][k]:.2f}" for k in names]
    for cell, name in zip(rows["chance"], names, strict=False):
        assert float(cell) == pytest.approx(100 * metrics["last"]["chance"][name], abs=0.006)
    assert f"{metrics['reconstruction_mse']['best']:.5f}" in rows["best weights"]


def test_both_thresholds_are_those_of_score(run: Path) -> None:
    saved = SavedClusters.load(run)
    limits = saved.thresholds(0.05)
    text = run_page(run)
    for symbol, threshold in (("τ", limits.normality), ("ε", limits.error)):
        assert f"{symbol} = {threshold:#.5g}" in text
    replace(saved, errors=None).save(run)  # an older run
    text = run_page(run)
    assert f"τ = {SavedClusters.load(run).thresholds(0.05).normality:#.5g}" in text
    assert "ε =" not in text


def test_validation_images_choose_the_epoch_that_is_named(run: Path) -> None:
    """The training loss falls on, that of the images that are held out is lowest in epoch 2."""
    path = run / "history.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for record, loss, held_out in zip(records, (3.0, 2.0, 1.0), (0.4, 0.2, 0.3), strict=True):
        record |= {"loss": loss, "validation_loss": held_out}
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    (run / "checkpoint.npz").unlink()  # which the page would rather read
    html = run_page(run)
    assert "in epoch 2: 0.20000" in html
    assert "validation" in html


def test_configuration_and_versions_are_all_there(run: Path) -> None:
    text = Page(run_page(run)).text
    config = json.loads((run / "config.json").read_text())
    assert config["data"]["digest"] in text
    for name, value in config["versions"].items():
        assert f"{name} {value}" in text
    assert "training.batch_size 16" in text
    for section in ("Training loss", "Length of the codes", "Normality", "Clusters"):
        assert section in text
    assert "Not here yet" not in text


def test_an_unfinished_run_names_what_is_missing(run: Path) -> None:
    for name in ("metrics.json", "clusters.npz", "gallery.npz"):
        (run / name).unlink()
    page = Page(run_page(run))
    assert "scores" not in page.ids
    missing = page.text.split("Not here yet")[-1]
    assert "Scores" in missing
    assert "Clusters" in missing
    assert f"l2ae fit --resume --out {run}" in missing
    assert f"Clusters : l2ae report {run} --data " in missing
    config = json.loads((run / "config.json").read_text())
    config["data"]["digest"] = ""  # as of the images of an estimator
    config["training"]["split"] = "train"
    (run / "config.json").write_text(json.dumps(config))
    assert f"l2ae report {run} --data DATA --split train" in Page(run_page(run)).text
    for name in ("checkpoint.npz", "history.jsonl"):
        (run / name).unlink()
    assert "Training loss" in Page(run_page(run)).text.split("Not here yet")[-1]


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "checkpoint.npz", "clusters.npz",
                                  "gallery.npz"])  # fmt: skip
def test_a_damaged_file_is_named(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / name
    file.write_bytes(file.read_bytes()[:-30])
    assert main(["report", str(run)]) == 1
    assert name in capsys.readouterr().err
    assert not (run / "report.html").exists()


def test_metrics_of_something_else_are_refused(run: Path) -> None:
    (run / "metrics.json").write_text('{"best": {"acc": 1.0}}')
    with pytest.raises(
        ValueError, match=r"metrics\.json: entry 'reconstruction_mse\.best' is missing"
    ):
        run_page(run)


def test_a_newer_configuration_is_refused(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"version": 99}))
    with pytest.raises(CheckpointError, match="newer"):
        run_page(run)


@pytest.mark.slow
def test_self_labelling_has_its_curves_and_scores(self_labelled: Path, trained: Path) -> None:
    page = Page(run_page(self_labelled))
    metrics = json.loads((self_labelled / "metrics.json").read_text())
    row, found = scores(page)["self-labelled"], metrics["self_labelled"]
    assert row[:3] == [f"{100 * found[k]:.2f}" for k in ("acc", "nmi", "ari")]
    assert row[-1] == f"{found['inertia']:.6g}"
    assert "4 of at most 4 rounds" in page.text
    assert "3 of 3 epochs, then 4 rounds of self-labelling" in page.text
    told = [given.get("aria-label") for name, given in page.elements if name == "svg"]
    assert {"labels that change, % by round", "KL(P‖Q) by round"} <= {*told}
    plain = Page(run_page(trained))
    assert "self-labelling" in page.ids
    assert "self-labelling" not in plain.ids
    assert "self-label" not in plain.text.split("Configuration")[0].lower()


@pytest.mark.slow
def test_a_self_labelling_to_come_is_named_and_one_under_way_shown(
    self_labelled_run: Path,
) -> None:
    run = self_labelled_run
    for name in ("metrics.json", "clusters.npz", "self-labelling/checkpoint.npz"):
        (run / name).unlink()
    history = run / "self-labelling" / "history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text("".join(lines[:2]) + lines[2][:20])
    assert "2 of at most 4 rounds" in Page(run_page(run)).text
    shutil.rmtree(run / "self-labelling")
    page = Page(run_page(run))
    missing = page.text.split("Not here yet")[-1]
    assert "Self-labelling" in missing
    assert f"l2ae fit --resume --out {run}" in missing


def test_damage_of_the_self_labelling_is_named(self_labelled_run: Path) -> None:
    folder = self_labelled_run / "self-labelling"
    checkpoint = (folder / "checkpoint.npz").read_bytes()
    (folder / "checkpoint.npz").write_bytes(checkpoint[:-30])
    with pytest.raises(CheckpointError, match=r"self-labelling.checkpoint\.npz"):
        run_page(self_labelled_run)
    for name in ("checkpoint.npz", "history.jsonl"):  # of a training without clusters
        shutil.copy(self_labelled_run / name, folder / name)
    with pytest.raises(ValueError, match="self-labelling: entry 'label_change' is missing"):
        run_page(self_labelled_run)
