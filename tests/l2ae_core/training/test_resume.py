"""A training that was stopped, in any way, ends with the bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l2ae_core.locks import locked
from l2ae_core.networks import Architecture
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training import loop, session
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Adam

PATIENCE = 60.0  # seconds until a started process must have written; it takes about two


def epochs_on_disk(run_dir):
    return checkpoints.load(run_dir / "checkpoint.npz").epoch


def lines_on_disk(run_dir):
    return [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_more_epochs_go_on_with_the_same_bits(small, bits, tmp_path, stop):
    small.train(stop, tmp_path)
    resumed = small.train(5, tmp_path, resume=True)
    assert bits(resumed) == bits(small.train(5))
    assert [line["loss"] for line in lines_on_disk(tmp_path)] == resumed.history.losses
    assert epochs_on_disk(tmp_path) == 5


@pytest.mark.parametrize("make", [lambda: SGD(0.1, 0.9), lambda: Adam(0.01, variant="torch")])
def test_other_optimizers_too(small, bits, tmp_path, make):
    def train(epochs, run_dir, resume):
        t = small.start()
        t.optimizer = make()
        t.history = fit(
            t.model, small.digits(), epochs=epochs, optimizer=t.optimizer, rng=t.rng,
            run_dir=run_dir, resume=resume, batch_size=32, progress=False,
        )  # fmt: skip
        return t

    train(1, tmp_path, False)
    assert bits(train(3, tmp_path, True)) == bits(train(3, None, False))


def test_the_best_epoch_survives_the_resume(small, tmp_path, patch_step, monkeypatch):
    made_up = iter([0.2, 0.1, 0.3, 0.4])

    def fake(step, x):
        step(x)
        return next(made_up)

    patch_step(fake)
    small.train(3, tmp_path, batch_size=150)
    resumed = small.train(4, tmp_path, batch_size=150, resume=True)
    monkeypatch.undo()
    expected = small.train(2, batch_size=150)
    assert resumed.history.best.epoch == 2
    resumed.history.restore_best(resumed.model)
    for name, a in resumed.model.params.items():
        assert np.array_equal(a, expected.model.params[name]), name


def test_enough_epochs_return_at_once(small, bits, tmp_path, monkeypatch):
    t = small.train(3, tmp_path)
    written = (tmp_path / "checkpoint.npz").read_bytes()
    monkeypatch.setattr(loop, "make_step", None)  # any step would fail
    assert bits(small.train(3, tmp_path, resume=True)) == bits(t)
    assert bits(small.train(2, tmp_path, resume=True)) == bits(t)
    assert (tmp_path / "checkpoint.npz").read_bytes() == written


def test_history_ahead_of_the_checkpoint_is_cut(small, tmp_path):
    """What `kill -9` leaves: lines of epochs after the checkpoint, the last one torn."""
    small.train(2, tmp_path)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3, "loss": 7.0}\n{"epoch": 4, "lo')
    resumed = small.train(4, tmp_path, resume=True)
    assert [line["loss"] for line in lines_on_disk(tmp_path)] == resumed.history.losses


def test_a_run_that_is_there_is_not_overwritten(small, tmp_path):
    small.train(1, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=r"checkpoint.npz: already exists"):
        small.train(1, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_resume_needs_a_run_but_not_yet_a_checkpoint(small, bits, tmp_path):
    with pytest.raises(CheckpointError, match="no run to resume"):
        small.train(1, tmp_path / "nothing", resume=True)
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n')
    (tmp_path / ".checkpoint.npz.0123abcd.tmp").write_bytes(b"half")  # killed while saving
    assert bits(small.train(2, tmp_path, resume=True)) == bits(small.train(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.npz", "history.jsonl"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 31}, "batch_size is 31 but .*checkpoint.npz was trained with 32"),
        ({"reduction": "sum"}, "reduction is sum but"),
        ({"optimizer": Adam(0.5)}, "optimizer is Adam.*0.5.* was trained with Adam.*0.01"),
        ({"optimizer": SGD(0.01)}, "optimizer is SGD"),
        ({"images": 0.5}, "images is .*crc32"),
        ({"slope": 0.1}, "layers is .*LeakyReLU"),
    ],
)
def test_other_settings_are_refused(small, tmp_path, change, message):
    dense = {"model": "dense", "input_shape": (8, 8, 1), "hidden": (8,)}

    def train(resume, *, images=1.0, slope=0.3, **changes):
        t = small.start(architecture=Architecture(**dense, slope=slope))
        settings = {"optimizer": t.optimizer, "batch_size": 32} | changes
        fit(
            t.model, small.digits() * np.float32(images), epochs=2 if resume else 1, rng=t.rng,
            run_dir=tmp_path, resume=resume, progress=False, **settings,
        )  # fmt: skip

    train(False)
    with pytest.raises(ValueError, match=message):
        train(True, **change)
    assert epochs_on_disk(tmp_path) == 1


def test_ctrl_c_keeps_the_history_and_says_how_to_resume(
    small, bits, tmp_path, interrupt_at, monkeypatch
):
    interrupt_at(3 * 5 + 2)  # epoch 4, step 2
    with pytest.raises(KeyboardInterrupt) as caught:
        small.train(9, tmp_path)
    monkeypatch.undo()
    (note,) = caught.value.__notes__
    assert "stopped after 3 whole epochs" in note
    assert "resume=True" in note
    assert str(tmp_path / "checkpoint.npz") in note
    assert [line["epoch"] for line in lines_on_disk(tmp_path)] == [1, 2, 3]
    assert epochs_on_disk(tmp_path) == 2
    assert bits(small.train(5, tmp_path, resume=True)) == bits(small.train(5))


def stop_a_real_process(small, run_dir, by):
    """Start the endless training, stop it after a few checkpoints; return status and stderr."""
    process = subprocess.Popen(
        [sys.executable, str(small.script), str(run_dir)], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + PATIENCE
        history = run_dir / "history.jsonl"
        while not (history.exists() and history.read_text().count("\n") >= 5):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the process wrote no history"
            time.sleep(0.01)
        process.send_signal(by)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_resumes_with_the_same_bits(small, bits, tmp_path):
    status, _ = stop_a_real_process(small, tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    lines = (tmp_path / "history.jsonl").read_text().count("\n")
    done = epochs_on_disk(tmp_path)
    assert done >= 4
    assert lines - done <= 2  # checkpoint_every: no more is lost
    resumed = small.train(done + 3, tmp_path, resume=True)
    assert bits(resumed) == bits(small.train(done + 3))
    assert [line["loss"] for line in lines_on_disk(tmp_path)] == resumed.history.losses


@pytest.mark.slow  # every day, test_cli.py sends one to `l2ae fit`, and the test above raises one
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C in another way")
def test_sigint_ends_a_real_process_with_a_hint(small, bits, tmp_path):
    status, errors = stop_a_real_process(small, tmp_path, signal.SIGINT)
    assert status == -signal.SIGINT  # what the shell expects of a process that Ctrl-C ended
    assert "KeyboardInterrupt" in errors
    assert "resume=True" in errors
    done, lines = epochs_on_disk(tmp_path), lines_on_disk(tmp_path)
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    assert done <= len(lines) <= done + 2
    assert bits(small.train(done + 1, tmp_path, resume=True)) == bits(small.train(done + 1))


def test_a_checkpoint_is_due_when_the_last_is_a_minute_old(
    small, bits, tmp_path, interrupt_at, monkeypatch
):
    """The clock goes by 25 seconds a look; there is one look when an epoch ends."""
    now = iter(range(0, 10**6, 25))
    monkeypatch.setattr(session, "monotonic", lambda: float(next(now)))
    interrupt_at(5 * 5 + 1)  # epoch 6, step 1
    with pytest.raises(KeyboardInterrupt):
        small.train(9, tmp_path, checkpoint_every=100)
    monkeypatch.undo()
    assert epochs_on_disk(tmp_path) == 3  # at 75 seconds; two epochs are lost
    assert bits(small.train(7, tmp_path, resume=True)) == bits(small.train(7))


def test_a_checkpoint_by_minutes_is_due_after_these_alone(
    small, bits, tmp_path, interrupt_at, monkeypatch
):
    """The clock goes by 25 seconds a look, there is one look an epoch: 2 minutes are 5 epochs."""
    now = iter(range(0, 10**6, 25))
    monkeypatch.setattr(session, "monotonic", lambda: float(next(now)))
    interrupt_at(6 * 5 + 1)  # epoch 7, step 1
    with pytest.raises(KeyboardInterrupt):
        small.train(9, tmp_path, checkpoint_every="2min")
    monkeypatch.undo()
    assert epochs_on_disk(tmp_path) == 5
    assert bits(small.train(7, tmp_path, resume=True)) == bits(small.train(7))


def test_what_a_shorter_training_found_does_not_stay_beside_a_longer_one(
    small, tmp_path, interrupt_at
):
    """Clusters of 2 epochs would be taken for those of the network after 3."""
    small.train(2, tmp_path)
    for name in ("clusters.npz", "gallery.npz", "metrics.json"):
        (tmp_path / name).touch()
    small.train(2, tmp_path, resume=True)  # nothing to train
    assert (tmp_path / "clusters.npz").exists()
    interrupt_at(1)
    with pytest.raises(KeyboardInterrupt):
        small.train(3, tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz", "history.jsonl"}


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_another_thread_trains_is_left_alone(small, tmp_path, resume):
    if resume:
        small.train(1, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with ThreadPoolExecutor(1) as other:
        lock = locked(tmp_path)
        other.submit(lock.__enter__).result(timeout=20)
        with pytest.raises(BlockingIOError, match=f"{tmp_path}: in use by process {os.getpid()}"):
            small.train(2, tmp_path, resume=resume)
        other.submit(lock.__exit__, None, None, None).result(timeout=20)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
