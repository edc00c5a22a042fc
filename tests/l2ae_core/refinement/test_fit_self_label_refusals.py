"""What `l2ae fit --self-label` refuses and what may change: settings, and runs that are there."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from l2ae_core.commands import TrainedRun, load_fitted
from l2ae_core.settings import DEFAULTS
from l2ae_core.training.checkpoint import CheckpointError
from l2ae_core.training.run import NEWER

from .small import interrupt
from .small_runs import INNER, PLAIN, SMALL, bits, content

# Another value of each setting than that of SMALL.
OTHERS = {
    "split": "train", "labels": False, "anomaly_class": 1, "keep": 0.5, "seed": 1,
    "size": (8, 8), "fit": "crop", "grey": True, "background": "white", "depth": "auto",
    "image_shape": (4, 4),
    "model": "cae", "norm": "none", "hidden_norm": "batch", "affine": True, "slope": 0.3,
    "latent_dim": 5, "hidden": (20, 16), "filters": (8, 8), "kernels": (3, 3),
    "epochs": 3, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "reduction": "sum",
    "validation": 0.25, "patience": 3,
    "augment": False, "rotation": 20.0, "shift": 0.2, "scale": 0.1,
    "clusters": 4, "n_init": 3, "weights": "last",
    "self_label": False, "rounds": 4, "concentration": 4.0, "gamma": 0.2, "tol": 0.5,
    "label_rotation": 5.0, "label_shift": 0.5, "label_scale": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "data"])
def test_other_settings_are_refused_and_change_no_file(
    name: str, start: Callable[..., TrainedRun], copied: Path
) -> None:
    before = content(copied)
    with pytest.raises(ValueError, match=name):
        start(copied.name, resume=True, **{name: OTHERS[name]})
    assert content(copied) == before


def test_before_its_first_checkpoint_the_settings_may_change(
    start: Callable[..., TrainedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            start("run", **SMALL)
    other = {"epochs": 3, "rounds": 2, "concentration": 4.0, "weights": "last", "clusters": 4}
    start("run", resume=True, **other)
    start("whole", **SMALL | other)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_settings_without_effect_are_refused(
    start: Callable[..., TrainedRun], tmp_path: Path
) -> None:
    for name, value in {"rounds": 5, "concentration": 2.0, "gamma": 1.0, "tol": 0.1}.items():
        with pytest.raises(ValueError, match=f"{name} is {value} but has no effect, since self_l"):
            start("run", **PLAIN, **{name: value})
    for name, value in {"rotation": 5.0, "shift": 0.5, "scale": 0.5}.items():
        with pytest.raises(ValueError, match=f"{name} is {value} but has no effect, since augmen"):
            start("run", **PLAIN | {"augment": False}, **{name: value})
    for name, bad in {"rounds": 0, "concentration": 0.0, "gamma": -1.0, "tol": 2.0}.items():
        with pytest.raises(ValueError, match=f"{name} is {bad} but expected"):
            start("run", **SMALL | {name: bad})
    assert not (tmp_path / "run").exists()


def test_a_run_older_than_these_settings_is_read_and_goes_on(
    start: Callable[..., TrainedRun], images: str, tmp_path: Path
) -> None:
    plain = PLAIN | {"augment": False}
    start("run", **plain)
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    for name in NEWER:
        del config["training"][name]
    file.write_text(json.dumps(config))
    assert load_fitted(tmp_path / "run").settings["self_label"] is False
    with pytest.raises(ValueError, match="augment is True but .* was started with False"):
        start("run", resume=True, augment=True)
    assert json.loads(file.read_text()) == config
    start("run", resume=True, epochs=3)
    start("run", resume=True, self_label=True, rounds=2)
    start("whole", **plain | {"epochs": 3, "self_label": True, "rounds": 2})
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_a_new_run_does_not_go_on_with_an_old_self_labelling(
    start: Callable[..., TrainedRun], copied: Path
) -> None:
    (copied / "checkpoint.npz").unlink()
    before = content(copied)
    with pytest.raises(CheckpointError, match=rf"{INNER}.checkpoint.npz: already exists"):
        start(copied.name, **SMALL, seed=3)
    assert content(copied) == before
