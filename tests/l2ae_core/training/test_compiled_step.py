"""The compiled step against layer by layer: loss, every gradient, and what Adam makes of them."""

import numpy as np
import pytest

from l2ae_core.layers import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    Identity,
    L2Normalize,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
)
from l2ae_core.models import Architecture, AutoEncoder, build
from l2ae_core.training import compiled_conv
from l2ae_core.training.compiled_conv import CompiledConvolutional
from l2ae_core.training.compiled_dense import CompiledDense
from l2ae_core.training.optim import SGD, Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels.cpu.emit.vectors import SETS, best, vectors
from l2ae_kernels.cpu.threads import MOST, threads

# Both sides add the same products in float32 in another order: n of them in a gradient differ by
# about √n · 6e-8 of their size, and by more where terms cancel. Relative to the largest entry.
GRADIENTS = 2e-5
LOSS = 1e-6
# A unit nearer to zero than this, relative to its layer, may have its gate open on one side only,
# and both are right: images with such a unit are left out.
CLEAR = 1e-5

pytestmark = pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")


def narrow(model, shape, norm="l2", **more):
    """A network of the paper's shape with few units: odd numbers, no multiples of a vector."""
    sizes = {"latent_dim": 5, "hidden": (37, 50, 67), "filters": (9, 20, 33)}
    return build(Architecture(model, shape, norm=norm, **sizes, **more), np.random.default_rng(0))


def clear_images(model, count, seed=1):
    """Random images (count, H, W, C) for which no unit is at its kink."""
    rng, wide, kept = np.random.default_rng(seed), model.astype(np.float64), []
    for _ in range(100):
        x = rng.random((count + 20, *model.input_shape), dtype=np.float32)
        kept.append(x[_clear(wide, x.astype(np.float64))])
        if sum(map(len, kept)) >= count:
            return np.concatenate(kept)[:count]
    raise AssertionError(f"every image has a unit of {model} at its kink: are all units dead?")


def _clear(layer, x):
    clear = np.ones(len(x), bool)
    for part in _flat(layer):
        if isinstance(part, ReLU | LeakyReLU):
            size = np.abs(x.reshape(len(x), -1))
            clear &= size.min(axis=1) > CLEAR * np.sqrt((size**2).mean())
        x, _ = part.forward(x)
    return clear


def _flat(layer):
    if isinstance(layer, AutoEncoder):
        return [*_flat(layer.encoder), layer.normalize, *_flat(layer.decoder)]
    if isinstance(layer, Sequential):
        return [part for inner in layer.layers for part in _flat(inner)]
    return [layer]


def assert_equal_steps(model, x, reduction="mean"):
    """Assert that loss and gradients are those of layer by layer; return the compiled step."""
    step = make_step(model, Adam(), reduction)
    assert isinstance(step, CompiledStep)
    loss, grads = step.gradients(x)
    expected_loss, expected = LayerwiseStep(model, Adam(), reduction).gradients(x)
    assert loss == pytest.approx(expected_loss, rel=LOSS)
    assert grads.keys() == expected.keys()
    for name, g in expected.items():
        assert grads[name].shape == g.shape
        off = np.abs(grads[name] - g).max() / np.abs(g).max()
        assert off < GRADIENTS, f"{name} is off by {off:.1e} of its largest entry"
    return step


@pytest.mark.parametrize("norm", ["l2", "none"])
@pytest.mark.parametrize(
    ("kind", "shape"),
    [("dense", (28, 28, 1)), ("dense", (3, 5, 2)), ("cae", (28, 28, 1)), ("cae", (16, 16, 1)),
     ("cae", (8, 8, 1)), ("cae", (8, 12, 3))],
)  # fmt: skip
def test_equal_to_layer_by_layer(kind, shape, norm):
    model = narrow(kind, shape, norm)
    for count in (1, 7, 40):
        step = assert_equal_steps(model, clear_images(model, count))
    assert isinstance(step.compiled, CompiledDense if kind == "dense" else CompiledConvolutional)


LAYER_NORM = [
    ("dense", {}),
    ("dense", {"hidden_norm": "layer"}),
    ("cae", {}),
    ("cae", {"affine": True}),
    ("cae", {"hidden_norm": "layer"}),
    ("cae", {"hidden_norm": "layer", "affine": True}),
]


@pytest.mark.parametrize("lanes", SETS)
@pytest.mark.parametrize(("kind", "changes"), LAYER_NORM, ids=str)
def test_layer_normalization(kind, changes, lanes):
    """γ and β are drawn, so that neither 1 nor 0 hides a mistake."""
    model, rng = narrow(kind, (8, 12, 3), "layer", **changes), np.random.default_rng(5)
    for name, p in model.params.items():
        if name.endswith(("gamma", "beta")):
            p += 0.3 * rng.standard_normal(p.shape, dtype=np.float32)
    with vectors(lanes):
        for count in (1, 7, 40):
            assert_equal_steps(model, clear_images(model, count))


