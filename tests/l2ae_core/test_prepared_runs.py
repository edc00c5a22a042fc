"""A run keeps how its images were prepared; every later command does the same to other images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core import commands, data
from l2ae_core.cli import main
from l2ae_core.data import Preparation

RNG = np.random.default_rng(2)
SMALL: dict[str, Any] = {"epochs": 1, "clusters": 2, "n_init": 1, "batch_size": 8,
                         "model": "dense", "hidden": (9,)}  # fmt: skip
HOW: dict[str, Any] = {"size": (12, 10), "fit": "crop", "background": "#ff8000", "depth": "12"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images of all sizes and kinds, in two folders."""
    folder = tmp_path / "photos"
    for i in range(12):
        h, w = RNG.integers(9, 30, 2).tolist()
        shape = [(h, w), (h, w, 3), (h, w, 4), (h, w)][i % 4]
        pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
        if i % 4 == 3:
            pixels = RNG.integers(0, 4096, shape, dtype=np.uint16)
        path = folder / f"day{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def train(photos: Path, tmp_path: Path) -> Callable[..., Path]:
    def _train(
        name: str = "run", *, resume: bool = False, skip: bool = False, **given: Any
    ) -> Path:
        settings = given if resume else {"data": str(photos), **SMALL, **HOW, **given}
        run = tmp_path / name
        commands.fit(run, settings, resume=resume, skip_unreadable=skip, progress=False)
        return run

    return _train


def scores(run: Path, source: Any, **how: Any) -> dict[str, np.ndarray]:
    return commands.score(run, str(source), **how, progress=False)[0]


@pytest.mark.parametrize("grey", [False, True])
def test_one_file_has_the_numbers_that_it_has_in_the_folder(
    grey: bool, train: Callable[..., Path], photos: Path
) -> None:
    run = train(grey=grey)
    assert json.loads((run / "config.json").read_text())["training"]["size"] == [12, 10]
    together = scores(run, photos)
    for i, name in enumerate(together["file"]):
        alone = scores(run, photos / name)
        for column in ("normality", "reconstruction_error"):
            # another batch, another order of sums
            np.testing.assert_allclose(alone[column][0], together[column][i], rtol=1e-4, atol=1e-5)
        assert alone["cluster"][0] == together["cluster"][i]


def test_prepared_by_hand_is_the_same(
    train: Callable[..., Path], photos: Path, tmp_path: Path
) -> None:
    run = train()
    images = data.load(photos, preparation=Preparation(**HOW), progress=False).images
    np.save(tmp_path / "prepared.npy", images)
    columns, _ = commands.cluster(run, str(photos), progress=False)
    hand = train("hand", data=str(tmp_path / "prepared.npy"), size=None, fit="pad",
                 background=None, depth="8", labels=False)  # fmt: skip
    for name in ("clusters.npz", "checkpoint.npz"):
        with np.load(run / name) as a, np.load(hand / name) as b:
            keys = [key for key in a if a[key].dtype == np.float32]
            assert keys
            for key in keys:
                np.testing.assert_array_equal(a[key], b[key])
    again, _ = commands.cluster(hand, str(tmp_path / "prepared.npy"), progress=False)
    np.testing.assert_array_equal(columns["cluster"], again["cluster"])


def test_a_resume_prepares_by_itself(train: Callable[..., Path]) -> None:
    run = train()
    before = (run / "checkpoint.npz").read_bytes()
    train(resume=True)
    assert (run / "checkpoint.npz").read_bytes() == before
    train(resume=True, epochs=2)
    for name, value in (("size", (8, 8)), ("grey", True), ("depth", "auto"), ("labels", False)):
        with pytest.raises(ValueError, match=f"fit: {name} is .* was started with"):
            train(resume=True, **{name: value})


def test_a_run_without_these_settings_goes_on(train: Callable[..., Path], tmp_path: Path) -> None:
    np.save(tmp_path / "old.npy", RNG.random((9, 8, 8)))
    plain = {"size": None, "fit": "pad", "background": None, "depth": "8"}
    run = train(data=str(tmp_path / "old.npy"), **plain)
    config = json.loads((run / "config.json").read_text())
    for name in ("labels", "size", "fit", "grey", "background", "depth", "image_shape"):
        del config["training"][name]
    (run / "config.json").write_text(json.dumps(config))
    assert len(scores(run, tmp_path / "old.npy")["normality"]) == 9
    train(resume=True, epochs=2)
    assert len(scores(run, tmp_path / "old.npy")["normality"]) == 9


