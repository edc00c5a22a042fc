"""The networks of a table trained on a device, several at once: the results of each alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import data
from l2ae_core.cli import main
from l2ae_core.data import Dataset
from l2ae_core.paper import Run, on_device, systems
from l2ae_core.paper.on_device import groups_of
from l2ae_core.paper.run import ResultsDir
from l2ae_core.paper.schedule import run_missing
from l2ae_core.training import checkpoint
from l2ae_core.training.history import TrainingError
from l2ae_kernels.cuda.device import Device, NoDevice, emulate

from .small_runs import found

SMALL = {"hidden": [6], "slope": 0.01, "latent_dim": 3}


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, cxx: None) -> Device:
    """A device; all systems named "small-…" and the 40 images of the data set are of its size."""
    for norm in ("l2", "none"):
        small = systems._network(f"small {norm}", "dense", norm, **SMALL)
        monkeypatch.setitem(systems.SYSTEMS, f"small-{norm}", small)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 8, 8, 1)).astype("float32") / np.float32(255)

    def load(name: str, **_: Any) -> Dataset:
        return Dataset(images, np.repeat(np.arange(10), 4), name)

    monkeypatch.setattr(data, "load", load)
    return emulate()


def detection(system: str, seed: int = 0, digit: int = 3) -> Run:
    epochs = 2 if system.startswith("small") else 0
    return Run("detection", system, "digits", seed, epochs, digit, batch_size=16, n_init=2)


def test_groups_are_of_runs_that_differ_by_the_seed(cuda: Device, tmp_path: Path) -> None:
    one = [detection("small-l2", seed) for seed in range(10)]
    runs = [detection("pixels"), *one, detection("small-none"), detection("small-l2", digit=4)]
    assert groups_of(runs, ResultsDir(tmp_path)) == [one[:8], one[8:], [runs[-2]], [runs[-1]]]
    trained = ResultsDir(tmp_path).training(one[0])
    trained.mkdir(parents=True)
    (trained / "metrics.json").touch()
    assert groups_of(one, ResultsDir(tmp_path)) == [one[1:9], [one[9]]]


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
