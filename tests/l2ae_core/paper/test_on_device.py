"""The networks of a table trained on a device, several at once: the results of each alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import data
from l2ae_core.cli import main
from l2ae_core.data import Dataset
from l2ae_core.paper import Run, on_device, schedule, systems
from l2ae_core.paper.on_device import describe_groups, groups_of
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing
from l2ae_core.training import checkpoint
from l2ae_core.training.history import TrainingError
from l2ae_kernels.cuda.device import Device, NoDevice
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.training import DeviceTraining

from .small_runs import found

SMALL = {"hidden": [6], "slope": 0.01, "latent_dim": 3}


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, cxx: None) -> Device:
    """A device; all systems named "small-…" and the 40 images of the data set are of its size.

    Ten of the images show a 2, less of every other digit: as anomalies they leave fewer batches.
    """
    for norm in ("l2", "none"):
        small = systems._network(f"small {norm}", "dense", norm, **SMALL)
        monkeypatch.setitem(systems.SYSTEMS, f"small-{norm}", small)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8, 1)).astype("float32") / np.float32(255)

    labels = np.repeat(np.arange(10), [2, 3, 10, 4, 3, 4, 4, 3, 4, 3])

    def load(name: str, **_: Any) -> Dataset:
        return Dataset(images, labels, name)

    monkeypatch.setattr(data, "load", load)
    return emulate()


def detection(system: str, seed: int = 0, digit: int = 3, epochs: int = 2) -> Run:
    epochs = epochs if system.startswith("small") else 0
    return Run("detection", system, "digits", seed, epochs, digit, batch_size=16, n_init=2)


def test_groups_are_of_one_system_with_equal_digits_side_by_side(
    cuda: Device, tmp_path: Path
) -> None:
    pairs = [(seed, digit) for seed in range(2) for digit in (4, 3, 7, 5, 6)]
    runs = [detection("small-l2", *pair) for pair in pairs]
    other, pixels = detection("small-none"), detection("pixels")
    by_digit = [detection("small-l2", seed, digit) for digit in range(3, 8) for seed in (0, 1)]
    folder = ResultsDir(tmp_path)
    groups = groups_of([pixels, *runs[:6], other, *runs[6:]], folder)
    assert groups == [by_digit[:8], by_digit[8:], [other]]
    assert describe_groups(groups, "cuda") == (
        "reproduce: cuda trains 11 networks, up to 8 of one system at once: small-l2 on digits, 2 "
        "epochs, 10 in 2 groups; small-none on digits, 2 epochs, 1 in 1 group"
    )
    assert describe_groups([], "cuda") == "reproduce: cuda trains 0 networks"
    trained = folder.training(by_digit[0])
    trained.mkdir(parents=True)
    (trained / "metrics.json").touch()
    assert groups_of(runs, folder) == [by_digit[1:9], [by_digit[9]]]


def test_digits_that_leave_other_numbers_of_images_are_trained_at_once(
    cuda: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three of 31 to 38 images, 2 to 3 batches: killed, gone on with, and equal to each alone."""
    runs = [detection("small-l2", 0, digit, epochs=12) for digit in (0, 2, 3)]
    together, alone = (ResultsDir(tmp_path / name) for name in ("together", "alone"))
    plain, models = DeviceTraining.run, []

    def run(self: DeviceTraining, batches: Any) -> Any:
        models.append(self.models)
        if len(models) == 12:
            raise KeyboardInterrupt
        return plain(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(DeviceTraining, "run", run)
        with pytest.raises(KeyboardInterrupt):
            run_missing(runs, together, device=cuda, progress=False)
    assert models == [3] * 12
    counts = [checkpoint.load(together.training(r) / "checkpoint.npz").epoch for r in runs]
    assert counts == [10] * 3
    with caplog.at_level("INFO"):
        results = run_missing(runs, together, device=cuda, progress=False)
    assert "3 networks at once: small-l2 on digits, 12 epochs, seed 0, anomalies 0, 2–3" in (
        caplog.text
    )
    images = [result.details.images.train for result in results]
    assert images == [38, 31, 36]
    for run_, result in zip(runs, results, strict=True):
        (other,) = run_missing([run_], alone, device=cuda, progress=False)
        assert found(result) == found(other)
        files = [f.training(run_) / "checkpoint.npz" for f in (together, alone)]
        one, two = map(checkpoint.load, files)
        for name, p in one.params.items():
            np.testing.assert_array_equal(p, two.params[name])
        for name, m in one.optimizer.items():
            np.testing.assert_array_equal(m, two.optimizer[name])


def test_the_command_says_what_is_trained_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(schedule, "run_missing", lambda *_, **how: asked.append(how))
    call = ["reproduce", "table4", "--systems", "cae-l2", "cae", "--seeds", "2"]
    where = ["--device", "cuda", "--out", str(tmp_path)]
    assert main([*call, *where, "--micro-batch", "64"]) == 0
    assert (
        "reproduce: cuda trains 40 networks, up to 8 of one system at once: cae-l2 on mnist, 200 "
        "epochs, 20 in 3 groups; cae on mnist, 200 epochs, 20 in 3 groups\n"
    ) in capsys.readouterr().err
    assert main([*call, *where, "--quiet"]) == 0
    assert main([*call, "--out", str(tmp_path)]) == 0
    assert "at once" not in capsys.readouterr().err
    assert [(how["device"], how["micro_batch"]) for how in asked] == [
        ("cuda", 64), ("cuda", None), ("cpu", None)
    ]  # fmt: skip


def test_micro_batches_are_those_of_every_network_but_with_batch_norm(
    cuda: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = systems._network("small batch", "dense", "batch", **SMALL)
    monkeypatch.setitem(systems.SYSTEMS, "small-batch", batch)
    asked, plain = {}, DeviceTraining.__init__

    def start(self: DeviceTraining, *arguments: Any, **named: Any) -> None:
        plain(self, *arguments, **named)
        asked["batch" in str(self.stages)] = self.micro_batch

    monkeypatch.setattr(DeviceTraining, "__init__", start)
    runs = [detection("small-l2"), detection("small-batch")]
    run_missing(runs, ResultsDir(tmp_path), device=cuda, micro_batch=8, progress=False)
    assert asked == {False: 8, True: None}
    with pytest.raises(ValueError, match="micro_batch is 8 but device is the processor"):
        run_missing(runs, ResultsDir(tmp_path), micro_batch=8, progress=False)


def test_results_are_those_of_each_run_alone(cuda: Device, tmp_path: Path) -> None:
    runs = [
        detection("small-l2"), detection("pixels"), detection("small-l2", 1),
        detection("small-none"), Run("clustering", "small-l2", "digits", 0, 2, batch_size=16),
    ]  # fmt: skip
    together, alone = (ResultsDir(tmp_path / name) for name in ("together", "alone"))
    results = run_missing(runs, together, device=cuda, progress=False)
    for run, result in zip(runs, results, strict=True):
        (other,) = run_missing([run], alone, device=cuda, progress=False)
        assert found(result) == found(other)
        networks = run.system != "pixels"
        assert result.environment.device == (cuda.properties.name if networks else None)
        if networks:
            saved = [
                checkpoint.load(folder.training(run) / "checkpoint.npz")
                for folder in (together, alone)
            ]
            for name, p in saved[0].params.items():
                np.testing.assert_array_equal(p, saved[1].params[name])
    (here,) = run_missing(runs[:1], ResultsDir(tmp_path / "here"), progress=False)
    assert here.environment.device is None
    np.testing.assert_allclose(
        results[0].details.history.loss, here.details.history.loss, rtol=1e-4
    )


def test_a_training_that_fails_is_not_gone_on_with_on_the_processor(
    cuda: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = on_device.train_together

    def train_together(*arguments: Any, **named: Any) -> list[Exception | None]:
        return [TrainingError("planted"), *plain(*arguments, **named)[1:]]

    monkeypatch.setattr(on_device, "train_together", train_together)
    folder, runs = ResultsDir(tmp_path), [detection("small-l2", seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="1 of 2 runs failed: small-l2 .*, seed 0.*: planted"):
        run_missing(runs, folder, device=cuda, progress=False)
    assert [folder.result(run).exists() for run in runs] == [False, True]


def test_no_processor_takes_the_place_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise NoDevice("no CUDA device: planted")

    monkeypatch.setattr("l2ae_core.devices.find_device", none)
    call = ["reproduce", "table4", "--digits", "3", "--device", "cuda", "--quiet"]
    assert main([*call, "--out", str(tmp_path / "results")]) == 1
    assert "cuda was asked for, but no CUDA device: planted" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_device_takes_no_processes_beside_it(cuda: Device, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device is .*: expected jobs 1 and no cluster"):
        run_missing([detection("small-l2")], ResultsDir(tmp_path), device=cuda, jobs=2)
