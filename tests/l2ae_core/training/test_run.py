import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from l2ae_core.environment import versions
from l2ae_core.locks import locked
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.run import (
    create_run,
    load_run,
    make_config,
    read_config,
    write_metrics,
)


@pytest.fixture
def config(small):
    def with_changes(digest="abc", **training):
        settings = {"epochs": 3, "batch_size": 32, "hidden": (1, 2)} | training
        return make_config(
            small.ARCHITECTURE, data="digits", digest=digest, seed=0, training=settings
        )

    return with_changes


def test_a_trained_run_comes_back(small, tmp_path, config):
    run = tmp_path / "deep" / "run"
    create_run(run, config())
    t = small.train(3, run)
    write_metrics(run, {"acc": 0.5})
    model, read = load_run(run, "last")
    images = small.digits()
    assert np.array_equal(model.reconstruct(images), t.model.reconstruct(images))
    assert read == config()
    assert read["versions"] == versions()
    assert json.loads((run / "metrics.json").read_text()) == {"acc": 0.5}
    assert {path.name for path in run.iterdir()} == {
        "config.json", "history.jsonl", "checkpoint.npz", "metrics.json",
    }  # fmt: skip


def test_best_and_last_are_what_fit_had(small, tmp_path, config, patch_step):
    made_up = iter([0.2, 0.1, 0.3])
    create_run(tmp_path, config())

    def fake(step, x):
        step(x)
        return next(made_up)

    patch_step(fake)
    t = small.train(3, tmp_path, batch_size=150)
    images = small.digits()
    last = t.model.encode(images)
    t.history.restore_best(t.model)
    best = t.model.encode(images)
    assert not np.array_equal(best, last)
    assert np.array_equal(load_run(tmp_path, "last")[0].encode(images), last)
    assert np.array_equal(load_run(tmp_path, "best")[0].encode(images), best)
    assert np.array_equal(load_run(tmp_path)[0].encode(images), best)
    with pytest.raises(ValueError, match="which is 'worst'"):
        load_run(tmp_path, "worst")


def test_a_run_is_not_overwritten(small, tmp_path, config):
    create_run(tmp_path, config())
    create_run(tmp_path, config(batch_size=5))  # nothing is trained yet
    create_run(tmp_path, config())
    small.train(1, tmp_path)
    with pytest.raises(CheckpointError, match=r"checkpoint.npz: already exists"):
        create_run(tmp_path, config(batch_size=5))
    assert read_config(tmp_path) == config()


def test_resume_compares_the_settings(tmp_path, config):
    with pytest.raises(CheckpointError, match=r"missing, so .* is not a run directory"):
        create_run(tmp_path, config(), resume=True)
    create_run(tmp_path, config())
    for changed, message in [
        (config(batch_size=5), "training.batch_size is 5 but .* was started with 32"),
        (config(digest="abd"), "data.digest is 'abd' but"),
        (config(extra=1), "training.extra is 1 but .* was started with None"),
    ]:
        with pytest.raises(ValueError, match=message):
            create_run(tmp_path, changed, resume=True)
    assert read_config(tmp_path) == config()
    create_run(tmp_path, config(epochs=9) | {"versions": {"numpy": "9"}}, resume=True)
    assert read_config(tmp_path) == config(epochs=9)


def test_a_run_that_is_older_than_the_kernels_goes_on(small, tmp_path, config):
    """Its config.json does not name them; they were 5, 5 and 3."""
    older = config()
    del older["architecture"]["kernels"]
    create_run(tmp_path, older)
    small.train(1, tmp_path)
    create_run(tmp_path, config(epochs=9), resume=True)
    load_run(tmp_path)
    other = config(epochs=9)
    other["architecture"]["kernels"] = [5, 5, 5]
    with pytest.raises(ValueError, match=r"architecture.kernels is \[5, 5, 5\] but .* \[5, 5, 3\]"):
        create_run(tmp_path, other, resume=True)


def test_a_resume_does_not_ask_for_fewer_epochs_than_there_are(small, tmp_path, config):
    create_run(tmp_path, config(epochs=9))
    small.train(3, tmp_path)
    with pytest.raises(ValueError, match="training.epochs is 2 but .* has 3 epochs already"):
        create_run(tmp_path, config(epochs=2), resume=True)
    assert read_config(tmp_path) == config(epochs=9)
    create_run(tmp_path, config(epochs=3), resume=True)  # fewer than wanted, but not than trained
    assert read_config(tmp_path) == config(epochs=3)


def test_a_run_that_another_thread_trains_keeps_its_configuration(tmp_path, config):
    create_run(tmp_path, config())
    with ThreadPoolExecutor(1) as other:
        lock = locked(tmp_path)
        other.submit(lock.__enter__).result(timeout=20)
        for resume in (False, True):
            with pytest.raises(BlockingIOError, match=f"{tmp_path}: in use by process"):
                create_run(tmp_path, config(epochs=9), resume=resume)
        other.submit(lock.__exit__, None, None, None).result(timeout=20)
    assert read_config(tmp_path) == config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config.json: missing"),
        ("{", "config.json: not valid JSON"),
        ("[]", "config.json: entry 'version' is missing"),
        ('{"version": 2}', "config.json: has version 2, newer than 1"),
    ],
)
def test_bad_configurations_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_run(tmp_path)


def test_configuration_and_checkpoint_must_belong_together(small, tmp_path, config):
    create_run(tmp_path, config())
    with pytest.raises(CheckpointError, match=r"checkpoint.npz: there is no checkpoint"):
        load_run(tmp_path)
    small.train(1, tmp_path)
    for architecture, message in [
        ({"latent_dim": 7}, "checkpoint.npz: the checkpoint is of another architecture"),
        ({"colour": 7}, r"config.json: bad architecture: .*colour"),
    ]:
        changed = config()
        changed["architecture"] |= architecture
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=message):
            load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "0"), ("seed", True), ("seed", None), ("data.name", 3), ("data.digest", None),
        ("data", []), ("architecture", "cae"), ("training", []), ("training.weights", 3),
        ("training.epochs", 1.5), ("training.clusters", "10"), ("training.keep", False),
        ("training.anomaly_class", 1.5), ("versions", None), ("architecture.affine", "no"),
        ("architecture.slope", "0.3"), ("architecture.latent_dim", True),
        ("architecture.latent_dim", 10**9), ("architecture.input_shape", [8, 8]),
        ("architecture.input_shape", 8), ("architecture.hidden", [10**6, 10**6]),
        ("architecture.hidden", [True]), ("architecture.model", ["dense"]),
    ],
)  # fmt: skip
def test_an_entry_of_another_kind_is_named(small, tmp_path, config, name, value):
    """A network that would take 10**12 numbers is not made either."""
    create_run(tmp_path, config())
    small.train(1, tmp_path)
    changed = config()
    if name == "architecture.hidden":
        changed["architecture"]["model"] = "dense"
    *way, last = name.split(".")
    part = changed
    for step in way:
        part = part[step]
    part[last] = value
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="another architecture|" + last) as told:
        load_run(tmp_path)
    assert str(tmp_path) in str(told.value)
    assert "\n" not in str(told.value)