@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("count", [100, 256])
def test_the_paper_networks(kind, count):
    model = build(Architecture(kind, (8, 8, 1)), np.random.default_rng(0))
    assert_equal_steps(model, clear_images(model, count), "sum")


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


@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
def test_every_set_of_vectors(kind, name):
    """LLVM splits vectors that this machine does not have."""
    model = narrow(kind, (8, 8, 1))
    with vectors(name):
        assert_equal_steps(model, clear_images(model, 33))


@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
def test_layers_narrower_than_half_a_vector(name):
    """Their sums lie along the lanes, with the gate of the layer before on the way back."""
    architecture = Architecture("cae", (8, 8, 1), latent_dim=5, filters=(4, 3, 8))
    with vectors(name):
        model = build(architecture, np.random.default_rng(0))
        assert_equal_steps(model, clear_images(model, 33))


def second_loss(targets, seen):
    """Σ w_i |u_i − t_i|² as a loss at the codes; `seen` counts how often it was asked for whom."""
    weights = np.linspace(0.5, 2, len(targets), dtype=np.float32)[:, None]

    def at_code(first, u):
        here = slice(first, first + len(u))
        seen[here] += 1
        return 2 * weights[here] * (u - targets[here])

    return at_code


@pytest.mark.parametrize("norm", ["l2", "none", "layer"])
@pytest.mark.parametrize("kind", ["dense", "cae"])
@pytest.mark.parametrize("count", [1, 7, 40, 300])
def test_a_second_loss_at_the_code(kind, norm, count):
    model = narrow(kind, (8, 8, 1), norm)
    x = clear_images(model, count)
    targets = np.random.default_rng(3).standard_normal((count, 5)).astype(np.float32)
    seen, others = np.zeros(count, int), np.zeros(count, int)
    step = make_step(model, Adam(), "mean", second_loss(targets, seen))
    assert isinstance(step, CompiledStep)
    loss, grads = step.gradients(x)
    assert (seen == 1).all()
    layerwise = LayerwiseStep(model, Adam(), "mean", second_loss(targets, others))
    expected_loss, expected = layerwise.gradients(x)
    assert loss == pytest.approx(expected_loss, rel=LOSS)
    for name, g in expected.items():
        assert np.abs(grads[name] - g).max() < GRADIENTS * np.abs(g).max(), name
    _, without = LayerwiseStep(model, Adam(), "mean").gradients(x)
    first = next(iter(expected))  # of the encoder's first layer: the second loss gets there
    assert np.abs(expected[first] - without[first]).max() > 0.1 * np.abs(expected[first]).max()


