"""`fit` refuses what cannot work before the first step; a resume may change the clusters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l2ae_core.cli import main
from l2ae_core.commands import fit
from l2ae_core.layers import LeakyReLU
from l2ae_core.training import loop
from l2ae_core.training.history import read_history
from l2ae_core.training.run import load_run

SMALL: dict[str, Any] = {"epochs": 2, "clusters": 3, "n_init": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """12 images of class 0, 12 of class 1."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    x = np.random.default_rng(0).random((24, 8, 8))
    np.savez(path, x=x, y=np.repeat([0, 1], 12))
    return str(path)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_epoch(*arguments: Any) -> None:
        pytest.fail("a step was taken")

    monkeypatch.setattr(loop, "_train_epoch", train_epoch)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[(n, v) for n in ("clusters", "n_init", "epochs", "batch_size", "latent_dim")
          for v in (0, -1, 1.5, "3", None, True)],
        ("clusters", 25),
        *[("seed", v) for v in (-1, 0.5, None, 1 << 64)],
        *[("learning_rate", v) for v in (0, -1e-3, float("nan"), float("inf"), "fast")],
        *[("slope", v) for v in (-0.1, float("nan"), float("inf"))],
        *[(n, "other") for n in ("split", "model", "norm", "hidden_norm", "optimizer", "reduction",
                                 "weights")],
        *[("hidden", v) for v in (500, "500", None)],
        *[("patience", v) for v in (0, -1, 1.5, "3")],
        *[("validation", v) for v in (-0.1, 1.1, float("nan"), None, True, 0.01)],
        ("affine", "yes"),
        ("batchsize", 8),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_named(
    setting: str, value: Any, images: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"fit: ({setting} is|there is no setting '{setting}')"):
        fit(tmp_path / "run", {"data": images, **SMALL, setting: value}, progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clusters": 13, "anomaly_class": 1, "keep": 0.0}, "clusters is 13 but .* only 12 train"),
        ({"anomaly_class": 1, "keep": 1.1}, "keep is 1.1"),
        ({"anomaly_class": 1, "keep": float("nan")}, "keep is nan"),
        ({"keep": 0.5}, "keep is 0.5 but has no effect, since no anomaly_class"),
        ({"slope": 0.3}, "slope is 0.3 but has no effect, since model is 'cae'"),
        ({"hidden": (8,)}, "hidden is .* but has no effect, since model is 'cae'"),
        ({"model": "dense", "filters": [8, 8, 8]}, "filters is .* but has no effect, since model"),
        ({"filters": (8, 8)}, r"filters is \(8, 8\) and kernels is \(5, 5, 3\)"),
        ({"filters": (8, 8, 0)}, r"filters\[2\] is 0"),
        ({"filters": (8,) * 4, "kernels": (3,) * 4}, "takes sides from 16 on; H is 8"),
        ({"norm": "layer", "latent_dim": 1}, "latent_dim is 1 but norm is 'layer'"),
        ({"self_label": True, "norm": "none"}, "self_label is on and norm is 'none' but expected"),
        ({"self_label": True, "optimizer": "sgd"}, "optimizer is 'sgd' but expected 'adam'"),
        ({"affine": True}, "affine is True but has no effect, since norm is 'l2'"),
        ({"data": "thin.npy"}, "input_shape"),
        ({"data": "equal"}, "all 5 images of equal are equal"),
        ({"data": "equal", "image_shape": (8, 8)}, r"image_shape is \(8, 8\) but has no effect"),
        ({"fit": "crop"}, "fit is crop but has no effect, since no size"),
        ({"size": 4}, r"input_shape is \(4, 4, 1\)"),
        ({"size": (8, 0)}, "size: "),
        ({"background": "none"}, "background: 'none' but expected"),
        ({"depth": "deep"}, "depth: 'deep' but expected"),
        ({"data": "equal/0.png", "clusters": 2}, "clusters is 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    options: dict[str, Any], named: str, images: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("thin.npy", np.random.default_rng(0).random((9, 6, 8)))
    Path("equal").mkdir()
    for i in range(5):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(f"equal/{i}.png")
    with pytest.raises(ValueError, match=named):
        fit(tmp_path / "run", {"data": images, **SMALL, **options}, progress=False)
    assert not (tmp_path / "run").exists()


def test_checkpoints_come_at_whole_epochs(images: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint_every is 0"):
        fit(tmp_path / "run", {"data": images, **SMALL}, checkpoint_every=0, progress=False)
    assert not (tmp_path / "run").exists()


def test_sizes_that_no_memory_has_are_one_line(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["fit", "--data", images, "--clusters", "2", "--out", str(tmp_path / "run")]
    assert main([*call, "--latent-dim", "1000000000000000"]) == 1  # an exabyte
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("l2ae: error: not enough memory: ")
    assert any("memory: about" in line for line in told)  # a warning, before it is tried


def test_codes_that_diverge_are_no_clusters(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["fit", "--data", images, "--clusters", "2", "--epochs", "1", "--quiet"]
    assert main([*call, "--learning-rate", "1e30", "--out", str(tmp_path / "run")]) == 1
    assert "learning" in capsys.readouterr().err
    assert not (tmp_path / "run" / "clusters.npz").exists()


def test_norms_make_affine_a_setting(images: str, tmp_path: Path) -> None:
    for i, norms in enumerate(({"norm": "layer"}, {"hidden_norm": "batch"})):
        settings = {"data": images, **SMALL, "epochs": 1, "affine": True, **norms}
        assert fit(tmp_path / f"{i}", settings, progress=False).metrics["epochs"] == 1


@pytest.fixture
def start(images: str, tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Train into a folder, with options, and return its clusters."""

    def train(name: str, *, resume: bool = False, **options: Any) -> dict[str, np.ndarray]:
        settings = options if resume else {"data": images, **SMALL, **options}
        fit(tmp_path / name, settings, resume=resume, progress=False)
        with np.load(tmp_path / name / "clusters.npz") as file:
            return dict(file)

    return train


def test_a_resume_keeps_a_slope_that_is_not_the_default(
    start: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    dense = {"model": "dense", "slope": 0.3, "hidden": (9, 8, 10)}
    start("resumed", **dense)
    after, fresh = start("resumed", resume=True, epochs=4), start("fresh", **dense, epochs=4)
    assert all(np.array_equal(after[name], fresh[name]) for name in fresh)
    network, config = load_run(tmp_path / "resumed")
    slopes = {a.slope for a in network.encoder.layers if isinstance(a, LeakyReLU)}
    assert slopes == {config["architecture"]["slope"]} == {0.3}
    start("convolutional")
    path = tmp_path / "convolutional" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["architecture"]["slope"] = 0.3  # without effect there, and once the default
    path.write_text(json.dumps(config), "utf-8")
    start("convolutional", resume=True, epochs=3)
    assert load_run(path.parent)[1]["architecture"]["slope"] == 0.3


def test_widths_are_kept_from_the_command_line_to_a_resume(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    few = ["--clusters", "2", "--n-init", "1", "--quiet"]
    widths = ["--filters", "4,6", "--kernels", "3,5"]
    assert main(["fit", "--data", images, *few, *widths, "--epochs", "1", "--out", out]) == 0
    assert main(["fit", "--resume", *few, "--epochs", "2", "--out", out]) == 0
    network, config = load_run(Path(out))
    assert network.params["encoder.2.W"].shape == (5, 5, 4, 6)
    assert config["architecture"]["kernels"] == [3, 5]
    assert main(["fit", "--resume", *widths, "--epochs", "3", *few, "--out", out]) == 0
    capsys.readouterr()
    assert main(["fit", "--resume", "--filters", "4,8", "--out", out]) == 1
    assert "architecture.filters is [4, 8] but" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fit", "--filters", "4,x", "--out", out])
    assert "expected integers such as 32,64,128" in capsys.readouterr().err


def test_patience_and_validation_from_the_command_line(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At this rate the loss does not fall for long."""
    out = tmp_path / "run"
    call = ["fit", "--clusters", "2", "--n-init", "1", "--quiet", "--out", str(out)]
    options = ["--learning-rate", "0.5", "--validation", "0.25", "--patience", "1"]
    assert main([*call, "--data", images, *options, "--epochs", "300"]) == 0
    metrics, history = json.loads((out / "metrics.json").read_text()), read_history(out)
    assert metrics["epochs"] == len(history) < 300
    found = [record.validation_loss for record in history]
    assert found[-1] >= found[-2]
    assert metrics["validation_mse"] == {"last": found[-1], "best": found[-2]}
    assert metrics["reconstruction_mse"]["best"] == history[-2].loss
    assert f"of validation images {found[-2]:.5f}" in capsys.readouterr().out
    assert main([*call, "--resume"]) == 0
    assert len(read_history(out)) == len(history)
    assert main([*call, "--resume", "--patience", "9", "--epochs", f"{len(history) + 1}"]) == 0
    assert len(read_history(out)) == len(history) + 1
    assert main([*call, "--resume", "--validation", "0.5"]) == 1
    assert "training.validation is 0.5 but" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [
        {"clusters": 2, "epochs": 4},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ({"clusters": 5}, {"n_init": 7}, {"weights": "last"})
        ),
    ],
)
def test_a_resume_with_other_clusters_ends_as_a_run_of_its_own(
    changed: dict[str, Any], start: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    rough = {"learning_rate": 0.1, "optimizer": "adam"}  # the last epoch is not the best
    before = start("resumed", **rough)
    network = (tmp_path / "resumed" / "checkpoint.npz").read_bytes()
    after, fresh = start("resumed", resume=True, **changed), start("fresh", **rough, **changed)
    if "epochs" not in changed:
        assert (tmp_path / "resumed" / "checkpoint.npz").read_bytes() == network
    for name in fresh:
        np.testing.assert_array_equal(after[name], fresh[name])
    if "clusters" in changed:
        assert len(after["centers"]) == changed["clusters"] != len(before["centers"])


def test_a_run_whose_clusters_failed_is_of_use(
    start: Callable[..., dict[str, np.ndarray]], images: str, tmp_path: Path
) -> None:
    """More clusters than images: once, that was found after the training."""
    start("run")
    (tmp_path / "run" / "clusters.npz").unlink()
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"clusters": 3', '"clusters": 99'))
    with pytest.raises(ValueError, match="clusters is 99"):
        start("run", resume=True)
    assert len(start("run", resume=True, clusters=4)["centers"]) == 4
    assert main(["cluster", str(tmp_path / "run"), "--data", images, "--quiet"]) == 0


def test_fewer_epochs_than_are_done_are_refused(
    start: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    start("run")
    config = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"epochs is 1 but .*run has 2 epochs already"):
        start("run", resume=True, epochs=1)
    assert (tmp_path / "run" / "config.json").read_bytes() == config


def test_a_resume_cannot_change_the_images(
    start: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    start("run", anomaly_class=1, keep=0.5)
    before = (tmp_path / "run" / "clusters.npz").read_bytes()
    for options, message in (
        ({"anomaly_class": 0}, "anomaly_class is 0 but .*run was started with 1"),
        ({"keep": 0.25}, "keep is 0.25 but .*run was started with 0.5"),
        ({"clusters": 4, "seed": 3}, "seed is 3 but .*run was started with 0"),
    ):
        with pytest.raises(ValueError, match=message):
            start("run", resume=True, **options)
    assert (tmp_path / "run" / "clusters.npz").read_bytes() == before