def test_images_may_move(train: Callable[..., Path], photos: Path, tmp_path: Path) -> None:
    run = train()
    before = (run / "clusters.npz").read_bytes()
    moved = photos.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"photos, the images of .*--resume --data"):
        train(resume=True)
    assert (run / "clusters.npz").read_bytes() == before
    train(resume=True, data=str(moved))
    assert (run / "clusters.npz").read_bytes() == before
    train(resume=True, epochs=2)  # the run knows the new place
    first = moved / "day0/0.png"
    Image.open(first).transpose(Image.Transpose.ROTATE_180).save(first)
    with pytest.raises(ValueError, match=r"the images of .*moved are not those that .*run was"):
        train(resume=True, epochs=3)


@pytest.mark.slow
def test_several_seeds_may_move(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "seeds")
    call = ["fit", "--data", str(photos), "--epochs", "1", "--clusters", "2", "--n-init", "1",
            "--size", "8", "--background", "white", "--depth", "auto", "--model", "dense",
            "--hidden", "9", "--seeds", "2", "--quiet", "--out", out]  # fmt: skip
    assert main(call) == 0
    moved = photos.rename(tmp_path / "moved")
    assert main(["fit", "--resume", "--quiet", "--out", out]) == 1
    assert "no longer there" in capsys.readouterr().err
    assert main(["fit", "--resume", "--quiet", "--data", str(moved), "--out", out]) == 0
    assert main(["fit", "--resume", "--epochs", "2", "--quiet", "--out", out]) == 0


def test_damaged_files_are_left_out_of_training_and_use(
    train: Callable[..., Path], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "day0/000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"000\.png: cannot be decoded"):
        train()
    run = train(skip=True)
    train(resume=True, epochs=2)
    for command in (["score"], ["cluster"], ["cluster", "--save", "3"]):  # the run's own images
        assert main([command[0], str(run), *command[1:], "--quiet"]) == 0
        assert "left out 1 of 13" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"000\.png: cannot be decoded"):  # others are asked for
        scores(run, photos)
    found = scores(run, photos, skip_unreadable=True)
    assert found["file"][0] == "day0/0.png"
    assert len(found["file"]) == 12
    assert main(["cluster", str(run), "--data", str(photos), "--skip-unreadable", "--quiet"]) == 0
    assert "left out 1 of 13" in capsys.readouterr().err
    (photos / "day0/000.png").unlink()
    train(resume=True, epochs=3)  # the very same images
    (photos / "day0/0.png").write_bytes(b"")  # an image of the training
    for use in (lambda: train(resume=True, epochs=4), lambda: commands.score(run, progress=False)):
        with pytest.raises(ValueError, match=r"are not those that(.|\n)*0\.png: cannot be decoded"):
            use()


def test_folders_that_are_no_classes(train: Callable[..., Path], photos: Path) -> None:
    run = train(labels=False)
    assert "acc" not in json.loads((run / "metrics.json").read_text())["last"]
    assert json.loads((run / "config.json").read_text())["training"]["class_names"] is None
    assert "label" not in scores(run, photos)
    train(resume=True, epochs=2)  # by itself without labels
    with_labels = train("labelled")
    assert "label" in scores(with_labels, photos)
    assert "label" not in scores(with_labels, photos, labels=False)
    with pytest.raises(ValueError, match="anomaly_class is 'day1' but .* has no labels"):
        train("none", labels=False, anomaly_class="day1")


def test_flat_arrays_are_images_by_a_shape(train: Callable[..., Path], tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", RNG.integers(0, 256, (9, 64), dtype=np.uint8))
    plain = {"size": None, "fit": "pad", "background": None, "depth": "8"}
    run = train(data=str(tmp_path / "flat.npy"), image_shape=(8, 8), **plain)
    assert len(scores(run, tmp_path / "flat.npy")["normality"]) == 9
    with pytest.raises(ValueError, match="rows have 64 values"):
        train("other", data=str(tmp_path / "flat.npy"), image_shape=(8, 9), **plain)


def test_the_command_line_takes_width_and_height(photos: Path, tmp_path: Path) -> None:
    call = ["fit", "--data", str(photos), "--size", "20x10", "--background", "white", "--depth",
            "auto", "--epochs", "1", "--clusters", "2", "--n-init", "1", "--model", "dense",
            "--hidden", "9", "--no-labels", "--quiet", "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(call) == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["architecture"]["input_shape"] == [10, 20, 3]
    assert config["training"]["size"] == [10, 20]


@pytest.mark.parametrize("size", ["20x", "x3", "4.5", "wide"])
def test_sizes_that_are_none(
    size: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data", str(photos), "--size", size, "--out", str(tmp_path / "run")])
    assert "argument --size: " in capsys.readouterr().err
