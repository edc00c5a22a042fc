"""The rungs of training_step: against each other, against differences, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import SETS, best, vectors
from l2ae_kernels.stages import AdamSettings, Stage

IMAGE = 6, 5, 2
STRIDES = {"kernel": (3, 3), "stride": (2, 1), "padding": ((1, 1), (1, 0))}
CONVOLUTIONAL = [
    Stage("conv", "a", IMAGE, (3, 4, 9), **STRIDES),
    Stage("layer_norm", "b", (3, 4, 9), (3, 4, 9), 0.1, eps=1e-3, affine=True),
    Stage("dense", "c", (108,), (5,)),
    Stage("l2_normalize", "d", (5,), (5,), eps=0.5),
    Stage("dense", "e", (5,), (108,), 0.0, code=True),
    Stage("conv_transpose", "f", (3, 4, 9), IMAGE, **STRIDES),
]
DENSE = [
    Stage("dense", "a", (60,), (7,)),
    Stage("layer_norm", "b", (7,), (7,), 0.3, eps=1e-3),
    Stage("dense", "c", (7,), (4,)),
    Stage("l2_normalize", "d", (2, 2), (2, 2), eps=0.5),
    Stage("dense", "e", (4,), (60,), code=True),
]
WIDE = [  # of several tiles, of any vectors, that end within a tile and within a vector
    Stage("dense", "a", (60,), (277,), 0.3),
    Stage("dense", "c", (277,), (4,)),
    Stage("l2_normalize", "b", (4,), (4,), eps=0.5),
    Stage("dense", "d", (4,), (131,), 0.0, code=True),
    Stage("dense", "e", (131,), (60,)),
]
STACKS = {"convolutional": CONVOLUTIONAL, "dense": DENSE, "dense, wide": WIDE}
BATCH = [
    replace(s, kind="batch_norm", momentum=0.75) if s.kind == "layer_norm" else s
    for s in CONVOLUTIONAL
]
PLAIN = [  # of feature maps that no affine map follows
    BATCH[0], replace(BATCH[1], affine=False), *BATCH[2:5], replace(BATCH[5], slope=0.2),
    Stage("batch_norm", "g", IMAGE, IMAGE, eps=1e-2, momentum=0.75),
]  # fmt: skip
ALL = STACKS | {"batch norm": BATCH, "batch norm, no affine map": PLAIN}


def parameters(stages, dtype=np.float32):
    rng, params = np.random.default_rng(0), {}
    for s in stages:
        for name, shape in s.parameters.items():
            params[f"{s.name}.{name}"] = (0.3 * rng.standard_normal(shape)).astype(dtype)
    return params


def state(stages, dtype=np.float32):
    """Running statistics as they are before the first step."""
    start = {"running_mean": np.zeros, "running_var": np.ones}
    return {
        f"{s.name}.{name}": start[name](shape, dtype)
        for s in stages
        for name, shape in s.state.items()
    }


def images(count, dtype=np.float32):
    return np.random.default_rng(1).random((count, *IMAGE)).astype(dtype)


def pull(first, u):
    """Of a second loss Σ (first + n + 1) |u − ½|² / 2 at the codes.

    Not of |u|²: its gradient is along u, where l2-normalization leaves nothing but rounding.
    """
    return np.arange(first + 1, first + len(u) + 1, dtype=u.dtype)[:, None] * (u - 0.5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ALL)
def test_the_reference_has_the_derivatives_of_its_loss(name, reduction):
    stages, params, x = ALL[name], parameters(ALL[name], np.float64), images(3, np.float64)
    running = state(stages, np.float64)
    step = ops.training_step(stages, params, IMAGE, state=running, impl="reference")
    loss = step.loss(x, reduction)
    grads = {name: g.copy() for name, g in step.grads().items()}
    assert loss > 0
    assert grads.keys() == params.keys()
    rng, eps = np.random.default_rng(2), 1e-6
    for name, p in params.items():
        direction = rng.standard_normal(p.shape)
        values = []
        for sign in (1, -1):
            p += sign * eps * direction
            values.append(step.loss(x, reduction))
            p -= sign * eps * direction
        slope = (values[0] - values[1]) / (2 * eps)
        assert np.vdot(grads[name], direction) == pytest.approx(slope, rel=1e-6, abs=1e-8), name


def test_running_statistics_move_towards_the_batch():
    """By a quarter of the way, towards those of what the first convolution gives."""
    params, running, x = parameters(BATCH, np.float64), state(BATCH, np.float64), images(3, float)
    step = ops.training_step(BATCH, params, IMAGE, state=running)
    step.loss(x)
    z = step._forward(BATCH[0], x)  # (3, 3, 4, 9)
    mean, variance = z.mean(axis=(0, 1, 2)), z.var(axis=(0, 1, 2))
    np.testing.assert_allclose(running["b.running_mean"], 0.25 * mean, rtol=1e-12)
    np.testing.assert_allclose(running["b.running_var"], 0.75 + 0.25 * variance, rtol=1e-12)


@pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
@pytest.mark.parametrize("lanes", SETS)
@pytest.mark.parametrize("second_loss", [None, pull], ids=["Eq. 3", "a second loss"])
@pytest.mark.parametrize("name", STACKS)
def test_the_compiled_step_is_the_reference(name, second_loss, lanes):
    """In loss, every gradient, and what Adam makes of them."""
    stages, settings = STACKS[name], AdamSettings(eps=1e-2)
    with vectors(lanes):
        sides = [
            ops.training_step(stages, parameters(stages), IMAGE, second_loss, impl=impl)
            for impl in ("reference", "compiled")
        ]
    for count in (1, 17, 40, 300):
        x = images(count)
        expected, found = (side.loss(x) for side in sides)
        assert found == pytest.approx(expected, rel=1e-6)
        expected, found = (side.grads() for side in sides)
        assert_close(found, expected, 5e-6)
    zeros = {name: np.zeros_like(p) for name, p in parameters(stages).items()}
    moments = [[{n: a.copy() for n, a in zeros.items()} for _ in "mv"] for _ in sides]
    for t in (1, 2):
        for side, (m, v) in zip(sides, moments, strict=True):
            side.loss(images(20 if t == 1 else 300))
            side.adam(m, v, settings, t)
    for expected, found in zip(*moments, strict=True):
        assert_close(found, expected, 1e-4)
    assert_close(sides[1].params, sides[0].params, 1e-4)


def assert_close(found, expected, tolerance):
    """Relative to the largest entry of an array."""
    assert found.keys() == expected.keys()
    for name, a in expected.items():
        assert np.abs(found[name] - a).max() <= tolerance * np.abs(a).max(), name


AFFINE = [replace(s, affine=s.kind == "layer_norm") for s in DENSE]
GATED = [replace(s, slope=0.5) if s.name == "c" else s for s in DENSE]
REFUSED = {
    "it begins with a normalization": [Stage("layer_norm", "n", IMAGE, IMAGE), *DENSE],
    "an activation before the loss": [*DENSE[:-1], replace(DENSE[-1], slope=0.0)],
    "an activation before a normalization": GATED,
    "affine layer_norm in a dense network": AFFINE,
    "it ends with a normalization": PLAIN,
}


@pytest.mark.needs_vectors
@pytest.mark.parametrize("name", REFUSED)
def test_stages_that_the_kernels_do_not_cover_take_the_reference(name):
    """By name they are refused."""
    stages = REFUSED[name]
    given = stages, parameters(stages), IMAGE
    with pytest.raises(ValueError, match="no implementation compiled"):
        ops.training_step(*given, state=state(stages), impl="compiled")
    assert type(ops.training_step(*given, state=state(stages))).__name__ == "ReferenceStep"
    assert type(ops.training_step(DENSE, parameters(DENSE), IMAGE)).__name__ == "DenseStep"


def test_errors_name_what_does_not_fit():
    params = parameters(DENSE)
    for stages, given, second, match in [
        ([], params, None, "stages is empty"),
        ([Stage("l2_normalize", "n", IMAGE, IMAGE)], {}, None, "params is empty"),
        (DENSE[1:], params, None, "expected a chain from 60 to 60"),
        ([replace(DENSE[0], output_shape=(7, 1)), *DENSE[1:]], params, None, "do not fit"),
        ([replace(CONVOLUTIONAL[0], stride=(1, 1)), *CONVOLUTIONAL[1:]], {}, None, "do not fit"),
        (DENSE, params | {"z.W": params["a.W"]}, None, "the unknown array 'z.W'"),
        (DENSE, {n: p for n, p in params.items() if n != "c.b"}, None, "no array 'c.b'"),
        (DENSE, params | {"a.W": params["a.W"].T}, None, "a.W has shape"),
        (DENSE, params | {"a.b": np.zeros(7)}, None, "a.b must be C-contiguous float32"),
        ([replace(s, code=False) for s in DENSE], params, pull, "no stage has `code`"),
    ]:
        with pytest.raises(ValueError, match=match):
            ops.training_step(stages, given, IMAGE, second)


def test_errors_name_the_running_statistics_that_do_not_fit():
    right, params = state(BATCH), parameters(BATCH)
    without, name = {n: a for n, a in right.items() if n.endswith("mean")}, "b.running_var"
    outside = [replace(s, momentum=1.5) for s in BATCH]
    for stages, given, match in [
        (BATCH, None, "state has no array 'b.running_mean'"),
        (BATCH, without, "state has no array 'b.running_var'"),
        (BATCH, right | {"z.running_var": right[name]}, "the unknown array 'z.running_var'"),
        (BATCH, right | {name: right[name][:-1]}, "b.running_var has shape"),
        (BATCH, right | {name: right[name].astype(float)}, "b.running_var must be .* float32"),
        (outside, right, "momentum that is not within 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=f"training_step: .*{match}"):
            ops.training_step(stages, params, IMAGE, state=given)


@pytest.mark.parametrize("impl", ["reference", None])
@pytest.mark.parametrize("name", STACKS)
def test_a_step_refuses_what_its_kernels_would_read_past(name, impl):
    """None: the compiled one, where there are vectors."""
    step = ops.training_step(STACKS[name], parameters(STACKS[name]), IMAGE, impl=impl)
    x = images(3)
    for bad in (x[:, :4].copy(), images(3, np.float64), x[:, ::-1], x[..., 0].copy(), x[:0]):
        with pytest.raises(ValueError, match=r"x is .* but expected .* \(N ≥ 1, 6, 5, 2\)"):
            step.loss(bad)
    with pytest.raises(ValueError, match="reduction is 'max'"):
        step.loss(x, "max")
    step.loss(x)
    m, v = ({n: np.zeros_like(p) for n, p in step.params.items()} for _ in "mv")
    for bad in ({}, v | {"c.W": v["c.W"][:-1]}, v | {"c.W": v["c.W"].astype(np.float64)}):
        with pytest.raises(ValueError, match="v has no .* array '[ac].W'"):
            step.adam(m, bad, AdamSettings(), 1)


@pytest.mark.parametrize("name", STACKS)
def test_nan_in_a_batch_does_not_reach_a_smaller_one(name):
    """Which does not fill a micro-batch: what lies behind its samples is of the batch before."""
    step = ops.training_step(STACKS[name], parameters(STACKS[name]), IMAGE)
    x = images(40)
    expected = step.loss(x[:3])
    grads = {key: g.copy() for key, g in step.grads().items()}
    broken = x.copy()
    broken[36] = np.nan
    assert np.isnan(step.loss(broken))
    assert step.loss(x[:3]) == expected
    for key, g in step.grads().items():
        np.testing.assert_array_equal(g, grads[key], err_msg=key)
