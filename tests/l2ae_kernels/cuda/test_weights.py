"""Named arrays of several models in one flat array."""

import numpy as np
import pytest

from l2ae_kernels.cuda.device import emulate
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
    for view, found in zip(layout.views(flat).values(), layout.table(), strict=True):
        begin, size = found
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
    device.write(weights.g, np.ones(weights.layout.size))
    weights.adam(device.zeros(2, np.float64))
    between = np.ones(weights.layout.size, bool)
    for view in weights.layout.views(between).values():
        view[...] = False
    p, m = device.to_host(weights.p), device.to_host(weights.m)
    assert not p[between].any()
    assert not m[between].any()
    assert np.all(m[~between] != 0)
