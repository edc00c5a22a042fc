"""A refinement that was stopped, and files that do not fit."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l2ae_core.baselines.dec.step import JointStep
from l2ae_core.locks import locked
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.history import TrainingError

from .refinements import SETTINGS, bits, interrupt, network, run


@pytest.mark.parametrize("method", SETTINGS)
@pytest.mark.parametrize("after", [0, 10, 21])
def test_an_interrupted_refinement_resumes_with_equal_bits(tmp_path, monkeypatch, method, after):
    expected = bits(*run(method))
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(method, run_dir=tmp_path, checkpoint_every=2)
    assert "resume=True goes on from" in caught.value.__notes__[0]
    assert str(tmp_path / "refinement.npz") in caught.value.__notes__[0]
    resumed = run(method, model=network(method, seed=9), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == expected


def test_seconds_are_those_of_all_sittings(tmp_path, monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    for module in ("refinement", "iterate"):
        monkeypatch.setattr(f"l2ae_core.baselines.dec.{module}.perf_counter", clock)
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            run(run_dir=tmp_path, checkpoint_every=1)
    saved = float(np.load(tmp_path / "refinement.npz")["seconds"].item())
    assert saved >= 1
    now += 1000  # nobody at work
    _, resumed = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    renewals = sum(r.iteration >= 10 for r in resumed.history)
    assert saved < resumed.seconds <= saved + renewals + 1
    _, again = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert again.seconds == resumed.seconds


def test_a_finished_refinement_comes_back_at_once(tmp_path, monkeypatch):
    expected = bits(*run(run_dir=tmp_path))
    monkeypatch.setattr(JointStep, "__call__", None)
    monkeypatch.setattr("l2ae_core.baselines.dec.refinement.kmeans", None)
    again = run(model=network(seed=9), run_dir=tmp_path, resume=True)
    assert bits(*again) == expected
    assert again[1].stopped == "max_iter"


def test_batch_norm_statistics_are_resumed_too(tmp_path, monkeypatch):
    expected, whole = run(model=network(norm="batch"))
    with monkeypatch.context() as patch:
        interrupt(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            run(model=network(norm="batch"), run_dir=tmp_path, checkpoint_every=1)
    resumed = run(model=network(norm="batch", seed=9), run_dir=tmp_path, resume=True)
    assert bits(*resumed) == bits(expected, whole)
    for name, a in expected.state.items():
        np.testing.assert_array_equal(resumed[0].state[name], a)


def test_a_file_is_due_when_the_last_is_a_minute_old(tmp_path, monkeypatch):
    """The clock goes by 25 seconds a look; there is one look at each renewal that is not due."""
    now = iter(range(0, 10**6, 25))
    with monkeypatch.context() as patch:
        patch.setattr("l2ae_core.baselines.dec.iterate.monotonic", lambda: float(next(now)))
        interrupt(patch, 18)
        with pytest.raises(KeyboardInterrupt):
            run(run_dir=tmp_path, checkpoint_every=100)
    with np.load(tmp_path / "refinement.npz") as file:
        saved = json.loads(str(file["history"]))[-1]["iteration"]
    assert saved == 12  # renewals at 0, 4, 8, 12, 16
    assert bits(*run(run_dir=tmp_path, resume=True)) == bits(*run())


def test_a_refinement_that_another_thread_does_is_left_alone(tmp_path):
    with ThreadPoolExecutor(1) as other:
        lock = locked(tmp_path)
        other.submit(lock.__enter__).result(timeout=20)
        with pytest.raises(BlockingIOError, match=f"{tmp_path}: in use by process"):
            run(run_dir=tmp_path)
        other.submit(lock.__exit__, None, None, None).result(timeout=20)
    assert not list(tmp_path.iterdir())


def test_nothing_on_disk_yet_starts_again(tmp_path):
    (tmp_path / ".refinement.npz.0123abcd.tmp").write_bytes(b"half")  # killed while saving
    assert bits(*run(run_dir=tmp_path, resume=True)) == bits(*run())
    assert [path.name for path in tmp_path.iterdir()] == ["refinement.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.2}, "gamma is 0.2 but .*refinement.npz was started with 0.1"),
        ({"update_interval": 5}, "update_interval is 5 but"),
        ({"learning_rate": 0.1}, "learning_rate is 0.1 but"),
        ({"start": np.ones((10, 4), np.float32)}, "start is [0-9]+ but .* with k-means"),
        ({"model": network("idec", "l2")}, "layers is .*L2Normalize"),
    ],
)
def test_other_settings_are_refused(tmp_path, change, message):
    run(run_dir=tmp_path, max_iter=4)
    with pytest.raises(ValueError, match=message):
        run(**({"run_dir": tmp_path, "resume": True, "max_iter": 4} | change))


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        run(run_dir=tmp_path / "nothing", resume=True)
    with pytest.raises(ValueError, match="run_dir is None"):
        run(resume=True)
    run(run_dir=tmp_path, max_iter=4)
    file = tmp_path / "refinement.npz"
    whole = file.read_bytes()
    with pytest.raises(CheckpointError, match="already exists"):
        run(run_dir=tmp_path, max_iter=4)
    assert file.read_bytes() == whole
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[:-100], bytes(damaged), b""):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="refinement.npz"):
            run(run_dir=tmp_path, resume=True, max_iter=4)
    np.savez(file, format=np.array("something else"))
    with pytest.raises(CheckpointError, match="something else"):
        run(run_dir=tmp_path, resume=True, max_iter=4)
    entries = {"format": np.array("l2ae-refinement 2"), "settings": np.array("{}")}
    np.savez(file, **entries)
    with pytest.raises(ValueError, match="was started with None"):
        run(run_dir=tmp_path, resume=True, max_iter=4)


def test_what_no_loss_has_seen_yet_is_not_saved(tmp_path, monkeypatch):
    """The update right before a renewal breaks an array that the codes do not depend on."""
    real, calls = JointStep.__call__, []

    def breaking(step, x, p):
        losses = real(step, x, p)
        calls.append(None)
        if len(calls) == 8:
            step.model.params["decoder.0.W"][0, 0] = np.nan
        return losses

    monkeypatch.setattr(JointStep, "__call__", breaking)
    with pytest.raises(TrainingError, match=r"NaN or Inf in params decoder.0.W"):
        run(run_dir=tmp_path, checkpoint_every=1)
    with np.load(tmp_path / "refinement.npz") as file:
        assert np.isfinite(file["params/decoder.0.W"]).all()
