import json

import numpy as np
import pytest

from l2ae_core.networks import Architecture
from l2ae_core.training.history import (
    Best,
    EpochRecord,
    History,
    TrainingError,
    read_history,
)
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import fit
from l2ae_core.training.loss import reconstruction_loss
from l2ae_core.training.optim import SGD
from l2ae_kernels.cpu.threads import MOST, threads

from .stacks import GRADIENTS

WHOLE_RUN = "history.jsonl"


@pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_batches_cover_every_image_once(count, size):
    found = Hooks().batches(1, count, size, np.random.default_rng(0))
    assert sorted(np.concatenate(found)) == list(range(count))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert len(found[-1]) == count - size * (len(found) - 1) > 0


def test_fit_visits_every_image_once_an_epoch_in_a_new_order(small, patch_step):
    seen = []

    def spy(step, x):
        seen.append(x)
        return step(x)

    patch_step(spy)
    small.train(2)
    images = small.digits()
    first, second = np.concatenate(seen[:5]), np.concatenate(seen[5:])
    for epoch in (first, second):
        assert sorted(a.tobytes() for a in epoch) == sorted(a.tobytes() for a in images)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, images)


def test_one_step_of_fit_is_one_step_of_gradient_descent(small):
    """Whole-batch SGD: after one epoch p = p₀ − η ∂loss/∂p, the loss being that of p₀."""
    t, images = small.start(), small.digits()
    before = {name: p.copy() for name, p in t.model.params.items()}
    x_hat, cache = small.start().model.forward(images, train=True)
    loss, dx_hat = reconstruction_loss(x_hat, images, "sum")
    grads = small.start().model.weight_grads(dx_hat, cache)
    history = fit(
        t.model, images, epochs=1, batch_size=150, optimizer=SGD(1e-3), rng=t.rng,
        reduction="sum", progress=False,
    )  # fmt: skip
    assert history.losses[0] == pytest.approx(loss, rel=1e-6)
    for name, p in t.model.params.items():
        layer = name.rpartition(".")[0]  # before batch norm the gradient of b itself is zero
        size = max(np.abs(g).max() for n, g in grads.items() if n.rpartition(".")[0] == layer)
        expected = before[name] - 1e-3 * grads[name]
        bound = 1e-3 * GRADIENTS * size + np.spacing(np.abs(expected))
        assert (np.abs(p - expected) <= bound).all(), name


def test_training_learns_and_records(small):
    t = small.train(12)
    losses, images = t.history.losses, small.digits()
    assert losses[-1] < 0.6 * images.var() < losses[0]  # better than the mean image can be
    assert [record.epoch for record in t.history] == list(range(1, 13))
    last, norms = t.history.records[-1], np.linalg.norm(t.model.latent(images), axis=1)
    assert last.latent_norm_mean == pytest.approx(norms.mean(), rel=1e-5)
    assert last.latent_norm_min == pytest.approx(norms.min(), rel=1e-5)
    assert last.images_per_second == pytest.approx(150 / last.seconds)


def test_epoch_loss_is_weighted_by_batch_size(small, patch_step):
    losses = []

    def spy(step, x):
        losses.append((step(x), len(x)))
        return losses[-1][0]

    patch_step(spy)
    history = small.train(1).history
    assert [n for _, n in losses] == [32, 32, 32, 32, 22]
    assert history.losses[0] == pytest.approx(sum(loss * n for loss, n in losses) / 150, rel=1e-14)


def test_same_seed_same_bits_other_seed_other_bits(small, bits):
    assert bits(small.train(2)) == bits(small.train(2))
    one, other = small.train(2), small.train(2, seed=1)
    assert one.history.losses != other.history.losses
    same_start = small.start()
    same_start.rng = small.start(seed=1).rng
    fit(
        same_start.model, small.digits(), epochs=2, batch_size=32, progress=False,
        optimizer=same_start.optimizer, rng=same_start.rng,
    )  # fmt: skip
    name = "encoder.0.W"
    assert not np.array_equal(same_start.model.params[name], one.model.params[name])  # the shuffle


def test_the_number_of_threads_does_not_change_the_bits(small, bits, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)  # share even tiny work
    with threads(1):
        one = small.train(2)
    with threads(MOST):
        assert bits(small.train(2)) == bits(one)


def test_best_epoch_is_kept_beside_the_last(small, patch_step, monkeypatch):
    """The third of five epochs is the best by losses that are made up."""
    made_up = iter([0.5, 0.4, 0.1, 0.3, 0.1])

    def fake(step, x):
        step(x)
        return next(made_up)

    patch_step(fake)
    t = small.train(5, batch_size=150)
    monkeypatch.undo()
    three = small.train(3, batch_size=150)
    assert (t.history.best.epoch, t.history.best.loss) == (3, 0.1)  # of equal ones the first
    last = t.model.params["decoder.0.W"].copy()
    t.history.restore_best(t.model)
    assert not np.array_equal(t.model.params["decoder.0.W"], last)
    for best, expected in [
        (t.model.params, three.model.params),
        (t.model.state, three.model.state),
    ]:
        assert best.keys() == expected.keys()
        for name, a in best.items():
            assert np.array_equal(a, expected[name]), name


def test_history_without_epochs_has_no_best(small):
    with pytest.raises(ValueError, match="no epoch is recorded"):
        History().restore_best(small.start().model)
    record = EpochRecord(1, 0.5, 1.0, 1.0, 1.0, 1.0)
    history = History([record], Best(1, 0.5, {"other": np.ones(2)}))
    with pytest.raises(ValueError, match=r"best parameters: 'encoder\.0\.W' is missing"):
        history.restore_best(small.start().model)


