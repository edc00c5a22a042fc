"""Classes of one's own, derived from those of the package: no road takes one for its parent."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from l2ae_core.devices import OnDevice
from l2ae_core.layers import (
    Dense,
    Identity,
    L2Normalize,
    Layer,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
)
from l2ae_core.layers.describe import describe
from l2ae_core.models import AutoEncoder
from l2ae_core.models.dec import DecSettings, StudentAssignment, refine
from l2ae_core.models.dec.step import JointStep
from l2ae_core.models.drae import DRAEStep
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Adam, Optimizer
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels.cuda.device import emulate

from .stacks import GRADIENTS, LOSS, dense, stack

SHAPE, LATENT = (4, 4, 1), 3


class Calls:
    """Counts the forward passes of a class that derives from it first."""

    count = 0

    def forward(self, x, train=False):
        type(self).count += 1
        return super().forward(x, train)


@pytest.fixture(autouse=True)
def no_calls_yet():
    for kind in _subclasses(Calls):
        kind.count = 0


def _subclasses(kind):
    return [k for sub in kind.__subclasses__() for k in (sub, *_subclasses(sub))]


class Denoising(Calls, AutoEncoder):
    """Learns to reproduce x from a part of it."""

    def forward(self, x, train=False):
        kept = np.where(np.arange(x.shape[1]) % 2, x.dtype.type(1), x.dtype.type(0))
        return super().forward(x * kept[:, None, None] if train else x, train)


class Doubled(Calls, AutoEncoder):
    """Twice the reconstruction: a backward pass of its own, and no gradients."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return 2 * y, cache

    def backward(self, dy, cache):
        return super().backward(2 * dy, cache)


class Residual(Calls, Sequential):
    """y = x + 2 f(x)."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return x + 2 * y, cache

    def backward(self, dy, cache):
        dx, grads = super().backward(2 * dy, cache)
        return dy + dx, grads


class Squared(Calls, ReLU):
    """y = x² where x > 0."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return y * y, cache

    def backward(self, dy, cache):
        return super().backward(2 * cache * dy, cache)


class Halved(Calls, Dense):
    """y = (x W + b) / 2: the lowest layer with parameters, asked for its gradients alone."""

    def forward(self, x, train=False):
        y, cache = super().forward(x, train)
        return y / 2, cache

    def backward(self, dy, cache):
        return super().backward(dy / 2, cache)


class Shifted(Calls, L2Normalize):
    """u = z/|z| + 1."""

    def forward(self, x, train=False):
        u, cache = super().forward(x, train)
        return u + 1, cache


def network(first=None, activation=None, block=None, normalize=None, kind=AutoEncoder):
    """16 → 6 → 3 → 6 → 16, with one part of another class."""
    first = first or dense(16, 6)
    block = block or Sequential([dense(6, 6), LeakyReLU(0.2)], (6,))
    encoder = [Reshape((16,)), first, activation or LeakyReLU(0.3), block, dense(6, LATENT)]
    decoder = [dense(LATENT, 6), LeakyReLU(0.3), dense(6, 16), Reshape(SHAPE)]
    plain = stack(encoder, decoder, SHAPE, LATENT, normalize)
    return plain if kind is AutoEncoder else kind(plain.encoder, plain.normalize, plain.decoder)


OWN = {
    "model": (Denoising, lambda: network(kind=Denoising)),
    "model with a backward pass": (Doubled, lambda: network(kind=Doubled)),
    "container": (Residual, lambda: network(block=Residual([dense(6, 6), LeakyReLU(0.2)], (6,)))),
    "activation": (Squared, lambda: network(activation=Squared())),
    "first dense layer": (Halved, lambda: network(first=Halved(*dense(16, 6).params.values()))),
    "normalization": (Shifted, lambda: network(normalize=Shifted())),
}


def images(count=9, dtype=np.float32):
    return np.random.default_rng(3).random((count, *SHAPE)).astype(dtype)


def numeric(model, x, name, eps=1e-6):
    """The derivative of the loss by the first entry of a parameter, by central differences."""
    p = model.params[name].reshape(-1)
    values = []
    for sign in (1, -1):
        p[0] += sign * eps
        values.append(((model.forward(x, train=True)[0] - x) ** 2).mean())
        p[0] -= sign * eps
    return (values[0] - values[1]) / (2 * eps)


