"""Estimators and run directories: each made of the other, with equal bits."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core import AutoEncoderClusterer, AutoEncoderDetector, SelfLabelling, Warp, load
from l2ae_core.cli import main
from l2ae_core.estimators import runs
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import EpochRecord
from l2ae_core.training.run import read_config
from l2ae_kernels.arrays import Array

from .small import table

FEW: dict[str, Any] = {
    "n_clusters": 3, "epochs": 2, "n_init": 2, "filters": (8, 8, 16), "batch_size": 16,
    "random_state": 0,
}  # fmt: skip
FIT = ["--clusters", "3", "--epochs", "2", "--n-init", "2", "--filters", "8,8,16",
       "--batch-size", "16", "--quiet"]  # fmt: skip
CENTERS = ("cluster_centers_", "embedding_", "labels_")


@pytest.fixture(scope="module")
def images() -> Array:
    return load("digits", split="test").images[:40]


@pytest.fixture(scope="module")
def file(images: Array, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, images)
    return str(path)


@pytest.fixture(scope="module")
def run(file: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `l2ae fit` makes, with every setting that estimators have, too."""
    out = tmp_path_factory.mktemp("runs") / "run"
    more = ["--augment", "--rotation", "5", "--optimizer", "sgd", "--learning-rate", "0.001",
            "--weights", "last", "--hidden-norm", "layer", "--affine", "--reduction", "sum",
            "--latent-dim", "4", "--validation", "0.25", "--patience", "9"]  # fmt: skip
    assert main(["fit", "--data", file, "--out", str(out), *FIT, *more]) == 0
    return out


def _columns(command: str, run: Path, file: str, tmp_path: Path, *more: str) -> Array:
    out = tmp_path / f"{command}.npy"
    assert main([command, str(run), "--data", file, "--out", str(out), "--quiet", *more]) == 0
    found: Array = np.load(out)
    return found


def test_a_run_becomes_an_estimator_with_the_bits_of_the_commands(
    run: Path, file: str, images: Array, tmp_path: Path
) -> None:
    clusterer = AutoEncoderClusterer.from_run(run)
    labels = _columns("cluster", run, file, tmp_path)["cluster"]
    np.testing.assert_array_equal(clusterer.predict(images), labels)
    for criterion in ("cosine", "both", None):
        detector = AutoEncoderDetector.from_run(run, contamination=0.2, criterion=criterion)
        more = ("--fpr", "0.2", *(("--criterion", criterion) if criterion else ()))
        scores = _columns("score", run, file, tmp_path, *more)
        np.testing.assert_array_equal(detector.score_samples(images), scores["normality"])
        anomalous = scores["anomalous"].astype(bool)
        np.testing.assert_array_equal(detector.predict(images) == -1, anomalous)
        assert 0 < anomalous.sum() <= 8
        np.testing.assert_array_equal(detector.reasons(images), scores["reason"])


