"""`l2ae fit --self-label`: files, resumes, refusals, and what cluster and score then use."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.array_readers import read_npz
from l2ae_core.cli import main
from l2ae_core.commands import TrainedRun, fit, load_fitted
from l2ae_core.data import load
from l2ae_core.refinement.step import JointStep
from l2ae_core.training import loop
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError
from l2ae_core.training.run import NEWER, load_run
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

from .small import TIMES, interrupt

INNER = "self-labelling"
SMALL: dict[str, Any] = {
    "model": "dense", "epochs": 2, "clusters": 3, "n_init": 2, "batch_size": 16, "latent_dim": 4,
    "augment": True, "self_label": True, "rounds": 3, "tol": 0.0,
}  # fmt: skip
PLAIN = {k: v for k, v in SMALL.items() if k not in ("self_label", "rounds", "tol")}
STEPS = 3  # an epoch, of 48 images
PIPELINE_FILES = {"config.json", "history.jsonl", "checkpoint.npz", "clusters.npz", "gallery.npz",
                  "metrics.json"}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """48 images of three kinds, with labels."""
    rng, y = np.random.default_rng(0), np.arange(48) % 3
    x = rng.random((48, 8, 8)) * 0.2
    for kind in range(3):
        x[y == kind, :, kind * 3 : kind * 3 + 2] += 0.8
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def start(images: str, tmp_path: Path) -> Callable[..., TrainedRun]:
    """Train into a folder, every epoch and round with a checkpoint."""

    def train(name: str, resume: bool = False, **settings: Any) -> TrainedRun:
        given = settings if resume else {"data": images, **settings}
        return fit(tmp_path / name, given, resume=resume, checkpoint_every=1, progress=False)

    return train


@pytest.fixture(scope="module")
def whole(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SMALL that never stopped; tests read it, or copy it."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    fit(run, {"data": images, **SMALL}, progress=False)
    return run


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def content(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def bits(run: Path) -> dict[str, Any]:
    """All that a run holds, but for the seconds."""
    found: dict[str, Any] = {"config": json.loads((run / "config.json").read_text())}
    for file in sorted(run.rglob("*.npz")):
        arrays = read_npz(file)
        arrays.pop("history", None)
        arrays.pop("hooks/begin", None)  # it holds seconds
        found[str(file.relative_to(run))] = {
            name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()
        }
    for file in sorted(run.rglob("history.jsonl")):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(run))] = [
            {name: value for name, value in record.items() if name not in TIMES}
            for record in records
        ]
    metrics = json.loads((run / "metrics.json").read_text())
    return found | {"metrics": {k: v for k, v in metrics.items() if k != "seconds"}}


def test_the_command_line_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    call = ["fit", "--data", "digits", "--model", "dense", "--epochs", "2", "--n-init", "2"]
    call += ["--augment", "--self-label", "--rounds", "2", "--out", str(run), "--quiet"]
    assert main(call) == 0
    printed = capsys.readouterr().out.splitlines()
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["self_labelled"]
    assert printed[-1].startswith(f"self-labelled: 2 rounds, ACC {scores['acc']:.4f}")
    assert {p.name for p in run.iterdir()} == PIPELINE_FILES | {INNER}
    assert {p.name for p in (run / INNER).iterdir()} == {"history.jsonl", "checkpoint.npz"}
    assert (scores["rounds"], scores["stopped"]) == (2, "rounds")
    assert 0.1 < scores["mean_max_q"] <= 1
    assert scores["chance"]["acc"] < 0.2 < scores["acc"]
    for command in ("cluster", "score"):
        out = tmp_path / f"{command}.npy"
        assert main([command, str(run), "--data", "digits", "--out", str(out), "--quiet"]) == 0
        assert len(np.load(out)) == 1797
        if command == "cluster":
            assert f"ACC {scores['acc']:.4f}" in capsys.readouterr().err
    assert np.load(tmp_path / "score.npy")["anomalous"].mean() == pytest.approx(0.05, abs=0.01)


def test_what_comes_back_and_what_is_read_is_the_self_labelled_network(
    start: Callable[..., TrainedRun], images: str, tmp_path: Path
) -> None:
    trained, x = start("run", **SMALL), load(images).images
    assert trained.self_labelled is not None
    fitted = load_fitted(tmp_path / "run")
    u = fitted.model.encode(x)
    np.testing.assert_array_equal(u, trained.codes)
    np.testing.assert_array_equal(u, trained.model.encode(x))
    np.testing.assert_array_equal(fitted.clusters.centers, trained.clusters.centers)
    _, squared = ops.assign(u, fitted.clusters.centers)
    assert squared.sum() == pytest.approx(trained.metrics["self_labelled"]["inertia"], rel=1e-4)
    for which in ("best", "last"):
        assert not np.array_equal(load_run(tmp_path / "run", which)[0].encode(x), u)


@pytest.mark.parametrize("weights", ["best", "last"])
def test_it_starts_from_the_weights_that_are_asked_for(
    weights: str, start: Callable[..., TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of made-up losses that rise, so that the first epoch is the best."""
    real, losses = loop.make_step, iter(range(100))

    def rising(*arguments: Any) -> Callable[[Array], float]:
        step = real(*arguments)
        return lambda x: float(next(losses)) + 0 * step(x)

    monkeypatch.setattr(loop, "make_step", rising)
    begun: list[dict[str, Array]] = []
    plain = commands.train.self_label

    def self_label(model: Any, *arguments: Any, **keywords: Any) -> Any:
        begun.append({name: a.copy() for name, a in model.params.items()})
        return plain(model, *arguments, **keywords)

    monkeypatch.setattr(commands.train, "self_label", self_label)
    trained = start("run", **SMALL, weights=weights)
    assert trained.history.best.epoch == 1
    same = all(np.array_equal(a, begun[0][k]) for k, a in trained.history.best.params.items())
    assert same == (weights == "best")
    found = trained.best if weights == "best" else trained.last
    assert trained.self_labelled is not None
    np.testing.assert_array_equal(trained.self_labelled.start_labels, found.labels)


