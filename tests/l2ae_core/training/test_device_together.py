"""Several trainings on a device at once: each has the bits of one alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.augment import Augmentation, Warp
from l2ae_core.training.history import TrainingError
from l2ae_core.training.together import fit_together

from .device_trainings import IMAGES, Training, assert_close, assert_equal


def test_two_threads_train_on_one_device(device):
    trainings = [Training(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda t: t.fit(device=device), trainings))
    for seed, t in enumerate(trainings):
        assert_equal(t, Training(seed).fit(device=device))


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