def test_the_estimator_of_a_run_trains_what_the_run_was(
    run: Path, file: str, images: Array, tmp_path: Path
) -> None:
    """So every parameter is that of the run; with the images it has all that fit finds."""
    found = AutoEncoderClusterer.from_run(run, file)
    again = AutoEncoderClusterer(**found.get_params()).fit(images)
    for name in (*CENTERS, "reconstruction_errors_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name), err_msg=name)
    assert found.augment == Warp(5.0)
    same = ("epoch", "loss", "validation_loss")
    assert [{k: r[k] for k in same} for r in found.history_] == [
        {k: r[k] for k in same} for r in again.history_
    ]
    found.save(tmp_path / "saved.npz")
    np.testing.assert_array_equal(
        AutoEncoderClusterer.load(tmp_path / "saved.npz").transform(images), found.embedding_
    )


def test_a_run_without_its_images(run: Path, tmp_path: Path, images: Array) -> None:
    found = AutoEncoderClusterer.from_run(run)
    with pytest.raises(ValueError, match=r"no embedding_: from_run\(run, X\)"):
        found.save(tmp_path / "saved.npz")
    with pytest.raises(ValueError, match="embedding_"):
        found.recluster(4)
    with pytest.raises(ValueError, match="save_run: .* without its images: copy that folder"):
        found.save_run(tmp_path / "run")
    for other in (images[:39], images[:, ::-1]):
        with pytest.raises(ValueError, match="from_run: X has .* images that are not the 40"):
            AutoEncoderClusterer.from_run(run, other)
    with pytest.raises(CheckpointError, match="not a run directory"):
        AutoEncoderClusterer.from_run(tmp_path / "nothing")


def test_a_run_directory_of_an_estimator_is_that_of_the_command(
    file: str, images: Array, tmp_path: Path
) -> None:
    """The very bits, with or without a run directory, and with self-labelling."""
    label = SelfLabelling(3, rounds=2, n_init=2, batch_size=16, warp=Warp(3.0), tol=0.0)
    plain = AutoEncoderClusterer(**FEW, self_label=label).fit(images)
    inside = AutoEncoderClusterer(**FEW, self_label=label, run_dir=tmp_path / "est").fit(images)
    options = ["--self-label", "--rounds", "2", "--tol", "0", "--label-rotation", "3",
               "--label-shift", "0.1", "--label-scale", "0"]  # fmt: skip
    assert main(["fit", "--data", file, "--out", str(tmp_path / "cli"), *FIT, *options]) == 0
    for name in (*CENTERS, "reconstruction_errors_"):
        expected = getattr(plain, name)
        np.testing.assert_array_equal(getattr(inside, name), expected, err_msg=name)
        found = getattr(AutoEncoderClusterer.from_run(tmp_path / "cli", file), name)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert inside.self_labelling_history_ == plain.self_labelling_history_
    configs = [read_config(tmp_path / name) for name in ("est", "cli")]
    for config in configs:
        del config["data"]["name"]
    assert configs[0] == configs[1]
    labels = _columns("cluster", tmp_path / "est", file, tmp_path)["cluster"]
    np.testing.assert_array_equal(labels, inside.labels_)


def test_an_interrupted_fit_is_resumed_with_the_same_bits(
    images: Array, tmp_path: Path, file: str
) -> None:
    def interrupt(record: EpochRecord, model: Any) -> None:
        if record.epoch == 4:
            raise KeyboardInterrupt

    call = FEW | {"epochs": 6}
    whole = AutoEncoderClusterer(**call).fit(images)
    resumed = AutoEncoderClusterer(**call, run_dir=tmp_path / "run", resume=True)
    with pytest.raises(KeyboardInterrupt):
        resumed.set_params(callbacks=[interrupt]).fit(images)
    resumed.set_params(callbacks=()).fit(images)
    for name in CENTERS:
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name), err_msg=name)
    with pytest.raises(CheckpointError, match="already exists"):
        AutoEncoderClusterer(**call, run_dir=tmp_path / "run").fit(images)
    with pytest.raises(ValueError, match="batch_size is 8 but"):
        resumed.set_params(batch_size=8).fit(images)
    longer = ["fit", "--resume", "--data", file, "--epochs", "7", "--out", str(tmp_path / "run")]
    assert main([*longer, "--quiet"]) == 0
    expected = AutoEncoderClusterer(**call | {"epochs": 7}).fit(images)
    found = AutoEncoderClusterer.from_run(tmp_path / "run")
    np.testing.assert_array_equal(found.transform(images), expected.embedding_)


def test_a_seed_that_was_drawn_is_that_of_the_resume(images: Array, tmp_path: Path) -> None:
    call = FEW | {"random_state": None, "run_dir": tmp_path / "run", "resume": True}
    first = AutoEncoderClusterer(**call).fit(images)
    again = AutoEncoderClusterer(**call).fit(images)
    assert again.seed_ == first.seed_
    np.testing.assert_array_equal(again.embedding_, first.embedding_)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_fitted_estimator_is_written_as_a_run(
    weights: str, images: Array, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = FEW | {"learning_rate": 0.5, "epochs": 5, "optimizer": "sgd"}
    fitted = AutoEncoderDetector(**call, weights=weights).fit(images)
    out = tmp_path / "run"
    fitted.save_run(out)
    np.testing.assert_array_equal(
        _columns("score", out, file, tmp_path)["normality"], fitted.score_samples(images)
    )
    labels = _columns("cluster", out, file, tmp_path)["cluster"]
    np.testing.assert_array_equal(labels, fitted.labels_)
    assert main(["report", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["epochs"], metrics["images"]) == (5, 40)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    capsys.readouterr()
    resume = ["fit", "--resume", "--data", file, "--clusters", "4", "--out", str(out)]
    assert main(resume) == 1
    assert "was written by save_run and cannot be resumed" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    with pytest.raises(CheckpointError, match="already exists"):
        fitted.save_run(out)


def test_a_run_is_written_as_a_whole_or_not_at_all(
    images: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = AutoEncoderClusterer(**FEW).fit(images)
    out = tmp_path / "run"
    out.mkdir()  # an empty folder

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0] / "metrics.json"))

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_metrics", full)
        with pytest.raises(OSError, match=rf"No space left on device: '{out}'"):
            fitted.save_run(out)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".run.0123abcd.tmp").mkdir()  # of a killed process
    (tmp_path / ".run.0123abcd.tmp" / "config.json").touch()
    fitted.save_run(out)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"save_run: .*mine is a folder that is not empty"):
        fitted.save_run(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"spherical": True}, "spherical is True but a run directory has plain k-means"),
        ({"scale": "none"}, r"scale is 'none' but a run directory is one of images with values"),
        ({"validation": np.zeros((4, 8, 8))}, r"validation is \(4, 8, 8\) but .* share alone"),
        ({"self_label": SelfLabelling(3, assignment="student")}, "self_label is .* spherical"),
    ],
)
def test_what_a_run_directory_is_not_is_refused_before_any_training(
    parameters: dict[str, Any], message: str, images: Array, tmp_path: Path
) -> None:
    endless = FEW | {"epochs": 10**9, "run_dir": tmp_path / "run"} | parameters
    with pytest.raises(ValueError, match=message):
        AutoEncoderClusterer(**endless).fit(images)
    assert not (tmp_path / "run").exists()


