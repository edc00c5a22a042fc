"""Classes are known by name: from folder to folder, from `fit` to `score`, in every output."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2ae_core.anomaly import auc
from l2ae_core.cli import main
from l2ae_core.commands import cluster, score
from l2ae_kernels.arrays import Array

SMALL = ["--epochs", "1", "--n-init", "1", "--quiet"]


def write_folder(path: Path, classes: str, images: int, channels: int = 1) -> Path:
    """Write random images; those of a class are bright in columns of their own."""
    rng = np.random.default_rng(len(classes))
    for name in classes:
        (path / name).mkdir(parents=True)
        for i in range(images):
            x = rng.integers(0, 100, (8, 8, channels), np.uint8)
            x[:, ord(name) % 8] += 120
            Image.fromarray(x[..., 0] if channels == 1 else x).save(path / name / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("train") / "letters", "ABCE", 8)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels 0, 1, 2 are other classes here, and X is new."""
    return write_folder(tmp_path_factory.mktemp("test") / "others", "ACX", 6)


@pytest.fixture(scope="module")
def run(letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with a quarter of class C, the third of the training folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ["--anomaly-class", "C", "--keep", "0.25", "--clusters", "4", *SMALL]
    assert main(["fit", "--data", str(letters), "--out", str(out), *options]) == 0
    return out


def first_letters(columns: dict[str, Array]) -> Array:
    return np.array([name[0] for name in columns["file"]])


def test_a_run_keeps_the_names_and_leaves_out_the_class_of_that_name(run: Path) -> None:
    training = json.loads((run / "config.json").read_text())["training"]
    assert training["class_names"] == ["A", "B", "C", "E"]
    assert training["anomaly_class"] == "C"
    assert json.loads((run / "metrics.json").read_text())["images"] == 3 * 8 + 2


@pytest.mark.parametrize(("named", "meant"), [(None, "C"), ("C", "C"), ("X", "X"), ("A", "A")])
def test_the_auc_is_that_of_the_class_of_that_name(
    named: str | None, meant: str, run: Path, others: Path
) -> None:
    columns, result = score(run, str(others), anomaly_class=named)
    anomalous = first_letters(columns) == meant
    assert result["anomaly_class"] == meant
    assert result["auc"]["normality"] == auc(anomalous, -columns["normality"])
    assert result["auc"]["reconstruction"] == auc(anomalous, columns["reconstruction_error"])
    aucs = {
        kind: auc(first_letters(columns) == kind, -columns["normality"])
        for kind in np.unique(first_letters(columns))
    }
    assert len(set(aucs.values())) == 3, "the classes must be told apart by their AUC"


def test_tables_show_the_name_of_the_class(
    run: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns, _ in (cluster(run, str(others)), score(run, str(others))):
        np.testing.assert_array_equal(columns["label"], first_letters(columns))
    assert main(["cluster", str(run), "--data", str(others), "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "index,file,cluster,label"
    assert all(line.split(",")[3] == line.split(",")[1][0] for line in lines[1:])
    assert main(["cluster", str(run), "--data", str(others), "--out", f"{tmp_path}/c.npy"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy")["label"], columns["label"])


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_class_that_is_not_there_is_an_error_that_names_those_that_are(
    command: str, run: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["score", str(run)] if command == "score" else ["fit", "--out", f"{tmp_path}/r", *SMALL]
    for wanted in ("Q", "2"):  # a position is no name
        assert main([*call, "--data", str(letters), "--anomaly-class", wanted]) == 1
        error = capsys.readouterr().err
        assert f"anomaly_class is '{wanted}' but the classes of letters are A, B, C, E" in error
    unlabelled = [*call, "--data", str(letters / "A"), "--anomaly-class", "A"]
    assert main(unlabelled) == 1
    assert "A has no labels" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_without_an_image_of_the_run_s_class_there_are_scores_and_a_reason(
    run: Path, letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normals = write_folder(tmp_path / "normals", "AB", 3)
    columns, result = score(run, str(normals))
    assert len(columns["normality"]) == 6
    assert "auc" not in result
    assert "the classes of normals are A, B" in result["no_auc"]
    assert main(["score", str(run), "--data", str(normals)]) == 0
    assert "no AUC" in capsys.readouterr().err
    only = write_folder(tmp_path / "only", "C", 3)
    assert "all images" in score(run, str(only))[1]["no_auc"]
    with pytest.raises(ValueError, match="all images of only are of the anomaly_class C"):
        score(run, str(only), anomaly_class="C")
    assert score(run, str(letters / "C"))[1]["no_auc"] == "", "nobody asked: there are no labels"


def test_labels_that_are_numbers_stay_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "numbers.npz"
    np.savez(data, x=rng.random((30, 8, 8)), y=np.repeat([3, 7, 11], 10))
    out = tmp_path / "run"
    options = ["--anomaly-class", "7", "--clusters", "2", *SMALL]
    assert main(["fit", "--data", str(data), "--out", str(out), *options]) == 0
    training = json.loads((out / "config.json").read_text())["training"]
    assert (training["anomaly_class"], training["class_names"]) == (7, None)
    columns, result = score(out, str(data))
    expected = auc(np.repeat([False, True, False], 10), -columns["normality"])
    assert result["auc"]["normality"] == expected
    assert main(["score", str(out), "--data", str(data)]) == 0
    assert "class 7 as anomaly (33.3% of images): AUC" in capsys.readouterr().err
    for wanted in (7, "7"):
        assert score(out, str(data), anomaly_class=wanted)[1]["auc"] == result["auc"]
    assert cluster(out, str(data))[0]["label"].tolist() == [3] * 10 + [7] * 10 + [11] * 10
    for wanted in ("1", "seven", "07", ""):
        assert main(["score", str(out), "--data", str(data), "--anomaly-class", wanted]) == 1
        assert "the classes of numbers.npz are 3, 7, 11" in capsys.readouterr().err
    assert main(["fit", "--resume", "--out", str(out), "--anomaly-class", "3", "--quiet"]) == 1
    assert "anomaly_class is 3 but" in capsys.readouterr().err


def test_a_run_that_keeps_no_names_has_its_class_by_position(
    run: Path, others: Path, tmp_path: Path
) -> None:
    """Runs were like that before names were kept."""
    old = tmp_path / "old"
    old.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (old / file.name).write_bytes(file.read_bytes())
    config = json.loads((old / "config.json").read_text())
    del config["training"]["class_names"]
    config["training"]["anomaly_class"] = 2
    (old / "config.json").write_text(json.dumps(config))
    result = score(old, str(others))[1]
    assert "auc" not in result
    assert "by position alone, 2" in result["no_auc"]
    assert score(old, str(others), anomaly_class="C")[1]["auc"] == score(run, str(others))[1]["auc"]
    for command in (["cluster", str(old), "--data", str(others)],
                    ["fit", "--resume", "--out", str(old)]):  # fmt: skip
        assert main([*command, "--quiet"]) == 0
    resumed = json.loads((old / "config.json").read_text())
    assert resumed["training"] == config["training"]


def test_grey_images_are_repeated_on_the_channels_of_the_run(tmp_path: Path) -> None:
    mixed = write_folder(tmp_path / "mixed", "A", 8, channels=3)
    write_folder(tmp_path / "grey", "B", 8)
    (tmp_path / "grey" / "B").rename(mixed / "B")
    out = tmp_path / "run"
    options = ["--clusters", "2", *SMALL]
    assert main(["fit", "--data", str(mixed), "--out", str(out), *options]) == 0
    whole, alone = score(out, str(mixed))[0], score(out, str(mixed / "B"))[0]
    for name in ("normality", "reconstruction_error"):
        np.testing.assert_allclose(alone[name], whole[name][8:], rtol=1e-5)
    one = score(out, str(mixed / "B" / "3.png"))[0]
    np.testing.assert_allclose(one["normality"], whole["normality"][11], rtol=1e-5)
    np.testing.assert_array_equal(cluster(out, str(mixed / "B"))[0]["cluster"],
                                  cluster(out, str(mixed))[0]["cluster"][8:])  # fmt: skip
    grey_run = tmp_path / "grey_run"
    assert main(["fit", "--data", str(mixed / "B"), "--out", str(grey_run), *options]) == 0
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\) but the run was trained on"):
        score(grey_run, str(mixed / "A"))