@pytest.mark.skipif(MOST < 2, reason="one core")
@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_second_loss_does_not_depend_on_threads(kind, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    ends = []
    for count in (1, 2):
        model = narrow(kind, (12, 12, 1))
        x = clear_images(model, 77)
        targets = np.ones((77, 5), np.float32)
        step = make_step(model, Adam(), at_code=second_loss(targets, np.zeros(77, int)))
        with threads(count):
            losses = [step(x) for _ in range(3)]
        ends.append((losses, {n: p.tobytes() for n, p in model.params.items()}))
    assert ends[0] == ends[1]


def test_a_code_behind_an_activation_goes_layer_by_layer():
    """The compiled step holds u, but its gradient would still have to pass the gate."""
    model = stack(
        [Reshape((16,)), dense(16, 3), ReLU()], [dense(3, 16), Reshape((4, 4, 1))], (4, 4, 1), 3,
        Identity(),
    )  # fmt: skip
    assert isinstance(make_step(model, Adam()), CompiledStep)
    assert isinstance(make_step(model, Adam(), at_code=lambda first, u: u), LayerwiseStep)


def conv(kernel, inputs, outputs, stride=2, padding="same", transposed=False):
    rng = np.random.default_rng(kernel + inputs)
    kind = ConvTranspose2d if transposed else Conv2d
    return kind.glorot(inputs, outputs, kernel, rng, stride=stride, padding=padding)


def dense(inputs, outputs):
    return Dense.glorot(inputs, outputs, np.random.default_rng(inputs))


def stack(encoder, decoder, shape, latent, normalize=None):
    return AutoEncoder(
        Sequential(encoder, shape), normalize or L2Normalize(), Sequential(decoder, (latent,))
    )


STACKS = {
    "stride 1, even kernel, LeakyReLU": lambda: stack(
        [conv(4, 1, 5, stride=1), LeakyReLU(0.1), Reshape((180,)), dense(180, 3)],
        [dense(3, 180), LeakyReLU(0.1), Reshape((6, 6, 5)),
         conv(4, 5, 1, stride=1, transposed=True)],
        (6, 6, 1), 3,
    ),
    "stride 3, three channels": lambda: stack(
        [conv(5, 3, 10, stride=3), ReLU(), Reshape((90,)), dense(90, 4)],
        [dense(4, 90), ReLU(), Reshape((3, 3, 10)), conv(5, 10, 3, stride=3, transposed=True)],
        (9, 9, 3), 4,
    ),
    "the decoder ends in a convolution": lambda: stack(
        [conv(3, 1, 6), ReLU(), Reshape((96,)), dense(96, 3)],
        [dense(3, 96), Reshape((4, 4, 6)), conv(3, 6, 7, transposed=True), ReLU(),
         conv(3, 7, 1, stride=1)],
        (8, 8, 1), 3,
    ),
    "few channels, whose products go along the sum": lambda: stack(
        [conv(3, 1, 2), LeakyReLU(0.2), conv(3, 2, 3, stride=1), ReLU(), Reshape((48,)),
         dense(48, 3)],
        [dense(3, 16), ReLU(), Reshape((4, 4, 1)), conv(3, 1, 2, stride=1), LeakyReLU(0.1),
         conv(3, 2, 1, transposed=True)],
        (8, 8, 1), 3,
    ),
    "layer norm of the pixels of a vector": lambda: stack(
        [Reshape((48,)), dense(48, 40), Reshape((2, 4, 5)), LayerNorm(None, None), ReLU(),
         Reshape((40,)), dense(40, 3)],
        [dense(3, 48), Reshape((4, 4, 3))],
        (4, 4, 3), 3,
    ),
    "nested, no constraint": lambda: stack(
        [Sequential([Reshape((20,)), Sequential([dense(20, 9), LeakyReLU(0.3)], (20,))], (4, 5, 1)),
         dense(9, 3)],
        [Sequential([dense(3, 20)], (3,)), Reshape((4, 5, 1))],
        (4, 5, 1), 3, Identity(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("lanes", SETS)
@pytest.mark.parametrize("name", STACKS)
def test_other_stacks(name, lanes):
    """On all vectors: what counts as few channels depends on the lanes."""
    model = STACKS[name]()
    with vectors(lanes):
        for count in (5, 33):
            assert_equal_steps(model, clear_images(model, count))


@pytest.mark.skipif(MOST < 2, reason="one core")
@pytest.mark.parametrize("norm", ["l2", "layer"])
@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_bits_do_not_depend_on_threads(kind, norm, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    ends = []
    for count in (1, 2):
        model = narrow(kind, (12, 12, 1), norm)
        step, x = make_step(model, Adam()), clear_images(model, 77)
        with threads(count):
            losses = [step(x) for _ in range(3)]
        ends.append((losses, {n: p.tobytes() for n, p in model.params.items()}))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "changes",
    [{"norm": "batch"}, {"hidden_norm": "batch"}, {"norm": "layer", "affine": True}],
    ids=str,
)
def test_layers_that_are_not_compiled_go_layer_by_layer(changes):
    model = build(Architecture("dense", (4, 4, 1), **changes), np.random.default_rng(0))
    assert isinstance(make_step(model, Adam()), LayerwiseStep)


def test_other_fallbacks():
    model = narrow("dense", (4, 4, 1))
    assert isinstance(make_step(model.astype(np.float64), Adam()), LayerwiseStep)
    with vectors("none"):
        assert isinstance(make_step(model, Adam()), LayerwiseStep)
    gated_output = stack(
        [Reshape((16,)), dense(16, 3)], [dense(3, 16), ReLU(), Reshape((4, 4, 1))], (4, 4, 1), 3
    )
    assert isinstance(make_step(gated_output, Adam()), LayerwiseStep)


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
    assert step.gradients(x)[0] == pytest.approx(
        LayerwiseStep(model, Adam(), "mean").gradients(x)[0], rel=LOSS
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
    expected = {n: g.copy() for n, g in step.gradients(x)[1].items()}
    module = "compiled_dense" if kind == "dense" else "compiled_conv"
    regions = 2 if kind == "dense" else 1  # forward and backward, or all micro-batches, are done
    real, calls = compiled_conv.in_ranges, []

    def interrupted(*arguments):
        real(*arguments)
        calls.append(arguments)
        if len(calls) == regions:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"l2ae_core.training.{module}.in_ranges", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step.gradients(x[::-1])
    for name, g in step.gradients(x)[1].items():
        np.testing.assert_array_equal(g, expected[name], err_msg=name)


def test_batches_that_do_not_fit_are_refused():
    step = make_step(narrow("dense", (4, 4, 1)), Adam())
    for shape, dtype in (((2, 4, 4), "f4"), ((2, 4, 4, 1), "f8"), ((0, 4, 4, 1), "f4")):
        with pytest.raises(ValueError, match="expected float32"):
            step.gradients(np.zeros(shape, dtype))
