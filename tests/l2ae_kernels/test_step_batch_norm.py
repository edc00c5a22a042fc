"""Batch norm in the compiled step, whose samples pass in micro-batches: moments of all of them."""

from dataclasses import replace

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function
from l2ae_core.networks import Architecture, build
from l2ae_core.training.lower import lower
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, best, vectors
from l2ae_kernels.cpu.step.convolutional import micro_batch_samples
from l2ae_kernels.cpu.threads import threads
from l2ae_kernels.reference.step import ReferenceStep
from l2ae_kernels.stages import AdamSettings, Stage

from .rounding import exact_and_bounds

pytestmark = pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
IMAGE = 6, 5, 2
STRIDES = {"kernel": (3, 3), "stride": (2, 1), "padding": ((1, 1), (1, 0))}
NORM = {"eps": 1e-2, "momentum": 0.75}
MAPS = 3, 4, 9
EVERYWHERE = [
    Stage("conv", "a", IMAGE, MAPS, **STRIDES),
    Stage("batch_norm", "b", MAPS, MAPS, 0.1, **NORM, affine=True),
    Stage("dense", "c", (108,), (5,)),
    Stage("batch_norm", "d", (5,), (5,), **NORM, affine=True),
    Stage("dense", "e", (5,), (108,), code=True),
    Stage("batch_norm", "f", (108,), (108,), 0.2, **NORM, affine=True),
    Stage("conv_transpose", "g", MAPS, IMAGE, **STRIDES),
]
DENSE = [
    Stage("dense", "a", (60,), (40,)),
    Stage("batch_norm", "b", (40,), (40,), 0.1, **NORM, affine=True),
    Stage("dense", "c", (40,), (5,)),
    Stage("batch_norm", "d", (5,), (5,), **NORM, affine=True),
    Stage("dense", "e", (5,), (40,), code=True),
    Stage("batch_norm", "f", (2, 4, 5), (2, 4, 5), 0.2, **NORM, affine=True),
    Stage("dense", "g", (40,), (60,)),
]
STACKS = {
    "everywhere": EVERYWHERE,
    "dense": DENSE,
    "dense, on the code alone": [
        replace(DENSE[0], slope=0.3), DENSE[2], replace(DENSE[3], affine=False),
        replace(DENSE[4], slope=0.1), DENSE[6],
    ],
    "dense, among other normalizations": [
        DENSE[0], Stage("layer_norm", "l", (40,), (40,), eps=1e-2), *DENSE[1:3],
        Stage("l2_normalize", "m", (5,), (5,), eps=0.5), DENSE[3],
        Stage("batch_norm", "n", (5,), (5,), eps=0.1, momentum=0.5, affine=True),
        *DENSE[4:],
    ],
    "on the code alone": [
        replace(EVERYWHERE[0], slope=0.3), EVERYWHERE[2], replace(EVERYWHERE[3], affine=False),
        replace(EVERYWHERE[4], slope=0.1), EVERYWHERE[6],
    ],
    "before and behind other normalizations": [
        EVERYWHERE[0],
        Stage("layer_norm", "l", MAPS, MAPS, eps=1e-2, affine=True),
        EVERYWHERE[1], EVERYWHERE[2],
        Stage("l2_normalize", "m", (5,), (5,), eps=0.5),
        EVERYWHERE[3],
        Stage("batch_norm", "n", (5,), (5,), eps=0.1, momentum=0.5, affine=True),
        Stage("l2_normalize", "o", (5,), (5,), eps=0.5),
        *EVERYWHERE[4:],
    ],
    "behind the code": [
        EVERYWHERE[0], EVERYWHERE[1], EVERYWHERE[2],
        Stage("l2_normalize", "m", (5,), (5,), eps=0.5),
        *EVERYWHERE[4:],
    ],
}  # fmt: skip
SAMPLES = micro_batch_samples(EVERYWHERE, IMAGE)
BATCHES = 1, SAMPLES, SAMPLES + 1, 2 * SAMPLES + 5, 9 * SAMPLES - 1
CLEAR = 1e-5  # a unit nearer to zero than this, relative to its layer, may have either gate
EXACT = 1e-12  # float64: the same sums in another order


def second_loss(first, u):
    """Of Σ (first + n + 1) |u|² / 2 at the codes."""
    return 0.01 * np.arange(first + 1, first + len(u) + 1, dtype=u.dtype)[:, None] * u


def parameters(stages, dtype=np.float32):
    rng = np.random.default_rng(0)
    return {
        f"{s.name}.{name}": (0.4 * rng.standard_normal(shape) + (name == "gamma")).astype(dtype)
        for s in stages
        for name, shape in s.parameters.items()
    }