def test_a_plain_run_goes_on_with_its_own_labels_to_equal_bits(
    start: Callable[..., TrainedRun], whole: Path, tmp_path: Path
) -> None:
    start("run", **PLAIN)
    assert not (tmp_path / "run" / INNER).exists()
    start("run", resume=True, self_label=True, rounds=3, tol=0.0)
    assert bits(tmp_path / "run") == bits(whole)
    before = content(tmp_path / "run" / INNER)
    start("run", resume=True)  # of what is finished
    assert bits(tmp_path / "run") == bits(whole)
    assert content(tmp_path / "run" / INNER) == before


@pytest.mark.parametrize("where", ["pretraining", "between", *range(0, 3 * STEPS, 4)])
def test_it_goes_on_to_equal_bits_wherever_it_was_stopped(
    where: str | int, start: Callable[..., TrainedRun], whole: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def stop(*arguments: Any, **keywords: Any) -> Any:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        if where == "pretraining":
            real, calls = loop._train_epoch, iter(range(2))
            patch.setattr(loop, "_train_epoch", lambda *a: stop() if next(calls) else real(*a))
        elif where == "between":
            patch.setattr(commands.train, "self_label", stop)
        else:
            interrupt(patch, int(where))
        with pytest.raises(KeyboardInterrupt) as caught:
            start("run", **SMALL)
    assert not (run / "clusters.npz").exists()
    (note,) = caught.value.__notes__
    assert INNER not in note
    if where != "pretraining":
        assert f"l2ae fit --resume --out {run}" in note
    assert main(["cluster", str(run), "--data", str(tmp_path / "none.npz")]) == 1
    assert f"l2ae fit --resume --out {run}" in capsys.readouterr().err
    assert main(["fit", "--resume", "--out", str(run), "--quiet"]) == 0
    assert bits(run) == bits(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 3},
        {"weights": "last"},
        {"clusters": 4},
        {"n_init": 3},
        {"self_label": False},
        {"rounds": 4},
        {"concentration": 4.0},
        {"gamma": 0.2},
        {"tol": 0.5},
        {"label_rotation": 5.0},
        {"label_shift": 0.5},
        {"label_scale": 0.1},
        {"rotation": 20.0},
        {"shift": 0.2},
        {"scale": 0.1},
        {"augment": False},
        {"learning_rate": 0.1},
        {"batch_size": 8},
        {"norm": "none"},
        {"seed": 1},
    ],
    ids=str,
)
def test_other_settings_are_refused_and_change_no_file(
    change: dict[str, Any], start: Callable[..., TrainedRun], copied: Path
) -> None:
    before = content(copied)
    (name,) = change
    with pytest.raises(ValueError, match=name):
        start(copied.name, resume=True, **change)
    assert content(copied) == before


