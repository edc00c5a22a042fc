"""A refinement that was stopped, and files that do not fit."""

from dataclasses import fields

import numpy as np
import pytest

from l2ae_core.array_readers import read_npz
from l2ae_core.baselines.dec import DecSettings
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError

from .refinements import SETTINGS, STARTS, bits, interrupt, network, run


@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("after", [0, 10, 21])
def test_an_interrupted_refinement_resumes_with_equal_bits(tmp_path, monkeypatch, method, after):
    expected = bits(*run(method))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(method, run_dir=tmp_path, checkpoint_every=2)
    seed, kept = (9, tmp_path / "checkpoint.npz") if after >= 8 else (0, "the start")
    assert f"goes on from {kept}" in caught.value.__notes__[0]
    resumed = run(method, model=network(method, seed=seed), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == expected


def test_seconds_are_those_of_all_sessions(tmp_path, monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr("l2ae_core.refinement.hooks.perf_counter", clock)
    monkeypatch.setattr("l2ae_core.training.loop.perf_counter", clock)
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            run(run_dir=tmp_path, checkpoint_every=1)
    now += 1000  # nobody at work
    _, resumed = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert resumed.seconds == len(STARTS)  # k-means and six epochs, of a second each
    _, again = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert again.seconds == resumed.seconds


def test_a_finished_refinement_comes_back_at_once(tmp_path, monkeypatch):
    expected = bits(*run(run_dir=tmp_path))
    monkeypatch.setattr(JointStep, "__call__", None)
    monkeypatch.setattr("l2ae_core.refinement.hooks.kmeans", None)
    again = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert bits(*again) == expected
    assert again[1].stopped == "max_iter"


OTHERS = {
    "n_clusters": 9, "n_init": 4, "alpha": 2.0, "gamma": 0.2, "update_interval": 5, "tol": 0.5,
    "max_iter": 5, "batch_size": 16,
}  # fmt: skip
OPTIMIZERS = {"optimizer": ("sgd", "SGD"), "learning_rate": (0.1, r"Adam\(learning_rate=0.1")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[
            ({f.name: OTHERS[f.name]}, f"{f.name} is {OTHERS[f.name]} but .* was trained with")
            for f in fields(DecSettings)
            if f.name not in ("method", "momentum", *OPTIMIZERS)
        ],
        *[
            ({name: value}, rf"optimizer is {message}")
            for name, (value, message) in OPTIMIZERS.items()
        ],
        ({"method": "dec", "optimizer": "adam", "learning_rate": 1e-3}, "loss is KL but"),
        ({"start": np.ones((10, 4), np.float32)}, "start is [0-9]+ but .* with k-means"),
        ({"model": network("idec", "l2")}, "layers is .*L2Normalize"),
    ],
)
def test_other_settings_are_refused(tmp_path, change, message):
    run(run_dir=tmp_path, max_iter=4)
    with pytest.raises(ValueError, match=message):
        run(**({"run_dir": tmp_path, "resume": True, "max_iter": 4} | change))


def test_another_momentum_is_refused(tmp_path):
    run("dec", run_dir=tmp_path, max_iter=4)
    with pytest.raises(ValueError, match=r"optimizer is SGD\(.*momentum=0.5"):
        run("dec", run_dir=tmp_path, resume=True, max_iter=4, momentum=0.5)


def test_files_that_cannot_be_used(tmp_path):
    run(run_dir=tmp_path, max_iter=4)
    file = tmp_path / "checkpoint.npz"
    entries = read_npz(file)
    for name, a in {
        "hooks/centers": np.zeros((9, 4), np.float32),
        "hooks/labels": entries["hooks/labels"][1:],
        "hooks/center_optimizer.m.centers": np.zeros((10, 3), np.float32),
    }.items():
        np.savez(file, **{**entries, name: a})
        with pytest.raises(CheckpointError, match=f"hooks do not fit: .*{name[-6:]}"):
            run(run_dir=tmp_path, resume=True, max_iter=4)


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_in_an_earlier_format_is_refused_and_kept(tmp_path, resume):
    (tmp_path / "refinement.npz").write_bytes(b"old")
    with pytest.raises(CheckpointError, match="refinement.npz: in a format that cannot be resum"):
        run(run_dir=tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["refinement.npz"]


def test_what_no_loss_has_seen_yet_is_not_saved(tmp_path, monkeypatch):
    """The last step of an epoch breaks the centers."""
    real, calls = JointStep.__call__, []

    def breaking(step, x):
        loss = real(step, x)
        calls.append(None)
        if len(calls) == 8:
            step.loss.assignment.centers[0, 0] = np.nan
        return loss

    monkeypatch.setattr(JointStep, "__call__", breaking)
    with pytest.raises(TrainingError, match=r"NaN or Inf in the array 'centers' at epoch 2"):
        run(run_dir=tmp_path, checkpoint_every=1)
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert np.isfinite(file["hooks/centers"]).all()
