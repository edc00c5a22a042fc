"""Trainings on a device: those of the processor to rounding, and equal to themselves bit by bit."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from l2ae_core.layers import L2Normalize
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training import device_step
from l2ae_core.training.augment import Augmentation, Warp
from l2ae_core.training.device_step import DeviceStep, as_bytes
from l2ae_core.training.history import TrainingError
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Adam
from l2ae_core.training.step import LayerwiseStep
from l2ae_core.training.together import fit_together
from l2ae_core.training.validation import Validation
from l2ae_kernels.cuda import training
from l2ae_kernels.cuda.device import NoDevice, emulate
from l2ae_kernels.cuda.training import DeviceTraining

IMAGES, BATCH = 13, 5  # three steps an epoch, the last one of three images
# 18 steps in float64: rounding that Adam cannot enlarge where its ε is 0.1
CLOSE = {"rtol": 0, "atol": 1e-12}


class Training:
    """A training of a small network: its parts and, once it was trained, its history."""

    def __init__(
        self, seed=0, model="dense", dtype="float64", norm="l2", images=IMAGES, reduction="mean",
        **adam,
    ):  # fmt: skip
        self.reduction = reduction
        self.random = rngs(seed)
        architecture = Architecture(
            model, (8, 8, 1), latent_dim=3, norm=norm, hidden=(6,), filters=(2, 3, 4),
            kernels=(3, 3, 3), hidden_norm="batch" if norm == "batch" else "none",
            affine=norm == "batch",
        )  # fmt: skip
        self.model = build(architecture, self.random.init).astype(dtype)
        bytes = np.random.default_rng(seed).integers(0, 256, (images, 8, 8, 1))
        self.images = (bytes.astype("float32") / np.float32(255)).astype(dtype)
        self.optimizer = Adam(**{"learning_rate": 0.01, "eps": 0.1, **adam})

    def arguments(self, **how):
        return {
            "model": self.model, "images": self.images, "optimizer": self.optimizer,
            "rng": self.random.shuffle, "batch_size": BATCH, "epochs": 2, "progress": False,
            "reduction": self.reduction, **how,
        }  # fmt: skip

    def fit(self, **how):
        self.history = fit(**self.arguments(**how))
        return self

    @property
    def numbers(self):
        memory = self.optimizer.state_dict()
        arrays = *self.model.params.values(), *self.model.state.values(), *memory.values()
        return [*arrays, np.array(self.history.losses)]


def assert_equal(one, other):
    for a, b in zip(one.numbers, other.numbers, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one, other):
    for a, b in zip(one.numbers, other.numbers, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


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


def test_two_threads_train_on_one_device(device):
    trainings = [Training(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda t: t.fit(device=device), trainings))
    for seed, t in enumerate(trainings):
        assert_equal(t, Training(seed).fit(device=device))


def test_memory_that_is_not_finite_is_no_checkpoint(device, tmp_path, monkeypatch):
    """An Inf in the mean of squares freezes its parameter, and no loss sees it."""
    plain = DeviceTraining.moments.fget

    def moments(self):
        m, v = plain(self)
        v[0]["decoder.0.b"][2] = np.inf
        return m, v

    monkeypatch.setattr(DeviceTraining, "moments", property(moments))
    expected = r"NaN or Inf in the array 'v\.decoder\.0\.b' at epoch 2, step 3"
    with pytest.raises(TrainingError, match=expected):
        Training().fit(device=device, run_dir=tmp_path)
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_loss_that_is_not_finite_is_reported_with_its_step(device, tmp_path):
    """The first update makes parameters of 10²⁰⁰, whose squares are no float64."""
    diverging = Training(learning_rate=1e200)
    with pytest.raises(TrainingError, match="the loss is .* at epoch 1, step 2, with Adam"):
        diverging.fit(device=device, run_dir=tmp_path)
    assert not (tmp_path / "checkpoint.npz").exists()


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


class Halved(L2Normalize):
    """A class that overrides something has another formula than its parent."""

    def forward(self, x, train=False):
        u, cache = super().forward(x, train)
        return u / 2, cache


def test_what_a_device_cannot_train_is_refused_by_name():
    device = emulate()
    changed = Training()
    changed.model = replace(changed.model, normalize=Halved())
    with pytest.raises(ValueError, match=r"cannot train .*: no kernel .* is Halved\("):
        changed.fit(device=device)
    other = Training()
    other.optimizer = SGD(0.1)
    with pytest.raises(ValueError, match=r"trains by Adam but optimizer is SGD\("):
        other.fit(device=device)
    step = LayerwiseStep(other.model, other.optimizer, "mean")
    with pytest.raises(ValueError, match="but step LayerwiseStep runs on the processor"):
        other.fit(device=device, step=step)
    t = Training()
    elsewhere = DeviceStep(t.model, t.optimizer, "mean", device=emulate("descending"))
    with pytest.raises(ValueError, match="ascending.* but step DeviceStep runs on .*descending"):
        t.fit(device=device, step=elsewhere)
    with pytest.raises(ValueError, match="no second loss but latent_grad is given"):
        DeviceStep(t.model, t.optimizer, "mean", lambda first, u: u, device=device)
    with pytest.raises(ValueError, match="device: 'gpu' is not one of"):
        t.fit(device="gpu")


def test_images_that_do_not_fit_are_refused(device, monkeypatch):
    images = 13 * 64  # bytes
    monkeypatch.setattr(device, "free_memory", lambda: float(images))
    with pytest.raises(ValueError, match="images take 832 bytes but Device.* has 832 free"):
        Training().fit(device=device)
    monkeypatch.setattr(device, "free_memory", lambda: images + 1.0)
    Training().fit(epochs=1, device=device)


def test_no_processor_takes_the_place_of_a_gpu(monkeypatch):
    def none():
        raise NoDevice("no CUDA device: planted")

    monkeypatch.setattr("l2ae_core.devices.find_device", none)
    with pytest.raises(ValueError, match="cuda was asked for, but no CUDA device: planted"):
        Training().fit(device="cuda")


def test_images_that_are_bytes_go_up_as_bytes():
    for dtype in ("float32", "float64"):
        images = Training(dtype=dtype).images
        assert as_bytes(images).dtype == np.uint8
        nearly = images.copy()
        nearly[-1, 0, 0, 0] += np.finfo(dtype).eps
        assert as_bytes(nearly) is nearly
        assert as_bytes(images - 1).dtype == dtype


# --- many at once


def test_networks_trained_together_have_the_bits_of_each_alone(device, tmp_path):
    """Two side by side, of other numbers of images; other stages; one was trained before.

    13 images are batches of 5, 5 and 3; 14 of 5, 5 and 4; 17 of 5, 5, 5 and 2.
    """
    ways = [
        {"seed": 0}, {"seed": 1, "images": IMAGES + 1}, {"seed": 2, "images": IMAGES + 4},
        {"seed": 3, "reduction": "sum"},
        {"seed": 4, "norm": "none"}, {"seed": 5, "norm": "batch"}, {"seed": 6, "norm": "batch"},
    ]  # fmt: skip
    Training(**ways[1]).fit(epochs=1, device=device, run_dir=tmp_path / "1")
    trainings = [Training(**way) for way in ways]
    arguments = [
        t.arguments(run_dir=tmp_path / str(i), resume=i == 1, epochs=3 if i == 2 else 2)
        for i, t in enumerate(trainings)
    ]
    histories = fit_together(arguments, device, models=2, progress=False)
    for i, (t, history) in enumerate(zip(trainings, histories, strict=True)):
        t.history = history
        assert_equal(t, Training(**ways[i]).fit(epochs=3 if i == 2 else 2, device=device))
        assert checkpoints.load(tmp_path / str(i) / "checkpoint.npz").epoch == len(history)


def test_a_training_that_fails_ends_no_other(device):
    trainings = [Training(learning_rate=rate) for rate in (1e200, 0.01, 0.01)]
    trainings[0].optimizer.learning_rate = 0.01  # alike, until its weights are too large
    for p in trainings[0].model.params.values():
        p *= 1e160
    arguments = [t.arguments() for t in trainings]
    arguments[2]["hooks"] = Augmentation(Warp())
    failed, *histories = fit_together(arguments, device, progress=False)
    assert isinstance(failed, TrainingError)
    for t, history, hooks in zip(trainings[1:], histories, (None, arguments[2]["hooks"]),
                                 strict=True):  # fmt: skip
        t.history = history
        assert_equal(t, Training().fit(hooks=hooks, device=device))


def test_together_ctrl_c_leaves_runs_that_can_be_resumed(device, tmp_path):
    """One is killed after an epoch more than the other, and has more batches in each."""

    def stop(record, model):
        if record.epoch == 2:
            raise KeyboardInterrupt

    ways = [{"seed": 0}, {"seed": 1, "images": IMAGES + 4}]
    trainings = [Training(**way) for way in ways]
    arguments = [
        t.arguments(run_dir=tmp_path / str(i), epochs=3, checkpoint_every=1)
        for i, t in enumerate(trainings)
    ]
    arguments[1]["callbacks"] = [stop]
    with pytest.raises(KeyboardInterrupt):
        fit_together(arguments, device, progress=False)
    saved = [checkpoints.load(tmp_path / str(i) / "checkpoint.npz").epoch for i in (0, 1)]
    assert saved == [2, 1]
    again = [Training(**way) for way in ways]
    resumed = fit_together(
        [
            t.arguments(run_dir=tmp_path / str(i), epochs=3, resume=True)
            for i, t in enumerate(again)
        ],
        device,
        progress=False,
    )
    for t, history in zip(again, resumed, strict=True):
        t.history = history
    for way, t in zip(ways, again, strict=True):
        assert_equal(t, Training(**way).fit(epochs=3, device=device))


def test_micro_batches_that_are_asked_for(device):
    """Alone and together, they have bits of their own: the whole batch's to rounding."""
    whole, alone = Training().fit(device=device), Training().fit(device=device, micro_batch=2)
    assert_close(whole, alone)
    assert any((a != b).any() for a, b in zip(whole.numbers, alone.numbers, strict=True))
    trainings = [Training(), Training(), Training(1, images=IMAGES + 4)]
    arguments = [t.arguments(micro_batch=2) for t in trainings]
    del arguments[0]["micro_batch"]
    histories = fit_together(arguments, device, progress=False)
    for t, history, expected in zip(trainings, histories, (whole, alone), strict=False):
        t.history = history
        assert_equal(t, expected)


def test_micro_batches_that_cannot_be(device):
    for how, match in [
        ({"device": device, "micro_batch": 0}, "micro_batch is 0"),
        ({"micro_batch": 2}, "micro_batch is 2 but it is for a device"),
    ]:
        with pytest.raises(ValueError, match=f"^fit: {match}"):
            Training().fit(**how)
    with pytest.raises(ValueError, match="^fit: micro_batch is 2 but batch_norm '.*' needs the"):
        Training(norm="batch").fit(device=device, micro_batch=2)