def state(stages, dtype=np.float32):
    """Running statistics after a few steps."""
    rng = np.random.default_rng(3)
    return {
        f"{s.name}.{name}": rng.random(shape).astype(dtype)
        for s in stages
        for name, shape in s.state.items()
    }


def clear_images(stages, params, count, shape=IMAGE):
    """Images (count, *shape) for which no unit is at its kink, each depending on all of them."""
    rng, wide = np.random.default_rng(1), {n: p.astype(np.float64) for n, p in params.items()}
    reference = ReferenceStep(stages, wide, shape, None, state(stages, np.float64))
    for _ in range(100):
        images = rng.random((count, *shape), np.float32)
        x, clear = images.astype(np.float64), True
        for s in stages:
            z = reference._forward(replace(s, slope=1.0), x.reshape(count, *s.input_shape))
            size = np.abs(z)
            clear &= s.slope == 1 or size.min() > CLEAR * np.sqrt((size**2).mean())
            x = np.where(z > 0, z, s.slope * z)
        if clear:
            return images
    raise AssertionError("in every batch a unit is at its kink")


def compiled(stages, params, running, latent_grad=None, shape=IMAGE):
    return ops.training_step(stages, params, shape, latent_grad, state=running, impl="compiled")


def found(step, x):
    """Loss, gradients and running statistics of one more step."""
    loss = step.loss(x)
    return (
        {"loss": np.array(loss)}
        | {n: g.copy() for n, g in step.grads().items()}
        | {n: a.copy() for n, a in step.state.items()}
    )


def assert_within(values, exact, bounds):
    assert values.keys() == exact.keys()
    for name, a in exact.items():
        off = np.abs(values[name] - a).max()
        assert off <= bounds[name], f"{name} is off by {off:.1e}, rounding by {bounds[name]:.1e}"


def is_every_day(name, latent_grad, lanes):
    """Each combination is compiled: two of its three parts are the plain or the richest choice."""
    return (name in ("everywhere", "dense")) + (latent_grad is None) + (lanes == "avx2") >= 2


@pytest.mark.parametrize(
    ("name", "latent_grad", "lanes"),
    [
        pytest.param(
            name, latent_grad, lanes, id=f"{name}-{loss}-{lanes}",
            marks=[] if is_every_day(name, latent_grad, lanes) else pytest.mark.slow,
        )
        for name in STACKS
        for loss, latent_grad in (("Eq. 3", None), ("a second loss", second_loss))
        for lanes in SETS
    ],
)  # fmt: skip
def test_a_step_is_that_in_float64_but_for_rounding(name, latent_grad, lanes):
    """Loss, every gradient, and where the running statistics move to."""
    stages = STACKS[name]
    params = parameters(stages)
    for count in BATCHES:
        x, running = clear_images(stages, params, count), state(stages)
        exact, bounds = exact_and_bounds(stages, params, running, x, latent_grad)
        with vectors(lanes):
            step = compiled(stages, params, running, latent_grad)
        assert_within(found(step, x), exact, bounds)


NETWORKS = {
    "everywhere": {"norm": "batch", "hidden_norm": "batch", "affine": True},
    "on the code": {"norm": "batch"},
    "hidden": {"norm": "l2", "hidden_norm": "batch"},
}
SMALL = {"cae": {}, "dense": {"hidden": (37, 50, 67)}}


@pytest.mark.needs_vectors
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(
    "name",
    ["everywhere", *(pytest.param(n, marks=pytest.mark.slow) for n in ("on the code", "hidden"))],
)
def test_the_paper_network_is_that_of_layer_by_layer(name, kind):
    """Layer by layer in float64, which is the reference in float64 to the last digits."""
    architecture = Architecture(kind, (12, 9, 1), **NETWORKS[name], **SMALL[kind])
    model = build(architecture, np.random.default_rng(0))
    stages = lower(model)
    x = clear_images(stages, model.params, 40, model.input_shape)
    exact, bounds = exact_and_bounds(stages, model.params, model.state, x)
    wide = model.astype(np.float64)
    loss, grads = LayerwiseStep(wide, Adam(), "mean").loss_and_grads(x.astype(np.float64))
    for key, a in ({"loss": loss} | grads | wide.state).items():
        assert np.abs(a - exact[key]).max() <= EXACT * (1 + np.abs(exact[key]).max()), key
    step = make_step(model, Adam())
    assert isinstance(step, CompiledStep)
    loss, grads = step.loss_and_grads(x)
    assert_within({"loss": np.array(loss)} | grads | model.state, exact, bounds)