def test_before_its_first_checkpoint_the_settings_may_change(
    start: Callable[..., TrainedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            start("run", **SMALL)
    other = {"epochs": 3, "rounds": 2, "concentration": 4.0, "weights": "last", "clusters": 4}
    start("run", resume=True, **other)
    start("whole", **SMALL | other)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_settings_without_effect_are_refused(
    start: Callable[..., TrainedRun], tmp_path: Path
) -> None:
    for name, value in {"rounds": 5, "concentration": 2.0, "gamma": 1.0, "tol": 0.1}.items():
        with pytest.raises(ValueError, match=f"{name} is {value} but has no effect, since self_l"):
            start("run", **PLAIN, **{name: value})
    for name, value in {"rotation": 5.0, "shift": 0.5, "scale": 0.5}.items():
        with pytest.raises(ValueError, match=f"{name} is {value} but has no effect, since augmen"):
            start("run", **PLAIN | {"augment": False}, **{name: value})
    for name, bad in {"rounds": 0, "concentration": 0.0, "gamma": -1.0, "tol": 2.0}.items():
        with pytest.raises(ValueError, match=f"{name} is {bad} but expected"):
            start("run", **SMALL | {name: bad})
    assert not (tmp_path / "run").exists()


def test_a_run_older_than_these_settings_is_read_and_goes_on(
    start: Callable[..., TrainedRun], images: str, tmp_path: Path
) -> None:
    plain = PLAIN | {"augment": False}
    start("run", **plain)
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    for name in NEWER:
        del config["training"][name]
    file.write_text(json.dumps(config))
    assert load_fitted(tmp_path / "run").settings["self_label"] is False
    with pytest.raises(ValueError, match="augment is True but .* was started with False"):
        start("run", resume=True, augment=True)
    assert json.loads(file.read_text()) == config
    start("run", resume=True, epochs=3)
    start("run", resume=True, self_label=True, rounds=2)
    start("whole", **plain | {"epochs": 3, "self_label": True, "rounds": 2})
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_kl_alone_comes_back(start: Callable[..., TrainedRun], tmp_path: Path) -> None:
    start("run", **SMALL | {"gamma": None})
    start("run", resume=True)
    assert load_fitted(tmp_path / "run").settings["gamma"] is None


def test_a_new_run_does_not_go_on_with_an_old_self_labelling(
    start: Callable[..., TrainedRun], copied: Path
) -> None:
    (copied / "checkpoint.npz").unlink()
    before = content(copied)
    with pytest.raises(CheckpointError, match=rf"{INNER}.checkpoint.npz: already exists"):
        start(copied.name, **SMALL, seed=3)
    assert content(copied) == before


def test_after_a_divergence_the_run_goes_on_from_the_last_good_round(
    start: Callable[..., TrainedRun], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = JointStep.__call__, iter(range(100))

    def broken(step: JointStep, x: Array) -> float:
        return real(step, x) if next(calls) < STEPS else float("nan")

    with monkeypatch.context() as patch:
        patch.setattr(JointStep, "__call__", broken)
        with pytest.raises(
            TrainingError, match=rf"self-labelling: .*nan at epoch 2, step 1.*{INNER}"
        ):
            start("run", **SMALL)
    assert not (tmp_path / "run" / "clusters.npz").exists()
    start("run", resume=True)
    assert bits(tmp_path / "run") == bits(whole)
