"""`l2ae cluster --clusters`: criteria for the number of clusters, on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.clustering.sweep import sweep
from l2ae_core.commands import load_fitted
from l2ae_core.data import load

KINDS = 4


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 images of four kinds, without labels."""
    rng = np.random.default_rng(0)
    x = rng.random((64, 8, 8)) * 0.1
    for kind in range(KINDS):
        x[np.arange(64) % KINDS == kind, :, kind * 2 : kind * 2 + 2] += 0.9
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, x)
    return path


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--epochs", "20", "--batch-size", "16", "--seed", "3", "--clusters", "5", "--quiet",
               "--n-init", "5"]  # fmt: skip
    assert main(["fit", "--data", str(images), *options, "--out", str(out)]) == 0
    return out


def test_the_table_has_a_row_for_each_number(run, images, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    call = ["cluster", str(run), "--data", str(images), "--clusters", "2-6", "--quiet"]
    assert main([*call, "--out", str(tmp_path / "k.npy")]) == 0
    assert main([*call, "--out", str(tmp_path / "k.csv")]) == 0
    table = np.load(tmp_path / "k.npy")
    assert table.dtype.names == ("k", "inertia", "silhouette", "agreement", "smallest")
    assert table["k"].tolist() == [2, 3, 4, 5, 6]
    read = np.genfromtxt(tmp_path / "k.csv", delimiter=",", names=True)
    for name in table.dtype.names:
        np.testing.assert_array_equal(read[name], table[name])
    metrics = json.loads((run / "metrics.json").read_text())
    assert table["inertia"][table["k"] == 5] == metrics["best"]["inertia"]
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    said = capsys.readouterr()
    assert not said.out
    assert f"highest silhouette {KINDS}," in said.err
    assert "the choice is yours" in said.err


def test_rows_are_those_of_the_codes_with_the_seed_of_the_run(run, images):
    rows, _ = commands.sweep(run, str(images), [3, 6], sample_size=20, progress=False)
    u = load_fitted(run).model.encode(load(images).images)
    assert rows == sweep(u, [3, 6], seed=3, n_init=5, sample_size=20)
    assert rows != sweep(u, [3, 6], seed=0, n_init=5, sample_size=20)


def test_self_labelling_has_no_say(run, images, tmp_path):
    """It gathers the codes around as many centers as it is given."""
    call = ["fit", "--data", str(images), "--epochs", "20", "--batch-size", "16", "--seed", "3"]
    options = ["--clusters", "3", "--self-label", "--rounds", "5", "--n-init", "5", "--quiet"]
    assert main([*call, *options, "--out", str(tmp_path / "run")]) == 0
    plain, _ = commands.sweep(run, str(images), [2, 4], progress=False)
    rows, result = commands.sweep(tmp_path / "run", str(images), [2, 4], progress=False)
    assert rows == plain
    assert "before self-labelling" in result["note"]
    assert not result["reclusterable"]


def test_the_screen_marks_what_each_criterion_prefers(run, images, capsys):
    assert main(["cluster", str(run), "--data", str(images), "--clusters", "2-6", "--quiet"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["K", "inertia", "silhouette", "agreement", "smallest", "cluster"]
    assert [line.split()[0] for line in lines] == ["2", "3", "4", "5", "6"]
    assert sum(line.count("*") for line in lines) == 3
    cells = lines[KINDS - 2].replace("*", " * ").split()
    assert cells[-1] == "16"
    assert "*" in cells


@pytest.mark.usefixtures("terminal")
def test_one_number_has_a_row_and_no_marks(run, images, capsys):
    assert main(["cluster", str(run), "--data", str(images), "--clusters", "3"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "*" not in said.out
    assert "choice" not in said.err


@pytest.mark.parametrize(
    "suffix", ["svg", *(pytest.param(s, marks=pytest.mark.slow) for s in ("png", "pdf"))]
)
def test_the_criteria_are_drawn(suffix, run, images, tmp_path):
    path = tmp_path / "new" / f"k.{suffix}"
    call = ["cluster", str(run), "--data", str(images), "--clusters", "2-5", "--quiet"]
    assert main([*call, "--figure", str(path)]) == 0
    if suffix == "png":
        assert imread(path).shape[0] > 400
    else:
        assert path.read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF"}[suffix])


@pytest.mark.parametrize("text", ["2-1", "0-3", "1", "-3", "2-", "a", "2,5", "2-3-4", "", "٣"])
def test_what_is_no_number_of_clusters_is_a_wrong_command_line(text, run, images, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["cluster", str(run), "--data", str(images), f"--clusters={text}"])
    assert stopped.value.code == 2
    message = f"argument --clusters: {text!r} but expected a number of clusters such as 7, or two"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clusters", "2-64"], "clusters is 64 but expected fewer than the 64 images"),
        (["--clusters", "9", "--sample-size", "9"], "clusters is 9 but expected fewer than sample"),
        (["--clusters", "2", "--sample-size", "0"], "sample_size is 0 but expected an integer ≥ 3"),
        (["--clusters", "2", "--figure", "a.jpg"], "figure: a.jpg ends in '.jpg' but expected"),
        (["--clusters", "2", "--out", "a.txt"], "out: a.txt ends in '.txt' but expected"),
        (["--figure", "a.png"], "figure: a.png was given without clusters"),
        (["--sample-size", "10"], "sample_size: 10 was given without clusters"),
    ],
)
def test_errors_are_said_before_the_work(
    arguments, message, run, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("l2ae_core.networks.AutoEncoder.encode", None)
    assert main(["cluster", str(run), "--data", str(images), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("l2ae: error: ")
    assert message in error
    assert not list(tmp_path.iterdir())
