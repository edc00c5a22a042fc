import errno
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from l2ae_core.files import atomic_file, write_json
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.checkpoint import Checkpoint, CheckpointError, checkpoint_interval
from l2ae_core.training.history import Best, EpochRecord, History

FLIPS = 300  # damaged files tried; each costs two milliseconds


def make(epochs=2, **changes):
    """A checkpoint with awkward content: F-order, a scalar, an empty array, exact floats."""
    rng = np.random.default_rng(5)
    params = {
        "0.W": np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float32)),
        "file": rng.random(2),
    }
    records = [EpochRecord(i + 1, 0.1 + 1e-17 * i, 1 / 3, 3.0, 2.0, 1.0) for i in range(epochs)]
    best = Best(1, 0.1, {name: a + 1 for name, a in params.items()}, {"1.running_mean": np.ones(3)})
    fields = {
        "params": params,
        "state": {"1.running_mean": np.zeros(3)},
        "optimizer": {"steps": np.array(7), "m.0.W": np.zeros((0, 2))},
        "rng": rng.bit_generator.state,
        "history": History(records, best),
        "settings": {"batch_size": 3, "layers": ["Dense(3 -> 4)"]},
    }
    return Checkpoint(**(fields | changes))


def names(folder):
    return [path.name for path in folder.iterdir()]


def equal(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and (a[k] == b[k]).all() for k in a
    )


def test_everything_comes_back(tmp_path):
    path, saved = tmp_path / "c.npz", make()
    checkpoints.save(path, saved)
    loaded = checkpoints.load(path)
    assert equal(loaded.params, saved.params)
    assert equal(loaded.state, saved.state)
    assert equal(loaded.optimizer, saved.optimizer)
    assert equal(loaded.history.best.params, saved.history.best.params)
    assert equal(loaded.history.best.state, saved.history.best.state)
    assert loaded.history.best.epoch == 1
    assert loaded.history.best.loss == 0.1
    assert loaded.history.records == saved.history.records
    assert (loaded.rng, loaded.settings, loaded.epoch) == (saved.rng, saved.settings, 2)
    assert all(a.flags.c_contiguous for a in loaded.params.values())
    assert names(tmp_path) == ["c.npz"]


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_generator_goes_on_where_it_was(tmp_path, name):
    def generator(seed):
        return np.random.Generator(getattr(np.random, name)(seed))

    rng, other = generator(3), generator(4)
    rng.permutation(10)
    checkpoints.save(tmp_path / "c.npz", make(rng=rng.bit_generator.state))
    other.bit_generator.state = checkpoints.load(tmp_path / "c.npz").rng
    assert np.array_equal(rng.permutation(100), other.permutation(100))


@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch, when, error):
    path = tmp_path / "c.npz"
    checkpoints.save(path, make(epochs=2))

    def fail(*args, **kwargs):
        if when == "write":
            args[0].write(b"half of it")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*{"write": (np, "savez")}.get(when, (os, when)), fail)
        with pytest.raises(type(error)):
            checkpoints.save(path, make(epochs=3))
    assert checkpoints.load(path).epoch == 2
    assert names(tmp_path) == ["c.npz"]
    checkpoints.save(path, make(epochs=3))
    assert checkpoints.load(path).epoch == 3


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == '{\n  "a": 1\n}\n'
    assert path.read_bytes() == b"new"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_bytes() == b"new"


def test_damaged_files_are_refused_or_harmless(tmp_path):
    """A flipped bit raises CheckpointError, or sat in a byte that carries nothing (a date)."""
    path, saved, rng = tmp_path / "c.npz", make(), np.random.default_rng(6)
    checkpoints.save(path, saved)
    whole = path.read_bytes()
    refused = 0
    for position in rng.integers(len(whole), size=FLIPS):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            loaded = checkpoints.load(path)
        except CheckpointError:
            refused += 1
        else:
            assert equal(loaded.params, saved.params)
            assert equal(loaded.optimizer, saved.optimizer)
            assert loaded.history.records == saved.history.records
    assert refused > FLIPS / 2


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.npz"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoints.load(path)
    path.write_text("<html>503</html>")
    with pytest.raises(CheckpointError, match=r"c\.npz: not a readable \.npz file"):
        checkpoints.load(path)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a checkpoint of this library"):
        checkpoints.load(path)
    np.savez(path, format=np.array({}, dtype=object))  # a pickle
    with pytest.raises(CheckpointError, match="Python objects"):
        checkpoints.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"c\.npz: "):
        checkpoints.load(path)