@pytest.mark.needs_vectors
@pytest.mark.parametrize("name", ["everywhere", "dense"])
def test_gradients_are_derivatives_of_the_loss(name):
    """Of the loss in float64, along random directions; the gradients are off by 1e-5 at most.

    Three micro-batches. Biases before a batch norm are left out: their gradients are rounding.
    """
    stages, params = STACKS[name], parameters(STACKS[name])
    x = clear_images(stages, params, 37)
    step, wide = compiled(stages, params, state(stages)), parameters(stages, np.float64)
    reference = ReferenceStep(stages, wide, IMAGE, None, state(stages, np.float64))
    start = {n: p.astype(np.float64) for n, p in params.items()}
    for moot in ("a.b", "c.b", "d.beta", "e.b"):
        del start[moot]

    def loss(arrays):
        for key, a in arrays.items():
            wide[key][...] = a
        return reference.loss(x.astype(np.float64))

    def gradient(arrays):
        for key, a in arrays.items():
            params[key][...] = a
        step.loss(x)
        grads = step.grads()
        return {key: grads[key].astype(np.float64) for key in arrays}

    for key, p in parameters(stages).items():
        wide[key][...] = p
    report = check_function(
        loss, gradient, start, methods=["central"], mode="directions", tolerance=1e-4
    )
    assert report.ok, f"{report}"


@pytest.mark.needs_vectors
def test_moments_keep_their_digits_where_the_mean_is_large():
    """x is an image plus 1000: v of float32 sums is that of float64, not of Σ x² − R μ²."""
    stages = [
        Stage("conv", "a", (4, 4, 1), (4, 4, 1)),
        Stage("batch_norm", "b", (4, 4, 1), (4, 4, 1), eps=1e-3, momentum=0.0),
        Stage("conv", "c", (4, 4, 1), (4, 4, 1)),
    ]
    params = {
        "a.W": np.ones((1, 1, 1, 1), np.float32), "a.b": np.array([1000], np.float32),
        "c.W": np.ones((1, 1, 1, 1), np.float32), "c.b": np.zeros(1, np.float32),
    }  # fmt: skip
    x = np.random.default_rng(0).random((333, 4, 4, 1), np.float32)
    running = state(stages)
    compiled(stages, params, running, shape=(4, 4, 1)).loss(x)
    kept = (x + np.float32(1000)).astype(np.float64)
    np.testing.assert_allclose(running["b.running_mean"], kept.mean(), rtol=1e-6)
    np.testing.assert_allclose(running["b.running_var"], kept.var(), rtol=1e-5)


@pytest.mark.needs_vectors
@pytest.mark.parametrize("latent_grad", [None, second_loss], ids=["Eq. 3", "a second loss"])
@pytest.mark.parametrize("name", ["everywhere", "dense"])
def test_bits_depend_neither_on_threads_nor_on_batches_before(name, latent_grad, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    monkeypatch.setattr("l2ae_kernels.cpu.threads.MOST", 3)
    x, ends = np.random.default_rng(1).random((150, *IMAGE), np.float32), []
    for count in (1, 2, 3):
        params, running = parameters(STACKS[name]), state(STACKS[name])
        step = compiled(STACKS[name], params, running, latent_grad)
        m, v = ({n: np.zeros_like(p) for n, p in params.items()} for _ in "mv")
        losses = []
        with threads(count):
            for t, size in enumerate((40, 150, 7, 150), start=1):
                if count == 2 and t == 3:  # as after a resume: a step that knows nothing
                    step = compiled(STACKS[name], params, running, latent_grad)
                losses.append(step.loss(x[:size]))
                step.adam(m, v, AdamSettings(), t)
        memory = {f"m {n}": a for n, a in m.items()} | {f"v {n}": a for n, a in v.items()}
        arrays = params | running | memory
        ends.append((losses, {n: a.tobytes() for n, a in arrays.items()}))
        assert all(np.isfinite(losses))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.needs_vectors
@pytest.mark.parametrize("name", ["everywhere", "dense"])
def test_what_a_batch_leaves_does_not_reach_a_smaller_one(name):
    """Not even NaN, in samples of a micro-batch that the smaller batch does not have."""
    params, x = parameters(STACKS[name]), np.random.default_rng(1).random((40, *IMAGE), np.float32)
    expected = found(compiled(STACKS[name], params, state(STACKS[name])), x[:3])
    step, broken = compiled(STACKS[name], params, state(STACKS[name])), x.copy()
    broken[36] = np.nan
    assert np.isnan(step.loss(broken))
    for key, a in state(STACKS[name]).items():
        step.state[key][...] = a
    for key, a in found(step, x[:3]).items():
        np.testing.assert_array_equal(a, expected[key], err_msg=key)


@pytest.mark.needs_vectors
def test_shards_of_several_processes_are_refused():
    step = compiled(EVERYWHERE, parameters(EVERYWHERE), state(EVERYWHERE))
    with pytest.raises(ValueError, match="batch norm needs all samples of a batch"):
        step.loss_and_shards(np.zeros((32, *IMAGE), np.float32), range(4), 64)