@pytest.mark.parametrize("name", OWN)
def test_a_step_calls_it_and_has_the_gradient_of_what_it_computes(name):
    kind, make = OWN[name]
    model, x = make(), images()
    step = make_step(model, Adam())
    loss, _ = step.gradients(x)
    assert kind.count > 0
    x_hat, _ = model.forward(x, train=True)
    assert loss == pytest.approx(((x_hat - x) ** 2).mean(), rel=LOSS)
    wide, x = model.astype(np.float64), images(dtype=np.float64)
    _, grads = make_step(wide, Adam()).gradients(x)
    for parameter in ("encoder.1.W", "encoder.3.0.W", "decoder.2.b"):
        expected = numeric(wide, x, parameter)
        assert grads[parameter].reshape(-1)[0] == pytest.approx(expected, rel=1e-5), parameter


@pytest.mark.parametrize("name", OWN)
def test_fit_trains_it(name):
    kind, make = OWN[name]
    model, twin = make(), make()
    first = kind.count
    fit(model, images(), epochs=1, optimizer=SGD(0.1), rng=np.random.default_rng(0), progress=False)
    assert kind.count > first
    LayerwiseStep(twin, SGD(0.1), "mean")(images()[np.random.default_rng(0).permutation(9)])
    for key, p in twin.params.items():
        np.testing.assert_allclose(model.params[key], p, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("gamma", [None, 0.1], ids=["dec", "idec"])
def test_a_refinement_calls_it(name, gamma):
    kind, make = OWN[name]
    model, x = make(), images()
    assignment = StudentAssignment(np.eye(LATENT, dtype=np.float32))
    p = np.full((len(x), LATENT), 1 / LATENT, np.float32)
    if kind is Doubled:
        with pytest.raises(ValueError, match="overrides backward but not gradients"):
            JointStep.make(model, assignment, SGD(0.1), SGD(0.1), gamma)
        return
    step = JointStep.make(model, assignment, SGD(0.1), SGD(0.1), gamma)
    kind.count = 0
    step(x, p)
    assert kind.count > 0


@pytest.mark.parametrize("gamma", [None, 0.1], ids=["dec", "idec"])
def test_the_codes_of_a_refinement_are_those_of_the_own_forward_pass(gamma):
    model, x = network(kind=Denoising), images()
    assignment = StudentAssignment(np.eye(LATENT, dtype=np.float32))
    p = np.tile(np.float32([0.2, 0.3, 0.5]), (len(x), 1))
    u = model.code(model.forward(x, train=True)[1])
    log_q, _ = assignment.forward(u)
    kl = (p * (np.log(p) - log_q)).sum() / len(x)
    step = JointStep.make(model, assignment, SGD(0.1), SGD(0.1), gamma)
    assert step(x, p).kl == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_a_device_calls_it(name, cxx):
    kind, make = OWN[name]
    model, x = make(), images()
    expected = model.reconstruct(x)
    moved = OnDevice.move(model, emulate())
    kind.count = 0
    np.testing.assert_allclose(moved.reconstruct(x), expected, rtol=1e-4, atol=1e-5)
    assert kind.count > 0


def test_a_method_replaced_on_a_layer_is_called():
    model, x = network(), images()
    layer, calls = model.encoder.layers[2], []
    plain = layer.forward

    def counted(x, train=False):
        calls.append(len(x))
        y, cache = plain(x, train)
        return y + 1, cache

    step = make_step(model, Adam())
    layer.forward = counted
    loss, _ = make_step(model, Adam()).gradients(x)
    assert calls
    assert loss == pytest.approx(((model.reconstruct(x) - x) ** 2).mean(), rel=LOSS)
    if isinstance(step, CompiledStep):  # it was made before
        with pytest.raises(ValueError, match="make a new step"):
            step(x)
    for copy in (lambda: model.astype(np.float64), lambda: OnDevice.move(model, emulate())):
        with pytest.raises(ValueError, match="forward is replaced on the object"):
            copy()


def test_a_backward_pass_replaced_on_a_layer_makes_its_gradients():
    model, x = network(), images()
    layer = model.encoder.layers[1]
    plain = layer.backward
    layer.backward = lambda dy, cache: plain(3 * dy, cache)
    before = make_step(network(), Adam()).gradients(x)[1]["encoder.1.W"]
    after = make_step(model, Adam()).gradients(x)[1]["encoder.1.W"]
    np.testing.assert_allclose(after, 3 * before, atol=GRADIENTS * 3 * np.abs(before).max())


@pytest.mark.needs_vectors
def test_a_layer_that_is_exchanged_after_a_step_was_made_is_used():
    model, x = network(), images()
    step = make_step(model, Adam())
    assert isinstance(step, CompiledStep)
    step.gradients(x)
    model.normalize = Identity()
    model.encoder.layers[2].slope = 0.9
    loss, _ = step.gradients(x)
    assert loss == pytest.approx(((model.reconstruct(x) - x) ** 2).mean(), rel=LOSS)


class SignOnly(Adam):
    """p ← p − η sign(g)."""

    def step(self, params, grads):
        for name, p in params.items():
            p -= np.float32(self.learning_rate) * np.sign(grads[name])


class Clipped(CompiledStep):
    """No entry of a gradient is larger than a bound."""

    def gradients(self, x):
        loss, grads = super().gradients(x)
        return loss, {name: g.clip(-1e-3, 1e-3) for name, g in grads.items()}


def test_an_optimizer_that_overrides_step_takes_its_own():
    model = network()
    before = {name: p.copy() for name, p in model.params.items()}
    make_step(model, SignOnly(0.25))(images())
    for name, p in model.params.items():
        moved = np.abs(p - before[name])
        assert np.all((np.abs(moved - 0.25) < 1e-6) | (moved == 0)), name


def test_a_step_replaced_on_an_optimizer_is_called():
    optimizer, calls = Adam(), []
    optimizer.step = lambda params, grads: calls.append(sorted(grads))
    model = network()
    make_step(model, optimizer)(images())
    assert calls == [sorted(model.params)]


@pytest.mark.needs_vectors
def test_a_step_that_overrides_gradients_makes_its_updates_of_them():
    model = network()
    before = {name: p.copy() for name, p in model.params.items()}
    Clipped(model, SGD(1.0), "sum")(images())
    for name, p in model.params.items():
        assert np.abs(p - before[name]).max() <= 1.0001e-3, name


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

    def gradients(self, x):
        loss, grads = super().gradients(x)
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


@dataclass(frozen=True, eq=False)
class Frozen(Layer):
    """y = s x; not a field may be set."""

    s: np.ndarray
    parts: tuple[Layer, ...] = ()

    def forward(self, x, train=False):
        return self.s * x, None

    def backward(self, dy, cache):
        return self.s * dy, {}


@dataclass(eq=False, slots=True)
class Slotted(Layer):
    """The same with slots."""

    s: np.ndarray
    parts: tuple[Layer, ...] = ()

    forward, backward = Frozen.forward, Frozen.backward


class Plain(Layer):
    """The same without a decorator."""

    def __init__(self, s, parts=()):
        self.s, self.parts = s, {"all": list(parts)}

    forward, backward = Frozen.forward, Frozen.backward


@pytest.mark.parametrize("kind", [Frozen, Slotted, Plain])
def test_a_copy_has_all_arrays_of_an_own_layer(kind):
    layer = kind(np.float32([1, 2]), (dense(2, 2),))
    copy = layer.astype(np.float64)
    assert type(copy) is kind
    assert copy.s.dtype == np.float64
    inner = copy.parts["all"] if kind is Plain else copy.parts
    assert inner[0].W.dtype == np.float64
    assert layer.s.dtype == np.float32
    assert describe(kind(np.ones(2))) != describe(kind(np.ones(3)))
    assert describe(layer) != describe(kind(np.float32([1, 2]), (dense(2, 3),)))


def test_a_refinement_refuses_another_network(tmp_path):
    settings = replace(DecSettings("idec", 3, max_iter=1), n_init=1)
    run = {"start": np.eye(3), "settings": settings, "run_dir": tmp_path, "progress": False}
    refine(network(), images(), **run)
    with pytest.raises(ValueError, match="layers is"):
        refine(network(activation=Squared()), images(), resume=True, **run)
    assert refine(network(), images(), resume=True, **run).iterations == 1


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