@pytest.mark.usefixtures("terminal")
def test_progress_bar_shows_loss_speed_and_time_left(small, capsys):
    small.train(2, progress=True)
    shown = capsys.readouterr().err
    assert "images/s" in shown
    assert "loss=0." in shown
    assert "epoch=2" in shown
    assert "<00:00" in shown  # time left at the end
    small.train(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_the_images_is_found_before_anything_is_made(small, tmp_path, bad):
    images, t = small.digits(), small.start()
    images[123, 4, 5] = bad
    with pytest.raises(ValueError, match="images holds NaN or Inf, first in image 123"):
        fit(t.model, images, epochs=1, optimizer=t.optimizer, rng=t.rng, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_divergence_is_named_and_leaves_the_last_good_checkpoint(
    small, tmp_path, bits, patch_step, monkeypatch
):
    t = small.train(2, tmp_path)
    good = (tmp_path / "checkpoint.npz").read_bytes()
    calls = []

    def broken(step, x):
        calls.append(None)
        loss = step(x)
        return float("nan") if len(calls) == 8 else loss

    patch_step(broken)
    with pytest.raises(TrainingError, match=r"loss is nan at epoch 4, step 3, .*npz"):
        small.train(9, tmp_path, resume=True)
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.npz").read_bytes() == good
    assert len((tmp_path / WHOLE_RUN).read_text().splitlines()) == 3
    assert bits(small.train(2, tmp_path, resume=True)) == bits(t)


@pytest.mark.parametrize("norm", ["l2", "none"])
def test_huge_learning_rate_diverges_with_a_clear_error(small, norm):
    t = small.start(architecture=Architecture("dense", (8, 8, 1), norm=norm, hidden=(8,)))
    with pytest.raises(TrainingError, match=r"at epoch \d, step \d.*SGD.*1e\+30.*smaller learning"):
        fit(t.model, small.digits(), epochs=9, optimizer=SGD(1e30), rng=t.rng, progress=False)


def test_an_update_that_breaks_the_last_step_is_not_saved(small, tmp_path):
    """One step an epoch, a finite loss, and a parameter beyond float32 after the update."""
    t = small.start()
    with pytest.raises(TrainingError, match=r"NaN or Inf in the array '.*' at epoch 1, step 1"):
        fit(
            t.model, small.digits(), epochs=1, batch_size=150, optimizer=SGD(3e38, momentum=0.5),
            rng=t.rng, run_dir=tmp_path, progress=False, reduction="sum",
        )  # fmt: skip
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (np.zeros((5, 8, 9, 1), np.float32), {}, r"images is \(5, 8, 9, 1\) but the model takes"),
        (np.zeros((0, 8, 8, 1), np.float32), {}, r"images is \(0, 8, 8, 1\)"),
        (np.zeros((5, 8, 8, 1)), {}, "images is float64 but the model's parameters are float32"),
        (None, {"epochs": 0}, "epochs is 0 but expected an integer ≥ 1"),
        (None, {"epochs": 1.5}, r"epochs is 1\.5 but"),
        (None, {"batch_size": True}, "batch_size is True but"),
        (None, {"batch_size": 0}, "batch_size is 0"),
        (None, {"checkpoint_every": 0}, "checkpoint_every is 0"),
        (None, {"checkpoint_every": "0min"}, "expected epochs, such as 10, or minutes"),
        (None, {"checkpoint_every": "5 epochs"}, "expected epochs, such as 10, or minutes"),
        (None, {"reduction": "max"}, "reduction is 'max'"),
        (None, {"resume": True}, "resume is True but run_dir is None"),
    ],
)
def test_bad_arguments_are_named(small, images, changes, message):
    t = small.start()
    images = small.digits() if images is None else images
    with pytest.raises(ValueError, match=message):
        fit(
            t.model, images, **({"epochs": 1} | changes), optimizer=t.optimizer, rng=t.rng,
            progress=False,
        )  # fmt: skip


def test_history_is_json(small, tmp_path):
    t = small.train(3, tmp_path)
    lines = (tmp_path / WHOLE_RUN).read_text().splitlines()
    assert [json.loads(line) for line in lines] == t.history.to_dicts()


class Falling(Hooks):
    """Warps every batch a little less each epoch, and ends after the third epoch."""

    def __init__(self):
        self.share = np.ones(1)

    def before_step(self, batch, x):
        return x + np.float32(self.share[0]) * x[:, ::-1]

    def after_epoch(self, images):
        self.share /= 2
        return {"share": float(self.share[0]), "nothing": None}

    def is_last(self, record):
        return record.epoch == 3

    def state_dict(self):
        return {"share": self.share}

    def load_state_dict(self, state):
        self.share = state["share"]


def test_hooks_change_what_a_step_takes_and_are_resumed(small, bits, tmp_path):
    whole = small.train(9, hooks=Falling())
    assert [record.extra["share"] for record in whole.history] == [0.5, 0.25, 0.125]
    assert bits(whole) != bits(small.train(3))
    small.train(2, tmp_path, hooks=Falling())
    with pytest.raises(ValueError, match=r"hooks is None but .* was trained with .*Falling"):
        small.train(9, tmp_path, resume=True)
    assert bits(small.train(9, tmp_path, hooks=Falling(), resume=True)) == bits(whole)
    assert [r.extra for r in read_history(tmp_path)] == [r.extra for r in whole.history]
    ended = Falling()
    assert bits(small.train(99, tmp_path, hooks=ended, resume=True)) == bits(whole)
    assert ended.share == 0.125
