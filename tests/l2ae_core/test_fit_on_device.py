"""`l2ae fit --device`, `commands.fit(device=…)` and the estimators' `device`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from l2ae_core.cli import main
from l2ae_core.estimators import AutoEncoderClusterer
from l2ae_core.files import CHECKPOINT
from l2ae_core.report.run_page import run_page
from l2ae_core.training import checkpoint
from l2ae_core.training.device_step import DeviceStep
from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, NoDevice
from l2ae_kernels.cuda.emulated import emulate

SMALL = ["--model", "dense", "--hidden", "6", "--latent-dim", "3", "--clusters", "3",
         "--batch-size", "10", "--n-init", "2", "--quiet"]  # fmt: skip
# Six steps of Adam in float32, whose losses are about 0.3: their sums differ by rounding.
CLOSE = 1e-4


@pytest.fixture(scope="module")
def images() -> Array:
    return np.random.default_rng(0).random((24, 8, 8)).astype("float32")


@pytest.fixture
def data(images: Array, tmp_path: Path) -> str:
    path = tmp_path / "images.npz"
    np.savez(path, x=images, y=np.repeat([0, 1, 2], 8))
    return str(path)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, cxx: None) -> Device:
    """A device that is found where cuda is asked for."""
    device = emulate()
    monkeypatch.setattr("l2ae_core.devices.find_device", lambda: device)
    return device


def epochs(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[float]:
    return [epoch["loss"] for epoch in epochs(run)]


def test_a_run_is_trained_on_a_device_and_goes_on_on_the_processor(
    cuda: Device, data: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    call = ["fit", "--data", data, *SMALL]
    assert main([*call, "--epochs", "2", "--device", "cuda", "--out", str(there)]) == 0
    assert checkpoint.load(there / CHECKPOINT).settings["device"] == cuda.properties.name
    assert "goes on" not in caplog.text
    assert main(["fit", "--resume", "--out", str(there), "--quiet"]) == 0  # nothing to train
    assert "goes on" not in caplog.text
    assert main(["fit", "--resume", "--epochs", "3", "--out", str(there), "--quiet"]) == 0
    assert "up to epoch 2, goes on on the processor" in caplog.text
    assert "device" not in checkpoint.load(there / CHECKPOINT).settings
    assert main([*call, "--epochs", "3", "--out", str(here)]) == 0
    assert len(losses(there)) == 3
    assert [epoch.get("device") for epoch in epochs(there)] == [cuda.properties.name] * 2 + [None]
    assert f"Trained 2 epochs by {cuda.properties.name}, 1 epoch by the processor." in run_page(
        there
    )
    assert "Trained" not in run_page(here)
    np.testing.assert_allclose(losses(there), losses(here), rtol=CLOSE)
    assert main(["cluster", str(there), "--device", "cpu", "--out", str(tmp_path / "c.csv")]) == 0


@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]], ids=["a run", "seeds"])
@pytest.mark.usefixtures("cuda")
def test_after_ctrl_c_the_way_to_go_on_is_on_the_device(
    seeds: list[str], data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(self: DeviceStep, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DeviceStep, "losses", interrupted)
    call = ["fit", "--data", data, *SMALL, *seeds, "--device", "cuda", "--out", str(tmp_path / "r")]
    assert main(call) == 130
    said = capsys.readouterr().err
    assert said.count("l2ae fit --resume --device cuda") == (2 if seeds else 1)
    assert said.count("l2ae fit --resume") == said.count("l2ae fit --resume --device cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "sgd"], "optimizer is 'sgd' but Device(emulator, ascending) has adam"),
        (["--self-label"], "self_label is on but device is Device(emulator, ascending)"),
        (["--optimizer", "sgd", "--seeds", "2"], "optimizer is 'sgd' but Device(emulator, asc"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("cuda")
def test_what_a_device_cannot_train_is_refused_before_the_first_file(
    options: list[str], message: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    call = ["fit", "--data", data, *SMALL, "--device", "cuda", "--out", str(out), *options]
    assert main(call) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_no_processor_takes_the_place_of_a_gpu(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise NoDevice("no CUDA device: planted")

    monkeypatch.setattr("l2ae_core.devices.find_device", none)
    out = tmp_path / "run"
    assert main(["fit", "--data", data, *SMALL, "--device", "cuda", "--out", str(out)]) == 1
    assert "cuda was asked for, but no CUDA device: planted" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("cuda")
def test_an_estimator_is_fitted_on_a_device(images: Array, tmp_path: Path) -> None:
    how = {"model": "dense", "hidden": (6,), "latent_dim": 3, "epochs": 2, "batch_size": 10,
           "n_init": 2, "random_state": 0}  # fmt: skip
    here, there = (AutoEncoderClusterer(3, device=on, **how).fit(images) for on in ("cpu", "cuda"))
    found = [[epoch["loss"] for epoch in e.history_] for e in (here, there)]
    np.testing.assert_allclose(found[1], found[0], rtol=CLOSE)
    inside = clone(there).set_params(run_dir=tmp_path / "run").fit(images)
    assert [epoch["loss"] for epoch in inside.history_] == found[1]
    there.save(tmp_path / "kept.npz")
    assert AutoEncoderClusterer.load(tmp_path / "kept.npz").device is None
    with pytest.raises(ValueError, match="self_label is on but device is Device"):
        clone(there).set_params(self_label=True).fit(images)
    with pytest.raises(ValueError, match="device: 'tpu' is not one of"):
        clone(there).set_params(device="tpu").fit(images)
