"""Named arrays of several models in one flat array."""

import numpy as np
import pytest

from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.cuda.gradients import Gradients
from l2ae_kernels.cuda.optim import StepLosses
from l2ae_kernels.cuda.weights import ALIGNED, FlatLayout, Weights
from l2ae_kernels.stages import AdamSettings

SHAPES = {"a.W": (3, 5, 7), "a.b": (7,), "b.W": (33,), "b.b": (1,)}


def models(count):
    rng = np.random.default_rng(0)
    return [{name: rng.random(shape) for name, shape in SHAPES.items()} for _ in range(count)]


@pytest.mark.parametrize("count", [1, 3])
def test_arrays_are_apart_aligned_and_come_back(count):
    layout, given = FlatLayout(SHAPES, count), models(count)
    flat = layout.join(given, np.float64)
    for view, begin in zip(layout.views(flat).values(), layout.offsets.values(), strict=True):
        size = view[0].size
        assert view.flags.c_contiguous
        assert begin % ALIGNED == 0
        np.testing.assert_array_equal(view.ravel(), flat[begin : begin + count * size])
    assert flat.sum() == pytest.approx(sum(a.sum() for m in given for a in m.values()), rel=1e-12)
    back = layout.split(flat)
    flat[:] = 0  # they are copies
    for found, expected in zip(back, given, strict=True):
        assert found.keys() == expected.keys()
        for name, a in expected.items():
            np.testing.assert_array_equal(found[name], a)


@pytest.mark.usefixtures("cxx")
def test_adam_leaves_what_is_between_two_arrays():
    """And with ε = 0, where a gradient of 0 without moments would be 0 / 0."""
    device = emulate("shuffled")
    weights = Weights(device, SHAPES, models(2), AdamSettings(eps=0.0), np.float64)
    gradients = Gradients(device, weights.layout, [dict.fromkeys(SHAPES, 1)], np.float64)
    device.write(gradients.flat, np.ones(gradients.flat.size))
    weights.adam(gradients.flat, gradients.segments, device.zeros(2, np.float64))
    between = np.ones(weights.layout.size, bool)
    for view in weights.layout.views(between).values():
        view[...] = False
    p, m = device.to_host(weights.p), device.to_host(weights.m)
    assert not p[between].any()
    assert not m[between].any()
    assert np.all(m[~between] != 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_adds_the_parts_of_every_micro_batch(dtype, device, other_order):
    """Few parts and many, of two micro-batches: each m is (1 − β₁) times its sum, to rounding.

    The order of a sum is that of one model alone, on any order of threads.
    """
    counts = [{"a.W": 1, "a.b": 20, "b.W": 15, "b.b": 40}, {"a.W": 2, "a.b": 3, "b.W": 1, "b.b": 9}]
    rng, found = np.random.default_rng(5), []
    host = [
        {n: rng.standard_normal((k, 2, *SHAPES[n])).astype(dtype) for n, k in each.items()}
        for each in counts
    ]
    for on, chosen in ((device, slice(None)), (other_order, slice(1, 2))):
        gradients = Gradients(on, FlatLayout(SHAPES, len(models(2)[chosen])), counts, dtype)
        for i, each in enumerate(host):
            views = gradients.views(i)
            for name, a in each.items():
                on.write(views[name], a[:, chosen])
        made = models(2)[chosen]
        parts, now, losses = (on.zeros(s, np.float64) for s in ((1, len(made)), len(made), (1, 2)))
        present = on.to_device(np.ones((1, len(made)), np.int32))
        losses = StepLosses(parts, present, now, losses, on.zeros(2, np.int64), 1, 1)
        weights = Weights(on, SHAPES, made, AdamSettings(beta1=0.5), dtype)
        weights.begin_step(losses)
        weights.adam(gradients.flat, gradients.segments, losses.now)
        found.append(weights.read(weights.m))
        added = gradients.added()
        for name, g in added.items():
            expected = sum(each[name][:, chosen].astype(np.float64).sum(axis=0) for each in host)
            bound = 60 * np.finfo(dtype).eps * 60
            np.testing.assert_allclose(on.to_host(g), expected, rtol=0, atol=bound)
            for i, m in enumerate(found[-1]):
                np.testing.assert_allclose(m[name], expected[i] / 2, rtol=0, atol=bound)
    for name in SHAPES:
        np.testing.assert_array_equal(found[0][1][name], found[1][0][name])
