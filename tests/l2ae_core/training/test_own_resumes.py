"""Files name the classes and settings of a training: it does not go on with others."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.baselines.drae import DRAEStep
from l2ae_core.layers import LeakyReLU, ReLU, Reshape, Sequential
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Optimizer

from .own_classes import SHAPE, Denoising, Halved, Residual, Shifted, Squared, images, network
from .stacks import dense, stack


class OtherModule(ReLU):
    """A class of the same name as another, in another module."""


OtherModule.__module__, OtherModule.__qualname__ = "elsewhere", "Squared"


@dataclass(eq=False)
class Power(ReLU):
    """y = max(x, 0)^p: a setting of its own beside what the parent shows."""

    p: float = 2.0


@pytest.mark.parametrize(
    "change",
    [
        {"activation": Squared()},
        {"activation": ReLU()},
        {"activation": Power(2.0)},
        {"activation": Power(3.0)},
        {"block": Residual([dense(6, 6), LeakyReLU(0.2)], (6,))},
        {"block": Sequential([dense(6, 6), LeakyReLU(0.1)], (6,))},
        {"first": Halved(*dense(16, 6).params.values())},
        {"normalize": Shifted()},
        {"kind": Denoising},
    ],
)
def test_a_resume_refuses_another_network(tmp_path, change):
    def train(epochs, resume, **parts):
        fit(
            network(**parts), images(), epochs=epochs, optimizer=SGD(0.1), progress=False,
            rng=np.random.default_rng(0), run_dir=tmp_path, resume=resume,
        )  # fmt: skip

    train(1, False, activation=Power(2.5))
    with pytest.raises(ValueError, match="layers is"):
        train(2, True, **change)
    train(2, True, activation=Power(2.5))


def test_a_resume_refuses_a_layer_of_equal_name(tmp_path):
    run = {"rng": np.random.default_rng(0), "progress": False, "run_dir": tmp_path}
    fit(network(activation=Squared()), images(), epochs=1, optimizer=SGD(0.1), **run)
    with pytest.raises(ValueError, match=r"elsewhere\.Squared"):
        fit(
            network(activation=OtherModule()), images(), epochs=2, optimizer=SGD(0.1), resume=True,
            **run,
        )  # fmt: skip


def test_a_resume_refuses_another_optimizer_of_equal_name(tmp_path):
    other = type("SGD", (SGD,), {"__module__": "elsewhere", "__qualname__": "SGD"})
    run = {"rng": np.random.default_rng(0), "progress": False, "run_dir": tmp_path}
    fit(network(), images(), epochs=1, optimizer=SGD(0.1), **run)
    with pytest.raises(ValueError, match=r"optimizer is elsewhere\.SGD"):
        fit(network(), images(), epochs=2, optimizer=other(0.1), resume=True, **run)


class OtherLoss(DRAEStep):
    """DRAE with other gradients, and the settings of its parent."""

    def loss_and_grads(self, x):
        loss, grads = super().loss_and_grads(x)
        return loss, {name: 2 * g for name, g in grads.items()}


def test_a_resume_refuses_a_step_that_overrides_another(tmp_path):
    def train(kind, epochs, resume):
        model, optimizer = network(), SGD(0.01)
        fit(
            model, images(), epochs=epochs, optimizer=optimizer, rng=np.random.default_rng(0),
            step=kind(model, optimizer), run_dir=tmp_path / kind.__name__, resume=resume,
            progress=False,
        )  # fmt: skip

    train(DRAEStep, 1, False)
    train(OtherLoss, 1, False)
    train(OtherLoss, 2, True)
    (tmp_path / "OtherLoss").rename(tmp_path / "other")
    (tmp_path / "DRAEStep").rename(tmp_path / "OtherLoss")
    (tmp_path / "other").rename(tmp_path / "DRAEStep")
    for kind in (DRAEStep, OtherLoss):
        with pytest.raises(ValueError, match="step is .* was trained with"):
            train(kind, 3, True)


def test_an_optimizer_without_settings_in_its_text_is_refused():
    class Plain(Optimizer):
        def step(self, params, grads): ...

        def state_dict(self):
            return {}

        def load_state_dict(self, state): ...

    with pytest.raises(ValueError, match="optimizer .*Plain has no __repr__"):
        fit(network(), images(), epochs=1, optimizer=Plain(), rng=np.random.default_rng(0))


def test_what_describes_the_layers_of_the_package_is_what_files_of_before_hold():
    assert stack(
        [Reshape((16,)), dense(16, 6), LeakyReLU(0.3), dense(6, 3)],
        [dense(3, 16), Reshape(SHAPE)], SHAPE, 3,
    ).describe() == [
        "Reshape(16,)", "Dense(16 -> 6)", "LeakyReLU(0.3)", "Dense(6 -> 3)",
        "L2Normalize(eps=1e-06)", "Dense(3 -> 16)", "Reshape(4, 4, 1)",
    ]  # fmt: skip


def test_a_derived_class_has_its_own_name():
    for thing in (Squared(), Shifted(), Halved(*dense(16, 6).params.values()),
                  Residual([dense(6, 6)], (6,)), network(kind=Denoising)):  # fmt: skip
        assert str(thing).startswith(f"{type(thing).__qualname__}(")
