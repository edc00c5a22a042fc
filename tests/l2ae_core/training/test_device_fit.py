"""Trainings on a device: those of the processor to rounding, and equal to themselves bit by bit."""

import tracemalloc

import numpy as np
import pytest

from l2ae_core.data.stored import StoredImages
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training import device_step
from l2ae_core.training.augment import Augmentation, Warp
from l2ae_core.training.device_step import CHUNK, DeviceStep, joined
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.step import LayerwiseStep
from l2ae_core.training.validation import Validation
from l2ae_kernels.cuda import training
from l2ae_kernels.cuda.training import DeviceTraining

from .device_trainings import BATCH, CLOSE, IMAGES, Training, assert_close, assert_equal


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_every_step_is_that_of_the_processor(reduction, device):
    here, there = Training(), Training()
    on_host = LayerwiseStep(here.model, here.optimizer, reduction)
    on_device = DeviceStep(there.model, there.optimizer, reduction, device=device)
    hooks, order = Hooks(), np.random.default_rng(1)
    for epoch in (1, 2):
        batches = hooks.batches(epoch, IMAGES, BATCH, order)
        losses = [list(step.losses(here.images, batches, hooks)) for step in (on_host, on_device)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
        assert len(losses[1]) == 3
        on_device.bring_memory()
        here.history = there.history = Losses(losses[0])
        assert_close(here, there)


class Losses:
    def __init__(self, losses):
        self.losses = losses


@pytest.mark.parametrize("norm", ["none", "l2", "layer", "batch"])
def test_a_training_is_that_of_the_processor_to_rounding(norm, device):
    hooks = None if norm == "none" else Augmentation(Warp())  # batches that the host changes
    how = {"norm": norm}
    here = Training(**how).fit(hooks=hooks)
    assert_close(here, Training(**how).fit(hooks=hooks, device=device))


@pytest.mark.slow
def test_a_convolutional_training_in_float32(device):
    """Sums of float32 differ in their last bits: a millionth of weights that are below 1."""
    here, there = (Training(model="cae", dtype="float32").fit(device=on) for on in (None, device))
    for a, b in zip(here.numbers, there.numbers, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "batch"])
def test_bits_are_equal_from_run_to_run_and_after_a_resume(norm, device, tmp_path):
    whole = Training(norm=norm).fit(epochs=3, device=device)
    Training(norm=norm).fit(epochs=1, device=device, run_dir=tmp_path)
    resumed = Training(norm=norm).fit(epochs=3, device=device, run_dir=tmp_path, resume=True)
    assert_equal(whole, resumed)
    assert_equal(whole, Training(norm=norm).fit(epochs=3, device=device))


def test_a_checkpoint_does_not_know_of_micro_batches(device, tmp_path, monkeypatch):
    """The first epoch whole, the second in pieces of 3 + 2 images: as if both were whole."""
    whole = Training().fit(device=device)
    Training().fit(device=device, epochs=1, run_dir=tmp_path)
    monkeypatch.setattr(training, "CACHE", 0)
    monkeypatch.setattr(training, "LEAST_PIECE", 3)
    resumed = Training().fit(device=device, run_dir=tmp_path, resume=True)
    assert_close(whole, resumed)
    assert any((a != b).any() for a, b in zip(whole.numbers, resumed.numbers, strict=True))


def test_gradients_of_one_batch_move_the_running_statistics(device):
    """As a forward pass in training does on the processor."""
    here, there = Training(norm="batch"), Training(norm="batch")
    steps = (
        LayerwiseStep(here.model, here.optimizer, "mean"),
        DeviceStep(there.model, there.optimizer, "mean", device=device),
    )
    for step in steps:
        step.loss_and_grads(here.images)
    for name, a in here.model.state.items():
        np.testing.assert_allclose(there.model.state[name], a, **CLOSE)
    assert here.model.state["normalize.running_mean"].any()


def test_a_training_goes_on_on_another_device_and_back(device, tmp_path, caplog):
    for epochs, on in ((1, None), (2, device), (3, "cpu")):
        caplog.clear()
        moved = Training().fit(epochs=epochs, device=on, run_dir=tmp_path, resume=epochs > 1)
        assert ("goes on on" in caplog.text) == (epochs > 1)
    assert f"trained on {device.properties.name} up to epoch 2, goes on on the proc" in caplog.text
    assert_close(moved, Training().fit(epochs=3))


def test_a_checkpoint_names_the_device_of_a_step_that_was_given(device, tmp_path):
    t = Training()
    step = DeviceStep(t.model, t.optimizer, "mean", device=device)
    t.fit(epochs=1, step=step, run_dir=tmp_path)
    settings = checkpoints.load(tmp_path / "checkpoint.npz").settings
    assert settings["device"] == device.properties.name


