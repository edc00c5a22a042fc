"""`l2ae fit --self-label`: files, resumes, and what cluster and score then use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import commands
from l2ae_core.cli import main
from l2ae_core.commands import TrainedRun, load_fitted
from l2ae_core.data import load
from l2ae_core.refinement.step import JointStep
from l2ae_core.training import loop
from l2ae_core.training.history import TrainingError
from l2ae_core.training.run import load_run
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array

from .small import interrupt
from .small_runs import INNER, PIPELINE_FILES, PLAIN, SMALL, STEPS, bits, content


def test_the_command_line_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    call = ["fit", "--data", "digits", "--model", "dense", "--epochs", "2", "--n-init", "2",
            "--hidden", "100,100,200"]  # fmt: skip
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
    weights: str, start: Callable[..., TrainedRun], monkeypatch: pytest.MonkeyPatch,
    patch_step: Callable[[Any], None],
) -> None:  # fmt: skip
    """Of made-up losses that rise, so that the first epoch is the best."""
    losses = iter(range(100))
    patch_step(lambda step, x: float(next(losses)) + 0 * step(x))
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


@pytest.mark.parametrize(
    "where",
    [
        "pretraining", "between", 4,
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(0, 3 * STEPS, 4) if n != 4),
    ],
)  # fmt: skip
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


def test_kl_alone_comes_back(start: Callable[..., TrainedRun], tmp_path: Path) -> None:
    start("run", **SMALL | {"gamma": None})
    start("run", resume=True)
    assert load_fitted(tmp_path / "run").settings["gamma"] is None


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