def test_a_table_and_self_labels_are_no_run_of_their_own(images: Array, tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden": (8,), "epochs": 1, "n_init": 1, "latent_dim": 3}
    with pytest.raises(ValueError, match="save_run: X is a table but a run directory"):
        AutoEncoderClusterer(2, **small).fit(table()).save_run(tmp_path / "run")
    labelled = AutoEncoderClusterer(**FEW, self_label=True).fit(images)
    with pytest.raises(ValueError, match="save_run: self_label is on, .*: fit with run_dir"):
        labelled.save_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_callbacks_patience_and_validation_images(images: Array, tmp_path: Path) -> None:
    seen: list[EpochRecord] = []

    def second(record: EpochRecord, model: Any) -> bool:
        seen.append(record)
        assert model.encode(images[:1]).shape == (1, 10)
        return record.epoch == 2

    more: dict[str, Any] = {"callbacks": [second], "validation": (images[:7] * 255).astype("u1")}
    fitted = AutoEncoderClusterer(**FEW | {"epochs": 99}, **more).fit(images)
    assert [record.epoch for record in seen] == [1, 2]
    assert fitted.history_[1]["validation_loss"] == seen[1].validation_loss
    assert len(fitted.labels_) == 40
    fitted.save(tmp_path / "saved.npz")
    loaded = AutoEncoderClusterer.load(tmp_path / "saved.npz")
    assert (loaded.callbacks, loaded.validation) == ((), 0.0)
    assert loaded.history_ == fitted.history_
    for parameters, message in [
        ({"callbacks": [1]}, r"callbacks\[0\] is 1 but"),
        ({"callbacks": second}, "callbacks is .* but expected a list"),
        ({"patience": 0}, "patience is 0"),
        ({"validation": 2}, "validation is 2"),
        ({"validation": images[:, :4]}, r"validation: X is .* fitted to images of shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            AutoEncoderClusterer(**FEW | {"epochs": 10**9} | parameters).fit(images)


def test_a_run_directory_of_a_folder_of_classes(images: Array, tmp_path: Path) -> None:
    """The commands find its images, though an estimator takes no labels."""
    for i, image in enumerate(np.rint(images * 255).astype(np.uint8).reshape(len(images), 8, 8)):
        (tmp_path / f"photos/{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"photos/{i % 2}/{i:02}.png")
    run, photos = tmp_path / "run", tmp_path / "photos"
    few = FEW | {"augment": False, "run_dir": run}
    clusterer = AutoEncoderClusterer(**few).fit(str(photos))
    labels = _columns("cluster", run, str(photos), tmp_path)["cluster"]
    np.testing.assert_array_equal(labels, clusterer.labels_)
    assert main(["score", str(run), "--out", str(tmp_path / "s.csv"), "--quiet"]) == 0
    assert main(["cluster", str(run), "--save", "2", "--quiet"]) == 0
    assert len(AutoEncoderClusterer.from_run(run).cluster_centers_) == 2
    assert main(["fit", "--resume", "--epochs", "4", "--out", str(run), "--quiet"]) == 0


def test_commands_that_lack_the_images_of_an_estimator_say_why(
    images: Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = AutoEncoderClusterer(**FEW, run_dir=tmp_path / "run").fit(images)
    inside.save_run(tmp_path / "saved")
    for name, why in (("run", "were an array in memory"), ("saved", "was written by save_run")):
        assert main(["score", str(tmp_path / name), "--quiet"]) == 1
        assert why in capsys.readouterr().err
