"""The compiled step against layer by layer: loss, every gradient, and what Adam makes of them."""

import gc
import weakref

import numpy as np
import pytest

from l2ae_core.networks import Architecture, build
from l2ae_core.training.optim import SGD, Adam
from l2ae_core.training.step import LayerwiseStep, make_step
from l2ae_kernels.cpu.step import convolutional
from l2ae_kernels.cpu.step.convolutional import SHARDS, ConvolutionalStep
from l2ae_kernels.cpu.step.dense import DenseStep
from l2ae_kernels.cpu.threads import MOST, threads

from .stacks import GRADIENTS, LOSS, _flat, assert_equal_steps, clear_images, narrow

pytestmark = pytest.mark.needs_vectors


@pytest.mark.parametrize("norm", ["l2", "none"])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [("dense", (28, 28, 1)), ("dense", (3, 5, 2)), ("cae", (28, 28, 1)), ("cae", (16, 16, 1)),
     ("cae", (8, 8, 1)), ("cae", (8, 12, 3)), ("cae", (25, 30, 1)), ("cae", (11, 9, 3))],
)  # fmt: skip
def test_equal_to_layer_by_layer(kind, shape, norm):
    model = narrow(kind, shape, norm)
    for count in (1, 7, 40):
        step = assert_equal_steps(model, clear_images(model, count))
    assert isinstance(step.kernels, DenseStep if kind == "dense" else ConvolutionalStep)


@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("count", [100, 256])
def test_the_paper_networks(kind, count):
    model = build(Architecture(kind, (8, 8, 1)), np.random.default_rng(0))
    assert_equal_steps(model, clear_images(model, count), "sum")


@pytest.mark.parametrize("kernels", [(5, 5, 3), (4, 6, 5)], ids=["tiles", "Winograd"])
def test_the_paper_network_on_odd_sides(kernels):
    """Its channels fill vectors; sides of 15 and 13 have (2, 2) zeros, 14 is no whole tiles."""
    sides = (30, 25, 1) if kernels[0] == 5 else (27, 26, 2)
    model = build(Architecture("cae", sides, kernels=kernels), np.random.default_rng(0))
    assert_equal_steps(model, clear_images(model, 20))


def test_winograd_adds_up_micro_batches_and_keeps_nothing_of_another_batch():
    model = build(Architecture("cae", (16, 16, 1)), np.random.default_rng(0))
    x = clear_images(model, 300)
    step = assert_equal_steps(model, x)
    assert len(step.kernels.micro_batches_of(len(x), SHARDS - 1)) > 1
    fresh = assert_equal_steps(model, x[:20])  # not enough for a micro-batch in every shard
    expected, (_, grads) = fresh.loss_and_grads(x[:20])[1], step.loss_and_grads(x[:20])
    for name, g in expected.items():
        assert np.array_equal(grads[name], g), name


def test_dense_with_more_samples_than_a_panel_has_rows():
    """600 samples: sums of a gradient are kept in memory twice on the way, for Adam too."""
    model, twin = narrow("dense", (4, 4, 1)), narrow("dense", (4, 4, 1))
    x = clear_images(model, 600)
    step = assert_equal_steps(model, x)
    layerwise = LayerwiseStep(twin, Adam(), "mean")
    step(x)
    layerwise(x)
    _assert_close_memory(step.optimizer, layerwise.optimizer)


def _assert_close_memory(one, other):
    """m is the gradient itself, v its square: these can be compared, unlike m / √v."""
    for name, m in other.m.items():
        assert np.abs(one.m[name] - m).max() < GRADIENTS * np.abs(m).max(), name
        assert np.abs(one.v[name] - other.v[name]).max() < 2 * GRADIENTS * other.v[name].max(), name


@pytest.mark.parametrize("norm", ["l2", "none", "layer"])
@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_a_second_loss_at_the_code(kind, norm, count):
    """It is asked for every sample once, and acts on the encoder."""
    model, seen = narrow(kind, (8, 8, 1), norm), np.zeros(count, int)
    weights = np.linspace(0.5, 2, count, dtype=np.float32)[:, None]

    def latent_grad(first, u):
        here = slice(first, first + len(u))
        seen[here] += 1
        return weights[here] * (u - 1)

    x = clear_images(model, count)
    step = assert_equal_steps(model, x, latent_grad=latent_grad)
    assert (seen == 2).all()  # by each of the two steps
    name, g = next(iter(step.loss_and_grads(x)[1].items()))
    _, without = LayerwiseStep(model, Adam(), "mean").loss_and_grads(x)
    assert np.abs(g - without[name]).max() > 0.1 * np.abs(g).max()


