"""What a device cannot train, and numbers that are not finite, are named."""

from dataclasses import replace

import numpy as np
import pytest

from l2ae_core.layers import L2Normalize
from l2ae_core.training.device_step import DeviceStep
from l2ae_core.training.history import TrainingError
from l2ae_core.training.optim import SGD
from l2ae_core.training.step import LayerwiseStep
from l2ae_kernels.cuda.device import NoDevice
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.training import DeviceTraining

from .device_trainings import Training


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


def test_micro_batches_that_cannot_be(device):
    for how, match in [
        ({"device": device, "micro_batch": 0}, "micro_batch is 0"),
        ({"micro_batch": 2}, "micro_batch is 2 but it is for a device"),
    ]:
        with pytest.raises(ValueError, match=f"^fit: {match}"):
            Training().fit(**how)
    with pytest.raises(ValueError, match="^fit: micro_batch is 2 but batch_norm '.*' needs the"):
        Training(norm="batch").fit(device=device, micro_batch=2)
