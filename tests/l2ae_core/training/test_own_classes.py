"""Classes of one's own, derived from those of the package: none is taken for its parent."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.devices import DeviceNetwork
from l2ae_core.layers import Identity, Layer, LayerNorm
from l2ae_core.layers.describe import describe
from l2ae_core.refinement import StudentAssignment
from l2ae_core.refinement.step import JointStep
from l2ae_core.training.loop import fit
from l2ae_core.training.optim import SGD, Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels.cuda.emulated import emulate

from .own_classes import LATENT, OWN, Calls, Denoising, Doubled, images, network
from .stacks import GRADIENTS, LOSS, dense


@pytest.fixture(autouse=True)
def no_calls_yet():
    for kind in _subclasses(Calls):
        kind.count = 0


def _subclasses(kind):
    return [k for sub in kind.__subclasses__() for k in (sub, *_subclasses(sub))]


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
    loss, _ = step.loss_and_grads(x)
    assert kind.count > 0
    x_hat, _ = model.forward(x, train=True)
    assert loss == pytest.approx(((x_hat - x) ** 2).mean(), rel=LOSS)
    wide, x = model.astype(np.float64), images(dtype=np.float64)
    _, grads = make_step(wide, Adam()).loss_and_grads(x)
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
        with pytest.raises(ValueError, match="overrides backward but not weight_grads"):
            JointStep.make(model, assignment, SGD(0.1), SGD(0.1), gamma)
        return
    step = JointStep.make(model, assignment, SGD(0.1), SGD(0.1), gamma)
    kind.count = 0
    step.loss.set_target(p)
    step(x)
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
    step.loss.set_target(p)
    step(x)
    assert step.loss.sums()[0] == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize("name", [n for n in OWN if not n.startswith("model")])
def test_a_device_calls_it(name, device):
    """A layer; the forward pass of a model has no part in its codes."""
    kind, make = OWN[name]
    model, x = make(), images()
    expected = model.decode(model.encode(x))
    moved = DeviceNetwork.move(model, device)
    kind.count = 0
    np.testing.assert_allclose(moved.decode(moved.encode(x)), expected, rtol=1e-4, atol=1e-5)
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
    loss, _ = make_step(model, Adam()).loss_and_grads(x)
    assert calls
    assert loss == pytest.approx(((model.reconstruct(x) - x) ** 2).mean(), rel=LOSS)
    if isinstance(step, CompiledStep):  # it was made before
        with pytest.raises(ValueError, match="make a new step"):
            step(x)
    for copy in (lambda: model.astype(np.float64), lambda: DeviceNetwork.move(model, emulate())):
        with pytest.raises(ValueError, match="forward is replaced on the object"):
            copy()


def test_a_backward_pass_replaced_on_a_layer_makes_its_gradients():
    model, x = network(), images()
    layer = model.encoder.layers[1]
    plain = layer.backward
    layer.backward = lambda dy, cache: plain(3 * dy, cache)
    before = make_step(network(), Adam()).loss_and_grads(x)[1]["encoder.1.W"]
    after = make_step(model, Adam()).loss_and_grads(x)[1]["encoder.1.W"]
    np.testing.assert_allclose(after, 3 * before, atol=GRADIENTS * 3 * np.abs(before).max())


def exchange_a_normalization(model):
    model.normalize = Identity()


def exchange_a_layer(model):
    model.encoder.layers[1] = dense(16, 6)
    model.encoder.layers[1].W[:] *= -1


def change_a_slope(model):
    model.encoder.layers[2].slope = 0.9


def change_an_epsilon(model):
    model.normalize.eps = 0.5


@pytest.mark.needs_vectors
@pytest.mark.parametrize(
    "change",
    [exchange_a_normalization, exchange_a_layer, change_a_slope, change_an_epsilon],
)
def test_a_network_that_changes_after_a_step_was_made_is_used_as_it_is(change):
    model, x = network(normalize=LayerNorm.create(LATENT, affine=False)), images()
    step = make_step(model, Adam())
    assert isinstance(step, CompiledStep)
    before, _ = step.loss_and_grads(x)
    change(model)
    loss, _ = step.loss_and_grads(x)
    assert loss != pytest.approx(before, rel=10 * LOSS)
    assert loss == pytest.approx(((model.reconstruct(x) - x) ** 2).mean(), rel=LOSS)


class SignOnly(Adam):
    """p ← p − η sign(g)."""

    def step(self, params, grads):
        for name, p in params.items():
            p -= np.float32(self.learning_rate) * np.sign(grads[name])


class Clipped(CompiledStep):
    """No entry of a gradient is larger than a bound."""

    def loss_and_grads(self, x):
        loss, grads = super().loss_and_grads(x)
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
