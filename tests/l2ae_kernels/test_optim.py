"""Every rung of Adam against the reference, and the reference in more digits."""

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.reference import optim
from l2ae_kernels.stages import AdamSettings

from .rungs import assert_agree, normal, rungs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("variant", ["keras", "torch"])
@pytest.mark.parametrize("shape", [(1,), (3, 7), (20001,)])
def test_adam(shape, variant, dtype):
    rng = np.random.default_rng(4)
    start = [normal(rng, shape, dtype) for _ in range(2)] + [normal(rng, shape, dtype) ** 2]
    results = {}
    for rung in ("reference", *(name for name, _ in rungs("adam_step", dtype))):
        p, m, v = (a.copy() for a in start)
        for step in (1, 2, 3):
            g = normal(np.random.default_rng(step), shape, dtype)
            settings = AdamSettings(1e-2, variant=variant)
            ops.adam_step(p, m, v, g, settings, step=step, impl=rung)
        results[rung] = (p, m, v)
    for rung, _ in rungs("adam_step", dtype):
        for fast, reference in zip(results[rung], results["reference"], strict=True):
            assert_agree(fast, reference)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("variant", ["keras", "torch"])
@pytest.mark.parametrize("beta2", [0.999, 1 - 1e-5, 1 - 1e-10])
def test_a_step_of_adam_keeps_its_digits(beta2, variant, dtype):
    """From p = m = v = 0, in units of rounding: 2 for m; 3 for v = (1 − β₂) g g, of which the root
    keeps half; one each for the root, its scale, ε, the sum, the rate, the product, the quotient.
    Twice that, for where long double has no more digits than float64.
    """
    settings = AdamSettings(1e-3, 0.9, beta2, 1e-8, variant)
    g = np.random.default_rng(9).uniform(0.1, 10, 500).astype(dtype)
    exact = [np.zeros(500, np.longdouble) for _ in range(3)]
    optim.adam_step(*exact, g.astype(np.longdouble), settings, step=1)
    unit = np.finfo(dtype).eps / 2
    for rung in ("reference", *(name for name, _ in rungs("adam_step", dtype))):
        found = [np.zeros(500, dtype) for _ in range(3)]
        ops.adam_step(*found, g, settings, step=1, impl=rung)
        for a, b, units in zip(found, exact, (12, 2, 3), strict=True):
            assert np.abs(a / b - 1).max() <= 2 * units * unit
