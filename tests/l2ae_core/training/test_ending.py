"""What ends a training before its last epoch, and which epoch is the best one then."""

from dataclasses import replace

import numpy as np
import pytest

from l2ae_core.seeding import rngs
from l2ae_core.training.history import read_history
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.validation import Validation

SHARE = 0.2


def held_out(small, share=SHARE):
    return Validation.split(small.digits(), share, rngs(0).validation)


class Seen(Hooks):
    """Notes the indices of every batch."""

    def __init__(self):
        self.batches_seen = []

    def before_step(self, batch, x):
        self.batches_seen.append(batch)
        return x


@pytest.fixture
def validation_losses(monkeypatch):
    """A function that makes up the validation losses, epoch by epoch."""

    def make_up(*losses):
        left = iter(losses)
        monkeypatch.setattr(Validation, "loss", lambda *_: next(left))

    return make_up


def test_no_step_is_made_on_images_that_are_held_out(small):
    split, seen = held_out(small), Seen()
    assert len(split.held_out) == 30  # a fifth of 150
    t = small.train(2, validation=split, hooks=seen)
    for first in (0, len(seen.batches_seen) // 2):  # each epoch has every other image once
        indices = np.concatenate(seen.batches_seen[first : first + 4])
        both = np.concatenate([indices, split.held_out])
        np.testing.assert_array_equal(np.sort(both), np.arange(150))
    x = small.digits()[split.held_out].astype(np.float64)
    error = t.model.astype(np.float64).reconstruct(x) - x
    assert t.history.records[-1].validation_loss == pytest.approx((error**2).mean(), rel=1e-5)


def test_validation_images_of_ones_own_and_the_sum(small):
    other = small.digits(200)[150:]
    t = small.train(1, validation=Validation(other), reduction="sum")
    x = other.astype(np.float64)
    error = t.model.astype(np.float64).reconstruct(x) - x
    loss = (error**2).sum() / len(x)
    assert t.history.records[0].validation_loss == pytest.approx(loss, rel=1e-5)


def test_images_of_ones_own_change_no_bit_of_the_weights(small, bits):
    plain, watched = small.train(2), small.train(2, validation=Validation(small.digits(20)))
    for name, p in plain.model.params.items():
        np.testing.assert_array_equal(p, watched.model.params[name])
    assert plain.history.losses == watched.history.losses


def test_the_other_streams_of_a_seed_stay(small):
    """Trainings without validation keep the bits that they had before there was any."""
    children = np.random.SeedSequence(7).spawn(4)
    for stream, child in zip(rngs(7), children, strict=False):
        assert stream.random() == np.random.default_rng(child).random()


def test_the_validation_loss_chooses_the_best_epoch(small, validation_losses, tmp_path):
    validation_losses(3.0, 1.0, 2.0)
    t = small.train(3, tmp_path, validation=held_out(small))
    assert t.history.losses[2] < t.history.losses[1]
    assert (t.history.best.epoch, t.history.best.loss) == (2, 1.0)
    assert [r.validation_loss for r in read_history(tmp_path)] == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_resumed_training_ends_with_the_same_bits(small, bits, tmp_path, stop):
    def train(epochs, *more, **how):
        return small.train(epochs, *more, validation=held_out(small), patience=3, **how)

    train(stop, tmp_path)
    resumed, whole = train(5, tmp_path, resume=True), train(5)
    assert bits(resumed) == bits(whole)
    losses = [r.validation_loss for r in whole.history]
    assert [r.validation_loss for r in resumed.history] == losses


def test_patience_ends_a_training_and_a_larger_one_goes_on(
    small, bits, tmp_path, validation_losses
):
    """The best is epoch 2; of equal losses the first counts, so epoch 4 is no improvement."""
    losses = (3.0, 2.0, 2.5, 2.0, 2.6, 1.5, 1.6, 1.7, 1.8)
    validation_losses(*losses)
    t = small.train(50, tmp_path, validation=held_out(small), patience=2)
    assert len(t.history) == 4
    again = small.train(50, tmp_path, validation=held_out(small), patience=2, resume=True)
    assert bits(again) == bits(t)
    validation_losses(*losses[4:])
    more = small.train(50, tmp_path, validation=held_out(small), patience=3, resume=True)
    assert len(more.history) == 5  # epochs 3, 4 and 5
    validation_losses(*losses[5:])
    on = small.train(8, tmp_path, validation=held_out(small), patience=4, resume=True)
    validation_losses(*losses)
    assert bits(on) == bits(small.train(8, validation=held_out(small)))


def test_patience_without_validation_watches_the_training(small, patch_step):
    made_up = iter([0.3, 0.2] + [0.25] * 20)
    patch_step(lambda step, x: next(made_up))
    assert len(small.train(9, patience=3, batch_size=150).history) == 5


def test_a_callback_sees_every_epoch_and_ends_the_training(small, bits, tmp_path):
    seen = []

    def third(record, model):
        seen.append((record.epoch, record.loss, next(iter(model.params.values())).copy()))
        return record.epoch == 3

    def never(record, model):
        seen.append(record.epoch)

    t = small.train(9, tmp_path, callbacks=[third, never])
    assert [entry[0] for entry in seen[::2]] == seen[1::2] == [1, 2, 3]
    assert [entry[1] for entry in seen[::2]] == t.history.losses
    np.testing.assert_array_equal(seen[4][2], next(iter(t.model.params.values())))
    assert [r.stopped for r in read_history(tmp_path)] == [False, False, True]
    again = small.train(9, tmp_path, callbacks=[never], resume=True)  # remembered
    assert bits(again) == bits(t)
    on = small.train(5, tmp_path, resume=True)
    assert bits(on) == bits(small.train(5))


def test_a_callback_that_fails_leaves_whole_epochs(small, bits, tmp_path):
    def fail(record, model):
        if record.epoch == 4:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        small.train(9, tmp_path, callbacks=[fail])
    assert len(read_history(tmp_path)) == 3
    assert bits(small.train(5, tmp_path, resume=True)) == bits(small.train(5))


def test_other_validation_images_are_another_training(small, tmp_path):
    small.train(1, tmp_path, validation=held_out(small))
    for other in (None, held_out(small, 0.3), Validation(small.digits(30))):
        with pytest.raises(ValueError, match="validation is .* was trained with"):
            small.train(2, tmp_path, validation=other, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 0}, "patience is 0 but expected an integer ≥ 1"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"callbacks": [None]}, r"callbacks\[0\] is None but expected a function"),
    ],
)
def test_bad_arguments_are_named(small, changes, message):
    with pytest.raises(ValueError, match=message):
        small.train(1, **changes)


def test_bad_validation_is_named(small):
    for share, message in [(0, "validation is 0 but"), (1.5, "validation is 1.5"),
                           (1e-3, "0 of 150 images"), (1.0, "150 of 150 images")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            held_out(small, share)
    with pytest.raises(ValueError, match="images holds NaN"):
        small.train(1, validation=Validation(small.digits(3) * np.float32("nan")))
    with pytest.raises(ValueError, match=r"images is \(3, 8, 8\) but the model takes"):
        small.train(1, validation=Validation(small.digits(3)[..., 0]))


def test_a_validation_loss_that_is_no_number_ends_the_training(small, validation_losses):
    validation_losses(1.0, float("nan"))
    with pytest.raises(Exception, match="the validation loss is nan at epoch 2"):
        small.train(3, validation=held_out(small))


def test_records_say_only_what_they_know(small):
    record = small.train(1).history.records[0]
    assert not {"validation_loss", "stopped"} & record.to_dict().keys()
    assert replace(record, stopped=True).to_dict()["stopped"] is True