def test_ctrl_c_keeps_the_last_checkpoint(device, tmp_path, monkeypatch):
    """Between two queues of steps, in the third epoch."""
    plain, calls = DeviceTraining.run, []

    def run(self, batches):
        calls.append(len(batches))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return plain(self, batches)

    monkeypatch.setattr(device_step, "AT_ONCE", 2)  # two queues an epoch
    with monkeypatch.context() as patch:
        patch.setattr(DeviceTraining, "run", run)
        stopped = Training()
        with pytest.raises(KeyboardInterrupt) as caught:
            stopped.fit(epochs=4, device=device, run_dir=tmp_path, checkpoint_every=1)
    assert calls == [2, 1, 2, 1, 2, 1]
    assert "stopped after 2 whole epochs" in caught.value.__notes__[0]
    saved = checkpoints.load(tmp_path / "checkpoint.npz")
    for name, p in stopped.model.params.items():
        np.testing.assert_array_equal(p, saved.params[name])
    resumed = Training().fit(epochs=4, device=device, run_dir=tmp_path, resume=True)
    assert_equal(resumed, Training().fit(epochs=4, device=device))


def test_a_step_that_was_interrupted_goes_on_from_the_last_whole_epoch(device, monkeypatch):
    monkeypatch.setattr(device_step, "AT_ONCE", 1)
    one, other, hooks = Training(), Training(), Hooks()
    batches = hooks.batches(1, IMAGES, BATCH, np.random.default_rng(1))
    interrupted, whole = (
        DeviceStep(t.model, t.optimizer, "mean", device=device) for t in (one, other)
    )
    for step in (interrupted, whole):
        first = list(step.losses(one.images, batches, hooks))
        step.bring_memory()
    next(interrupted.losses(one.images, batches[::-1], hooks))  # one step of three
    again, expected = (
        list(step.losses(one.images, batches, hooks)) for step in (interrupted, whole)
    )
    assert again == expected != first


def test_a_step_whose_optimizer_was_left_behind_does_not_go_on(device, monkeypatch):
    monkeypatch.setattr(device_step, "AT_ONCE", 1)
    t = Training()
    step = DeviceStep(t.model, t.optimizer, "mean", device=device)
    batches = Hooks().batches(1, IMAGES, BATCH, np.random.default_rng(1))
    list(step.losses(t.images, batches, Hooks()))
    next(step.losses(t.images, batches, Hooks()))
    with pytest.raises(RuntimeError, match="model is that of step 3 but the optimizer .* step 0:"):
        next(step.losses(t.images, batches, Hooks()))


@pytest.mark.parametrize(("norm", "which"), [("l2", "params"), ("batch", "state")])
def test_what_changes_the_network_between_epochs_is_taken_over(norm, which, device):
    """Callbacks look at the model; one that writes to it changes the training, as on the CPU."""

    def halve(record, model):
        for a in getattr(model, which).values():
            a *= 0.5

    here, there = (Training(norm=norm).fit(callbacks=[halve], device=on)
                   for on in (None, device))  # fmt: skip
    assert_close(here, there)


def test_validation_and_patience(device):
    images = Training().images
    how = {"patience": 1, "epochs": 4, "validation": Validation(images, np.array([2, 5]))}
    how["callbacks"] = [lambda record, model: record.epoch == 3]
    here, there = (Training().fit(**how, device=on) for on in (None, device))
    assert_close(here, there)
    losses = [[r.validation_loss for r in t.history] for t in (here, there)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_images_that_are_bytes_go_up_as_bytes():
    for dtype in ("float32", "float64"):
        images = Training(dtype=dtype).images
        assert joined([images]).dtype == np.uint8
        nearly = images.copy()
        nearly[-1, 0, 0, 0] += np.finfo(dtype).eps
        assert joined([nearly]) is nearly
        assert joined([images - 1]).dtype == dtype
        both = joined([images, images[:5]])
        assert both.dtype == np.uint8
        np.testing.assert_array_equal(both, np.rint(255 * np.concatenate([images, images[:5]])))
        np.testing.assert_array_equal(
            joined([images, nearly]), np.concatenate([images, nearly]), strict=True
        )


def test_images_of_several_networks_are_joined_as_bytes():
    """No copy of all is made in float32, which would take four times as much."""
    images = [StoredImages(np.full((16 * CHUNK, 8, 8, 1), byte, np.uint8)) for byte in (3, 250)]
    tracemalloc.start()
    whole = joined(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (whole == np.concatenate([x.stored for x in images])).all()
    assert peak < 2 * whole.nbytes
