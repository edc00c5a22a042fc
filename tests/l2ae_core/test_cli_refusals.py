"""Command lines that are wrong: one line that names what, and the exit status."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=np.random.default_rng(0).random((12, 8, 8)), y=np.arange(12) % 3)
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--epochs", "1", "--n-init", "1", "--clusters", "3", "--quiet", "--out", str(out)]
    assert main(["fit", "--data", str(images), *options]) == 0
    return out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--out", "{run}"], "already exists"),
        (["fit", "--resume", "--norm", "none", "--out", "{run}"], "architecture.norm is 'none'"),
        (["fit", "--data", "nowhere", "--out", "{tmp}/x"], "nowhere is neither"),
        (["fit", "--data", "{tmp}/x.txt", "--out", "{tmp}/x"], "x.txt is neither"),
        (["fit", "--data", "", "--out", "{tmp}/x"], "error: data: the path is empty"),
        (["fit", "--data", "{images}", "--epochs", "0", "--out", "{tmp}/x"], "epochs"),
        (["fit", "--data", "{images}", "--learning-rate", "-1", "--out", "{tmp}/x"], "learning"),
        (["cluster", "{tmp}", "--data", "{images}"], "not a run directory"),
        (["cluster", "{run}", "--data", "{images}", "--out", "{tmp}/x.txt"], "expected .csv or"),
        (["score", "{run}", "--data", "{images}", "--fpr", "2"], "error: fpr is 2"),
        (["cluster", "{run}", "--data", "{images}", "--threads", "1000"], "threads: 1000"),
    ],
)
def test_errors_are_one_line_and_status_one(arguments, message, run, images, tmp_path, capsys):
    filled = [a.format(run=run, tmp=tmp_path, images=images) for a in arguments]
    assert main(filled) == 1
    error = capsys.readouterr().err
    assert error.startswith("l2ae: error: ")
    assert message in error
    assert not (tmp_path / "x.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--out", ""],
        ["cluster", ""],
        ["cluster", "{run}", "--data", "{images}", "--out", ""],
        ["report", ""],
        ["report", "{run}", "--out", ""],
        ["demo", "--out", ""],
        ["reproduce", "table2", "--show", "--out", ""],
    ],
)
def test_an_empty_path_is_not_the_folder_that_one_stands_in(
    arguments, run, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([a.format(run=run, images=images) for a in arguments])
    assert stopped.value.code == 2
    assert "path is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["fit", "--out", "new"], ["cluster", "{run}"]])
def test_an_empty_name_of_data_is_refused(command, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("a.png")
    assert main([a.format(run=run) for a in [*command, "--data", ""]]) == 1
    assert "path is empty" in capsys.readouterr().err
    assert not Path("new").exists()


def test_a_wrong_command_line_is_status_two(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--norm", "l3", "--out", "x"])
    assert stopped.value.code == 2
    assert "invalid choice: 'l3'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fit", "{images}", "--out", "new"], "images are named by --data"),
        (["fit", "--data", "{images}", "{images}", "--out", "new"], "name the folder"),
        (["look", "{images}", "{images}"], "look takes one file or folder"),
        (["fit", "elsewhere", "--out", "new"], "unrecognized arguments: elsewhere\n"),
    ],
)
def test_images_in_the_wrong_place_of_a_command_line(arguments, named, images, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([a.format(images=images) for a in arguments])
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("command", [["fit"], ["demo"], ["reproduce", "table2"]])
def test_a_file_for_the_folder_out_is_a_wrong_command_line(command, images, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", str(images)])
    assert ended.value.code == 2
    assert f"--out: {images} is a file, but expected a folder" in capsys.readouterr().err