def rewrite(path, **changes):
    """Change entries of a checkpoint; None removes one."""
    with np.load(path) as archive:
        entries = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **{name: a for name, a in entries.items() if a is not None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": np.array(["l2ae-checkpoint", "2"])}, "written in format 2, newer than 1"),
        ({"format": np.array(["l2ae-checkpoint", "two"])}, "not a checkpoint of this library"),
        ({"format": np.array(["other", "1"])}, "not a checkpoint of this library"),
        ({"history": None}, "lacks 'history'"),
        ({"history": np.array("[{}]")}, "record 1: entry 'epoch' is missing"),
        ({"history": np.array("[")}, "entry 'history': not valid JSON"),
        ({"best_params/0.W": None}, "lacks 'best_params/0.W'"),
        ({"optimizer/m.0.W": None}, "lacks 'optimizer/m.0.W'"),
        ({"epoch": np.array(9)}, "epoch is 9 .* history has 2 records"),
        ({"best_loss": np.zeros(2)}, "entry 'best_loss' is"),
    ],
)
def test_wrong_entries_are_named(tmp_path, change, message):
    path = tmp_path / "c.npz"
    checkpoints.save(path, make())
    rewrite(path, **change)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)


def test_another_architecture_is_refused(small, tmp_path):
    path = tmp_path / "checkpoint.npz"
    t = small.train(1, tmp_path)
    checkpoints.load(path, t.model)
    for changes, message in [
        ({"latent_dim": 5}, r"parameter 'encoder.\d+.W' is \(8, 4\) float32 but expected \(8, 5\)"),
        ({"hidden_norm": "none"}, r"another architecture: parameter .* is missing but expected"),
        ({"norm": "batch"}, r"parameter 'normalize.gamma' is missing but expected \(4,\) float32"),
        ({"norm": "batch", "affine": False, "hidden_norm": "none"}, "another architecture"),
    ]:
        other = small.start(architecture=replace(small.ARCHITECTURE, **changes)).model
        before = {name: a.copy() for name, a in other.params.items()}
        with pytest.raises(CheckpointError, match=message) as caught:
            checkpoints.load(path, other)
        assert str(path) in str(caught.value)
        assert equal(before, other.params)
    with pytest.raises(CheckpointError, match=r"float32 but expected .* float64"):
        checkpoints.load(path, t.model.astype(np.float64))


def test_restore_knows_last_and_best_only(small):
    with pytest.raises(ValueError, match="which is 'first' but expected 'last' or 'best'"):
        make().restore(small.start().model, "first")


@pytest.mark.parametrize("memory", ["optimizer/m.", "optimizer/v."])
def test_an_optimizer_of_other_shapes_is_refused(small, tmp_path, memory):
    """The compiled step writes to the memory of the optimizer by address."""
    path = tmp_path / "checkpoint.npz"
    small.train(1, tmp_path)
    with np.load(path) as archive:
        entries = {name: archive[name] for name in archive.files}
    name = next(name for name in entries if name.startswith(memory))
    for changed in (entries[name][:1], entries[name].astype(np.float64)):
        np.savez(path, **{**entries, name: changed})
        with pytest.raises(CheckpointError, match=r"checkpoint\.npz: optimizer .* but the param"):
            small.train(2, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("every", "epochs", "minutes"), [(10, 10, 1.0), ("5min", None, 5.0), ("0.5 min", None, 0.5)]
)
def test_an_interval_is_epochs_or_minutes(every, epochs, minutes) -> None:
    assert checkpoint_interval(every) == (epochs, minutes)
