"""The demo: what it writes, what it leaves behind when stopped, and what its numbers are worth."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.metrics import accuracy
from l2ae_core.data import load
from l2ae_core.demo import experiments, run
from l2ae_core.demo.experiments import DemoScores, DemoSettings
from l2ae_core.demo.run import run_demo
from l2ae_core.demo.table import format_table
from l2ae_core.figures import embedding
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs

FIGURES = {
    "embedding.png", "confusion.png", "roc.png", "loss.png", "reconstructions.png", "scores.png",
}  # fmt: skip
SETTINGS = DemoSettings(seed=0, epochs=1, anomaly_digit=1, progress=False)


@pytest.fixture(scope="module", autouse=True)
def _fast_maps() -> Iterator[None]:
    """Maps by PCA, in place of seconds of t-SNE: these tests do not judge its maps."""
    project = embedding.project
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "project", lambda u, *_, **__: project(u, "pca"))
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "new" / "folder"


@pytest.fixture(scope="module")
def result(out: Path) -> dict[str, Any]:
    return run_demo(out, seed=5, epochs=2, progress=False)


def test_metrics_have_the_agreed_form(result: dict[str, Any], out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == {key: value for key, value in result.items() if key != "out"}
    for scores in (metrics["clustering"][key] for key in ("l2", "none", "chance")):
        assert set(scores) == {"acc", "nmi", "ari"}
    for name in ("l2", "none", "reconstruction"):
        assert 0 < metrics["anomaly"][name]["auc"] < 1
    assert 0.1 < metrics["clustering"]["chance"]["acc"] < 0.16
    assert {"l2ae", "python", "numpy"} <= set(metrics["versions"])
    assert [metrics["settings"][n] for n in ("seed", "epochs", "anomaly_epochs")] == [5, 2, 1]


def test_the_contamination_is_that_of_the_paper(result: dict[str, Any]) -> None:
    train, test = load("digits", split="train"), load("digits", split="test")
    anomaly = result["anomaly"]
    ones = int((train.labels == 1).sum())
    kept = round(0.1 * ones)
    assert anomaly["train"] == {"images": len(train) - ones + kept, "anomalies": kept}
    held_out = int((test.labels == 1).sum())
    assert anomaly["test"] == {"images": len(test), "anomalies": held_out}
    assert anomaly["prevalence"] == held_out / len(test)


def test_the_figures_are_there_and_nothing_else(result: dict[str, Any], out: Path) -> None:
    assert {path.name for path in out.iterdir()} == {*FIGURES, "metrics.json"}
    assert set(result["figures"]) == FIGURES
    for name in FIGURES:
        assert (out / name).read_bytes().startswith(b"\x89PNG\r\n")


def test_the_table_shows_every_score_beside_chance(result: dict[str, Any], out: Path) -> None:
    table = format_table(result)
    for scores in result["clustering"].values():
        for value in scores.values():
            assert f"{value:.3f}".replace("-0.000", "0.000") in table
    for name in ("l2", "none", "reconstruction"):
        assert f"{result['anomaly'][name]['auc']:.3f}" in table
    assert table.count("  chance ") == 2
    assert str(out) in table
    assert "--data mnist" in table
    assert max(map(len, table.splitlines())) <= 100 + len(str(out))  # fits a terminal
    assert "l2ae demo --out DIR" in format_table(result | {"out": None})


def test_a_seed_fixes_the_scores_with_and_without_files(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = run_demo(None, seed=5, epochs=2, progress=False)
    for part in ("clustering", "anomaly", "pixels", "settings"):
        assert again[part] == result[part]
    assert again["out"] is None
    assert again["figures"] == []
    assert not list(tmp_path.iterdir())


def test_labels_do_not_steer_the_clustering() -> None:
    data = load("digits").subset(slice(300))
    assert data.labels is not None
    shuffled = replace(data, labels=np.random.default_rng(0).permutation(data.labels))
    first, second = (
        experiments.cluster("l2", data, SETTINGS),
        experiments.cluster("l2", shuffled, SETTINGS),
    )
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_the_constraint_is_the_only_difference() -> None:
    data = load("digits").subset(slice(300))
    l2, none = (experiments.cluster(norm, data, SETTINGS) for norm in experiments.NAMES)
    np.testing.assert_allclose(np.linalg.norm(l2.codes, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(none.codes, axis=1).std() > 0.01
    assert l2.model.params.keys() == none.model.params.keys()
    assert len(l2.history) == len(none.history) == SETTINGS.epochs


def test_the_scores_have_the_right_sign_and_the_threshold_needs_no_labels() -> None:
    train, test = load("digits", split="train"), load("digits", split="test")
    anomalous = (test.labels == 1).astype(float)
    perfect = DemoScores(-anomalous, np.linspace(-1, 0, 101), anomalous)
    useless = DemoScores(np.zeros(len(test)), np.zeros(len(train)), anomalous)
    anomaly = run.anomaly_metrics(train, test, {"l2": perfect, "none": useless}, 1)
    assert [anomaly[k]["auc"] for k in ("l2", "none", "reconstruction")] == [1, 0.5, 1]
    assert anomaly["threshold"]["tau"] == pytest.approx(-0.955)  # 5 of 101 training images below
    assert anomaly["threshold"]["true_positive_rate"] == 1
    assert anomaly["threshold"]["false_positive_rate"] == 0


def test_interrupted_writing_leaves_whole_files_and_no_metrics(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """metrics.json of an earlier run must not stand beside figures of this one."""
    (tmp_path / "metrics.json").write_text("{}")
    saved = Figure.savefig

    def third_fails(self: Figure, file: Any, **keywords: Any) -> None:
        if len(list(tmp_path.glob("*.png"))) == 2:
            file.write(b"half a figure")
            raise KeyboardInterrupt
        saved(self, file, **keywords)

    monkeypatch.setattr(Figure, "savefig", third_fails)
    drawn = {f"{name}.png": Figure() for name in "abc"}
    with pytest.raises(KeyboardInterrupt):
        run.figures.write(tmp_path, drawn)
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def test_mistakes_show_before_the_first_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_side_by_side", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match="anomaly_digit is 10"):
        run_demo(None, anomaly_digit=10, progress=False)
    with pytest.raises(ValueError, match="seed is -1"):
        run_demo(None, seed=-1, progress=False)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        run_demo(file, progress=False)


# k-means on the codes has two good solutions, whose inertias differ by about 0.4 %: ACC .88 to .92
# and ACC .79 to .84. With the constraint about one training in three ends where the second has the
# lower inertia, and rounding alone can decide which. So the bounds are on means over three seeds:
# measured ACC .88 to .90 with the constraint and .75 to .78 without it, AUC .91 against .83.
# Seed 0 with AVX-512, AVX2 and no emitted kernels: ACC .88, .91, .90 against .79, .73, .80, AUC
# .95, .92, .92 against .81, .84, .76.
SEEDS = (0, 1, 2)
LEAST_ACC, LEAST_GAIN, LEAST_AUC = 0.80, 0.03, 0.85


@pytest.mark.slow
def test_the_method_reaches_its_scores() -> None:
    results = [run_demo(None, seed=seed, progress=False) for seed in SEEDS]

    def mean(*keys: str) -> float:
        return float(np.mean([reduce(getitem, keys, result) for result in results]))

    assert mean("clustering", "l2", "acc") >= LEAST_ACC
    for score in ("acc", "nmi", "ari"):
        with_l2, without = (mean("clustering", norm, score) for norm in ("l2", "none"))
        assert with_l2 >= without + LEAST_GAIN, score
        assert without > mean("clustering", "chance", score) + 0.4, score
    assert mean("clustering", "l2", "acc") >= untrained_accuracy() + 0.2
    assert mean("anomaly", "l2", "auc") >= LEAST_AUC
    assert mean("anomaly", "l2", "auc") > mean("anomaly", "reconstruction", "auc")
    assert mean("anomaly", "reconstruction", "auc") > mean("anomaly", "chance", "auc")


def untrained_accuracy() -> float:
    """ACC of k-means on the codes of the network with its first weights."""
    data, random = load("digits"), rngs(0)
    model = build(Architecture("cae", (8, 8, 1)), random.init)
    found = kmeans(model.encode(data.images), 10, rng=random.kmeans)
    assert data.labels is not None
    return accuracy(data.labels, found.labels)
