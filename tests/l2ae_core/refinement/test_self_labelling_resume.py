"""A self-labelling that was stopped, or that cannot go on."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.array_readers import read_npz
from l2ae_core.refinement import SelfLabelling
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.augment import Warp
from l2ae_core.training.history import TrainingError
from l2ae_kernels.arrays import Array

from .small import ROUNDS, STEPS, bits, interrupt, network, run


@pytest.mark.parametrize(("kind", "gamma"), [("dense", 0.1), ("dense", None), ("cae", 0.1)])
@pytest.mark.parametrize("after", [0, 7, STEPS - 1])
def test_it_is_resumed_with_equal_bits(
    kind: str, gamma: float | None, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bits(*run(network(kind), gamma=gamma))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(KeyboardInterrupt):
            run(network(kind), gamma=gamma, run_dir=tmp_path, checkpoint_every=1)
    seed = 9 if after >= 5 else 0  # the weights of a checkpoint, where there is one
    resumed = run(network(kind, seed=seed), gamma=gamma, run_dir=tmp_path, resume=True)
    assert bits(*resumed) == expected


def test_what_is_finished_comes_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(run_dir=tmp_path)
    monkeypatch.setattr(JointStep, "__call__", None)
    monkeypatch.setattr("l2ae_core.refinement.hooks.kmeans", None)
    again = run(network(seed=9), run_dir=tmp_path, resume=True)
    assert bits(*again) == bits(*first)
    assert again[1].seconds == first[1].seconds


OTHERS = {
    "n_clusters": 9, "concentration": 4.0, "gamma": 0.2, "rounds": ROUNDS + 1, "tol": 0.5,
    "learning_rate": 2e-3, "batch_size": 16, "n_init": 4, "warp": Warp(20.0, 0.2, 0.2),
    "assignment": "student", "scale": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        *[{f.name: OTHERS[f.name]} for f in fields(SelfLabelling)],
        {"gamma": None},
        {"warp": None},
        {"start": np.ones((10, 4), np.float32)},
        {"model": network(norm="none")},
        {"model": network("cae")},
    ],
    ids=str,
)
def test_other_settings_are_refused_and_change_no_file(
    change: dict[str, Any], tmp_path: Path
) -> None:
    run(run_dir=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="was trained with|another architecture"):
        run(**{"run_dir": tmp_path, "resume": True} | change)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_loss_that_diverges_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"a smaller\s+learning rate may help"):
        run(run_dir=tmp_path, learning_rate=1e30)
    assert not (tmp_path / "checkpoint.npz").exists()


def test_the_checkpoint_before_a_broken_step_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a round breaks the centers, which no loss has seen yet."""
    real, calls = JointStep.__call__, iter(range(STEPS))

    def breaking(step: JointStep, x: Array) -> float:
        loss = real(step, x)
        if next(calls) == 9:
            step.loss.assignment.centers[0, 0] = np.nan
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(JointStep, "__call__", breaking)
        with pytest.raises(TrainingError, match="NaN or Inf in the array 'centers' at epoch 2"):
            run(run_dir=tmp_path, checkpoint_every=1)
    assert np.isfinite(read_npz(tmp_path / "checkpoint.npz")["hooks/centers"]).all()
    resumed = run(network(seed=9), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == bits(*run())
