"""`l2ae cluster --save`: another number of clusters for a run that is trained; no --data at all."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from l2ae_core import commands, method
from l2ae_core.cli import main

COMMON = ["--epochs", "4", "--batch-size", "16", "--n-init", "2", "--seed", "3", "--quiet"]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """64 images of four kinds, with labels."""
    rng = np.random.default_rng(0)
    x = rng.random((64, 8, 8)) * 0.1
    y = np.arange(64) % 4
    for kind in range(4):
        x[y == kind, :, kind * 2 : kind * 2 + 2] += 0.9
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x, y=y)
    return path


def fit(out: Path, images: Path, *options: str) -> Path:
    assert main(["fit", "--data", str(images), "--out", str(out), *COMMON, *options]) == 0
    return out


@pytest.fixture(scope="module")
def run(images, tmp_path_factory) -> Path:
    return fit(tmp_path_factory.mktemp("runs") / "run", images, "--clusters", "5")


@pytest.fixture
def own_run(run, tmp_path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def contents(run: Path) -> dict[str, object]:
    """What is in the files of a run, but for the time that the training took."""
    found: dict[str, object] = {}
    for path in sorted(run.iterdir()):
        if path.suffix == ".npz" and path.name != "checkpoint.npz":
            with np.load(path) as file:
                found[path.name] = {name: file[name].tobytes() for name in file.files}
    metrics = json.loads((run / "metrics.json").read_text())
    config = json.loads((run / "config.json").read_text())
    return found | {"metrics": {**metrics, "seconds": 0}, "config": config}


def test_a_saved_number_makes_the_run_that_fit_makes_with_it(own_run, images, tmp_path, capsys):
    trained = [(own_run / name).read_bytes() for name in ("checkpoint.npz", "history.jsonl")]
    assert main(["cluster", str(own_run), "--clusters", "2-4", "--save", "3", "--quiet"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4  # the header, and 2, 3, 4
    assert "3 clusters saved" in said.err
    assert "--save K" not in said.err
    found = [(own_run / name).read_bytes() for name in ("checkpoint.npz", "history.jsonl")]
    assert found == trained
    assert contents(own_run) == contents(fit(tmp_path / "new", images, "--clusters", "3"))
    assert main(["fit", "--resume", "--out", str(own_run), "--quiet"]) == 0
    assert contents(own_run) == contents(tmp_path / "new")  # a resume keeps the number


def test_without_a_table_of_numbers_the_labels_are_those_of_the_saved_clusters(
    own_run, tmp_path, capsys
):
    out = tmp_path / "labels.npy"
    assert main(["cluster", str(own_run), "--save", "2", "--out", str(out), "--quiet"]) == 0
    assert sorted(set(np.load(out)["cluster"])) == [0, 1]
    assert "2 clusters saved" in capsys.readouterr().err
    labels, _ = commands.cluster(own_run, progress=False)
    np.testing.assert_array_equal(labels["cluster"], np.load(out)["cluster"])


@pytest.mark.slow
def test_images_are_those_of_the_training_where_none_are_named(run, images, tmp_path):
    for command, how in ((commands.cluster, {}), (commands.score, {"top": 7})):
        plain, _ = command(run, str(images), progress=False, **how)
        found, _ = command(run, progress=False, **how)
        assert plain.keys() == found.keys()
        for name in plain:
            np.testing.assert_array_equal(plain[name], found[name])
    rows, result = commands.sweep(run, None, [2, 4], progress=False)
    assert rows == commands.sweep(run, str(images), [2, 4], progress=False)[0]
    assert "images.npz, N = 64" in result["images"]
    without, _ = commands.cluster(run, labels=False, progress=False)
    assert "label" not in without


def test_of_an_anomaly_class_only_the_trained_share_is_among_them(images, tmp_path):
    run = fit(tmp_path / "run", images, "--anomaly-class", "1", "--keep", "0.25")
    found, _ = commands.score(run, progress=False)
    assert len(found["index"]) == 48 + 4
    assert (found["label"] == 1).sum() == 4
    assert commands.recluster(run, 3, progress=False).clusters.centers.shape[0] == 3


def test_images_that_have_moved_are_named(own_run, images, tmp_path, capsys):
    config = json.loads((own_run / "config.json").read_text())
    config["data"]["name"] = str(tmp_path / "gone.npz")
    (own_run / "config.json").write_text(json.dumps(config))
    call = ["cluster", str(own_run), "--clusters", "2-3", "--save", "3", "--quiet"]
    assert main(call) == 1
    error = capsys.readouterr().err
    assert "gone.npz" in error
    assert "no longer there; if they have moved, --data tells where" in error
    assert main([*call, "--data", str(images)]) == 0
    assert json.loads((own_run / "config.json").read_text())["data"]["name"] == str(images)
    assert len(np.load(own_run / "clusters.npz")["centers"]) == 3


def test_a_gallery_is_made_where_there_was_one(own_run, images, tmp_path):
    assert main(["cluster", str(own_run), "--save", "3", "--quiet"]) == 0
    assert (own_run / "gallery.npz").exists()
    (own_run / "gallery.npz").unlink()
    assert main(["cluster", str(own_run), "--save", "4", "--quiet"]) == 0
    assert not (own_run / "gallery.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save", "0"], "clusters is 0 but expected an integer ≥ 1"),
        (["--save", "65"], "clusters is 65 but there are only 64 training images"),
        (["--save", "3", "--data", "{other}"], "other.npy are not those that"),
        (["--save", "3", "--data", "{other}", "--clusters", "2-3"], "other.npy are not those that"),
        (["--save", "3", "--split", "test"], "split: test was given with save"),
        (["--split", "test"], "split: test was given without data"),
        (["--save", "3", "--clusters", "2-3", "--sample-size", "3"], "expected fewer than sample"),
        (["--save", "3", "--out", "x.txt"], "expected .csv or .npy"),
        (["--save", "3", "--copy-to", "{run}"], "is a folder that is not empty"),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_was(
    arguments, message, own_run, images, tmp_path, capsys
):
    np.save(tmp_path / "other.npy", np.load(images)["x"][:60])
    before = {path.name: path.read_bytes() for path in own_run.iterdir()}
    filled = [a.format(other=tmp_path / "other.npy", run=own_run) for a in arguments]
    assert main(["cluster", str(own_run), "--quiet", *filled]) == 1
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in own_run.iterdir()} == before


def test_a_self_labelled_run_is_refused_with_the_reason(images, tmp_path, monkeypatch, capsys):
    run = fit(tmp_path / "run", images, "--clusters", "3", "--self-label", "--rounds", "1")
    monkeypatch.setattr(method, "train", None)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert main(["cluster", str(run), "--clusters", "2-3", "--save", "2", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "its codes depend on their number" in error
    assert "--self-label --clusters 2 trains another run" in error
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before


@pytest.mark.slow
def test_a_folder_of_seeds_is_refused_with_what_to_do(images, tmp_path, capsys):
    runs = fit(tmp_path / "runs", images, "--clusters", "3", "--seeds", "2")
    assert main(["cluster", str(runs), "--save", "2", "--quiet"]) == 1
    advice = f"l2ae fit --resume --clusters 2 --out {runs}"
    assert advice in capsys.readouterr().err
    assert main(["cluster", str(runs), "--clusters", "2-3", "--quiet"]) == 0
    assert advice.replace("clusters 2", "clusters K") in capsys.readouterr().err
    assert main([*advice.split()[1:], "--quiet"]) == 0
    assert len(commands.load_fitted(runs).clusters.centers) == 2


@pytest.mark.slow
def test_a_resume_with_another_number_says_it(own_run, capsys):
    """And what is printed as the loss is the loss of that epoch."""
    again = ["fit", "--resume", "--clusters", "3", "--out", str(own_run)]
    assert main(again) == 0
    first, best, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith(", 3 clusters")
    history = (own_run / "history.jsonl").read_text().splitlines()
    lowest = min(json.loads(line)["loss"] for line in history)
    assert f"loss {lowest:.5f}" in best
    assert last == f"l2ae report {own_run}"
    assert main(shlex.split(last)[1:]) == 0
    assert (own_run / "report.html").exists()
