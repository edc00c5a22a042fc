"""The training loop with models and losses of their own: VAE, DRAE, GMVAE."""

from types import SimpleNamespace

import numpy as np
import pytest

from l2ae_core.baselines.drae import DRAEStep
from l2ae_core.baselines.gmvae import GMVAEArchitecture, GMVAEStep, build_gmvae
from l2ae_core.baselines.vae import VAEArchitecture, VAEStep, build_vae
from l2ae_core.networks import Architecture, build
from l2ae_core.seeding import rngs
from l2ae_core.training.checkpoint import load
from l2ae_core.training.history import TrainingError
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Adam

SHAPE = (8, 8, 1)
KINDS = ["vae", "drae", "gmvae"]


def start(kind, seed=0, optimizer=None, **changes):
    """A model, an optimizer, a generator and a step as they are before the first epoch."""
    s, optimizer = rngs(seed), optimizer or Adam(1e-3)
    if kind == "vae":
        model = build_vae(VAEArchitecture(SHAPE, 3, (6,), **changes), s.init)
        step = VAEStep(model, optimizer, s.shuffle)
    elif kind == "gmvae":
        model = build_gmvae(GMVAEArchitecture(SHAPE, 3, 4, 2, (6,), 5, **changes), s.init)
        step = GMVAEStep(model, optimizer, s.shuffle)
    else:
        model = build(Architecture("dense", SHAPE, 3, hidden=(6,)), s.init)
        step = DRAEStep(model, optimizer, **changes)
    return SimpleNamespace(model=model, optimizer=optimizer, rng=s.shuffle, step=step)


def train(small, kind, epochs, run_dir=None, *, resume=False, seed=0, **changes):
    t = start(kind, seed, **changes)
    t.history = fit(
        t.model, small.digits(), epochs=epochs, batch_size=32, optimizer=t.optimizer, rng=t.rng,
        step=t.step, run_dir=run_dir, checkpoint_every=2, resume=resume, progress=False,
    )  # fmt: skip
    return t


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_training_ends_with_the_same_bits(small, bits, tmp_path, kind, stop):
    """The noise goes on where it stopped, for it comes from the generator of the shuffle."""
    train(small, kind, stop, tmp_path)
    resumed = train(small, kind, 4, tmp_path, resume=True)
    assert bits(resumed) == bits(train(small, kind, 4))
    assert load(tmp_path / "checkpoint.npz", resumed.model).epoch == 4


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bits_and_losses_fall(small, bits, kind):
    t = train(small, kind, 6)
    assert bits(t) == bits(train(small, kind, 6))
    assert bits(t) != bits(train(small, kind, 6, seed=1))
    assert t.history.losses[-1] < t.history.losses[0]
    norms = np.linalg.norm(t.model.latent(small.digits()), axis=1)
    assert t.history.records[-1].latent_norm_mean == pytest.approx(norms.mean(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(small, kind):
    t = start(kind)
    losses, real = [], t.step.loss_and_grads

    def spy(x):
        loss, grads = real(x)
        losses.append(loss * len(x))
        return loss, grads

    t.step.loss_and_grads = spy
    history = fit(
        t.model, small.digits(), epochs=1, batch_size=32, optimizer=t.optimizer, rng=t.rng,
        step=t.step, progress=False,
    )  # fmt: skip
    assert len(losses) == 5
    assert history.losses[0] == pytest.approx(sum(losses) / 150, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("drae", {"trade_off": 0.2}, "trade_off is 0.2 but .* was trained with 0.1"),
        ("vae", {"likelihood": "bernoulli"}, "of another architecture: parameter 'decoder.2.W'"),
        ("vae", {"floor": -5.0}, "layers is .*Gaussian.*-5.0"),
        ("gmvae", {"free_nats": 0.7}, "layers is .*free_nats=0.7"),
        ("vae", {"optimizer": Adam(0.5)}, "optimizer is Adam"),
    ],
)
def test_other_settings_are_refused(small, tmp_path, kind, changes, message):
    train(small, kind, 1, tmp_path)
    with pytest.raises(ValueError, match=message):
        train(small, kind, 2, tmp_path, resume=True, **changes)
    assert load(tmp_path / "checkpoint.npz").epoch == 1


def test_another_loss_does_not_resume_a_training(small, tmp_path):
    plain, drae, run = tmp_path / "plain", tmp_path / "drae", {"batch_size": 32, "progress": False}
    t = start("drae")
    arguments = {"optimizer": t.optimizer, "rng": t.rng, **run}
    fit(t.model, small.digits(), epochs=1, run_dir=plain, **arguments)
    train(small, "drae", 1, drae)
    with pytest.raises(ValueError, match="loss is DRAE but .* was trained with None"):
        train(small, "drae", 2, plain, resume=True)
    with pytest.raises(ValueError, match="reduction is mean but .* was trained with None"):
        fit(t.model, small.digits(), epochs=2, run_dir=drae, resume=True, **arguments)


@pytest.mark.parametrize("what", ["model", "optimizer", "rng"])
def test_a_step_must_use_what_fit_saves(small, what):
    t, other = start("vae"), start("vae", seed=1)
    setattr(t.step, what, getattr(other, what))
    with pytest.raises(ValueError, match=f"step has another {what} than fit"):
        fit(
            t.model, small.digits(), epochs=1, optimizer=t.optimizer, rng=t.rng, step=t.step,
            progress=False,
        )  # fmt: skip


def test_a_step_is_needed_and_has_its_own_reduction(small):
    t = start("vae")
    arguments = {"epochs": 1, "optimizer": t.optimizer, "rng": t.rng, "progress": False}
    with pytest.raises(ValueError, match=r"step is None but VAE\(.* is not an AutoEncoder"):
        fit(t.model, small.digits(), **arguments)
    with pytest.raises(ValueError, match="reduction is 'sum' but a step has its own loss"):
        fit(t.model, small.digits(), step=t.step, reduction="sum", **arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_is_named(small, tmp_path, kind):
    with pytest.raises(TrainingError, match=r"at epoch \d, step \d, with SGD.*nothing|no checkp"):
        train(small, kind, 9, tmp_path, optimizer=SGD(1e12))
    assert not (tmp_path / "checkpoint.npz").exists()


def test_pixels_that_no_bernoulli_has_are_named(small):
    t = start("vae", likelihood="bernoulli")
    with pytest.raises(ValueError, match=r"Bernoulli: pixels lie in \[0.0, 2.0\]"):
        fit(
            t.model, 2 * small.digits(), epochs=1, optimizer=t.optimizer, rng=t.rng, step=t.step,
            progress=False,
        )  # fmt: skip