@pytest.mark.skipif(MOST < 2, reason="one core")
@pytest.mark.parametrize("norm", ["l2", "layer", "batch"])
@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize(
    "latent_grad", [None, lambda first, u: u - 1], ids=["Eq. 3", "second loss"]
)
def test_bits_do_not_depend_on_threads(latent_grad, kind, norm, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    ends = []
    for count in (1, 2):
        model = narrow(kind, (12, 12, 1), norm)
        step, x = make_step(model, Adam(), "mean", latent_grad), clear_images(model, 77)
        with threads(count):
            losses = [step(x) for _ in range(3)]
        ends.append((losses, {n: p.tobytes() for n, p in model.params.items()}))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize(
    "optimizer",
    [lambda: Adam(variant="keras"), lambda: Adam(variant="torch"), lambda: SGD(0.1, 0.9)],
    ids=["keras", "torch", "sgd"],
)
def test_a_short_training(kind, optimizer):
    """ε = 1e-8 turns rounding of tiny gradients into steps of η; Adam here has ε = 1e-2."""
    sides = []
    for layerwise in (False, True):
        model, rule = narrow(kind, (8, 8, 1)), optimizer()
        if isinstance(rule, Adam):
            rule.eps = 1e-2
        step = LayerwiseStep(model, rule, "mean") if layerwise else make_step(model, rule)
        x = clear_images(model, 50)
        losses = [step(x[:size]) for size in (50, 50, 13, 50, 50)]
        sides.append((losses, model.params, rule.state_dict()))
    assert sides[0][0] == pytest.approx(sides[1][0], rel=1e-5)
    for one, other in zip(sides[0][1:], sides[1][1:], strict=True):
        assert one.keys() == other.keys()
        for name, a in other.items():  # five steps carry rounding on: 1e-4 of the largest entry
            assert np.abs(one[name] - a).max() <= 1e-4 * np.abs(a).max(), name


@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_rebound_parameter_and_loaded_moments_are_noticed(kind):
    model = narrow(kind, (8, 8, 1))
    step, x = make_step(model, Adam()), clear_images(model, 20)
    step(x)
    layer = next(part for part in _flat(model) if part.params)
    layer.W = layer.W * np.float32(0.5)
    assert step.loss_and_grads(x)[0] == pytest.approx(
        LayerwiseStep(model, Adam(), "mean").loss_and_grads(x)[0], rel=LOSS
    )
    step(x)
    step.optimizer.load_state_dict(step.optimizer.state_dict())  # other arrays from here on
    before = {name: m.copy() for name, m in step.optimizer.m.items()}
    step(x)
    assert all((step.optimizer.m[name] != m).any() for name, m in before.items())


@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_loss_that_is_not_finite_changes_nothing(kind):
    model = narrow(kind, (8, 8, 1))
    step, x = make_step(model, Adam()), clear_images(model, 20)
    step(x)
    before = {n: p.copy() for n, p in [*model.params.items(), *step.optimizer.state_dict().items()]}
    broken = x.copy()
    broken[3, 2, 2, 0] = np.nan
    assert np.isnan(step(broken))
    for name, p in [*model.params.items(), *step.optimizer.state_dict().items()]:
        np.testing.assert_array_equal(p, before[name])
    assert np.isfinite(step(x))
    assert all(np.isfinite(p).all() for p in model.params.values())


@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_an_interrupted_step_does_not_spoil_the_next(kind, monkeypatch):
    model = narrow(kind, (8, 8, 1))
    step, x = make_step(model, Adam()), clear_images(model, 40)
    expected = {n: g.copy() for n, g in step.loss_and_grads(x)[1].items()}
    module = "dense_batch" if kind == "dense" else "convolutional"
    regions = 2 if kind == "dense" else 1  # forward and backward, or all micro-batches, are done
    real, calls = convolutional.in_ranges, []

    def interrupted(*arguments):
        real(*arguments)
        calls.append(arguments)
        if len(calls) == regions:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"l2ae_kernels.cpu.step.{module}.in_ranges", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step.loss_and_grads(x[::-1])
    for name, g in step.loss_and_grads(x)[1].items():
        np.testing.assert_array_equal(g, expected[name], err_msg=name)


def test_batches_that_do_not_fit_are_refused():
    step = make_step(narrow("dense", (4, 4, 1)), Adam())
    for shape, dtype in (((2, 4, 4), "f4"), ((2, 4, 4, 1), "f8"), ((0, 4, 4, 1), "f4")):
        with pytest.raises(ValueError, match="expected float32"):
            step.loss_and_grads(np.zeros(shape, dtype))


@pytest.mark.parametrize("norm", ["l2", "batch"])
@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_the_memory_of_a_step_goes_with_it(kind, norm):
    """Nothing in it holds it in a circle, which would stay until garbage is collected."""
    model = narrow(kind, (8, 8, 1), norm)
    step = make_step(model, Adam())
    step(clear_images(model, 20))
    held = [step.kernels, *([step.kernels.batch] if kind == "dense" else [])]
    gone = [weakref.ref(each) for each in held]
    gc.disable()
    try:
        del step, held
        assert [each() for each in gone] == [None] * len(gone)
    finally:
        gc.enable()
