"""Adam on a device: the count of steps lies there, and models whose loss is not finite are left."""

from math import inf, log, nan

import numpy as np
import pytest

from l2ae_kernels.cuda import optim
from l2ae_kernels.cuda.optim import step_numbers
from l2ae_kernels.stages import AdamSettings

U = 2.0**-53
SETTINGS = [
    AdamSettings(),
    AdamSettings(variant="torch"),
    AdamSettings(0.1, beta1=0.0, beta2=0.9, variant="torch"),
    AdamSettings(beta1=0.99, beta2=0.9999),
]


def bound(settings: AdamSettings) -> float:
    """Return how far {rate, root} may lie from `step_numbers`, relatively, at any t.

    A product of t factors: t u βᵗ / (1 − βᵗ) ≤ u / −ln β, since x / (eˣ − 1) ≤ 1; `pow` of the host
    is off by two u at most, which adds less than as much again for t ≥ 2 (t = 1 is exact); then
    two differences, two roots, a product and a quotient, for both.
    """
    of_power = [
        0.0 if beta == 0 else -2 * U / log(beta) for beta in (settings.beta1, settings.beta2)
    ]
    return of_power[0] + of_power[1] / 2 + 12 * U


@pytest.mark.parametrize("settings", SETTINGS)
def test_running_products_stay_as_near_as_derived(settings):
    """In float64, as begin_step has it, for 100,000 steps."""
    t = 100_000
    betas = np.full((t, 2), [settings.beta1, settings.beta2])
    power1, power2 = np.multiply.accumulate(betas).T
    rate, root = settings.learning_rate / (1 - power1), np.sqrt(1 - power2)
    numbers = (rate * root, np.ones(t)) if settings.variant == "keras" else (rate, root)
    expected = np.array([step_numbers(settings, step) for step in range(1, t + 1)])
    assert (np.abs(np.array(numbers).T / expected - 1) <= bound(settings)).all()


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("before", [0, 7])
def test_every_replay_begins_the_next_step(device, settings, before):
    state = optim.new_state(device, settings, before)
    numbers = device.empty(2, np.float64)
    with device.capture() as graph:
        optim.begin_step(state, numbers, settings)
    for step in range(before + 1, before + 100):
        graph.launch()
        found = device.to_host(numbers)
        np.testing.assert_allclose(found, step_numbers(settings, step), bound(settings), 0)
    assert device.to_host(state)[0] == before + 99


def test_numbers_have_the_type_of_the_parameters(device):
    settings = AdamSettings()
    state, numbers = optim.new_state(device, settings), device.empty(2, np.float32)
    optim.begin_step(state, numbers, settings)
    expected = step_numbers(settings, 1)
    np.testing.assert_allclose(device.to_host(numbers), expected, 2.0**-24 + bound(settings), 0)


def begin(device, dtype, *shape):
    """p, g, m, v: as after some steps, so that m and v are not 0."""
    random = np.random.default_rng(3)
    p, g, m = (random.standard_normal(shape).astype(dtype) for _ in range(3))
    return [device.to_device(a) for a in (p, g, m, np.abs(m))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", SETTINGS[:2])
def test_replays_are_the_steps_of_a_training(device, dtype, settings):
    """m and v bit for bit; p but for the last places of {rate, root}, and what they round to."""
    p, g, m, v = begin(device, dtype, 300)
    q, _, m_expected, v_expected = begin(device, dtype, 300)
    state, numbers = optim.new_state(device, settings), device.empty(2, dtype)
    with device.capture() as graph:
        optim.begin_step(state, numbers, settings)
        optim.launch(p, m, v, g, numbers, settings)
    moved = np.zeros(300)
    before, steps = device.to_host(q), 8
    for step in range(1, steps + 1):
        graph.launch()
        optim.adam_step(q, m_expected, v_expected, g, settings, step=step)
        after = device.to_host(q)
        moved, before = moved + np.abs(after - before.astype(np.float64)), after
    for a, b in ((m, m_expected), (v, v_expected)):
        np.testing.assert_array_equal(device.to_host(a), device.to_host(b))
    # numbers of dtype may fall to either side where they are rounded; so may each p - update
    eps = np.finfo(dtype).eps
    most = (2 * bound(settings) + 2 * eps) * moved + steps * eps * (np.abs(before) + moved)
    assert (np.abs(device.to_host(p).astype(np.float64) - before) <= most).all()


def test_a_model_whose_loss_is_not_finite_is_left_as_it_is(device):
    losses = device.to_device(np.array([0.5, nan, inf, 2.0, -inf]))
    settings = AdamSettings()
    numbers = device.to_device(step_numbers(settings, 3).astype(np.float32))
    p, g, m, v = begin(device, np.float32, 5, 700)
    before = [device.to_host(a) for a in (p, m, v)]
    optim.launch(p, m, v, g, numbers, settings, losses)
    after = [device.to_host(a) for a in (p, m, v)]
    for model in (1, 2, 4):
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a[model], b[model])
    for model in (0, 3):  # and the others are those of a launch of their own, bit for bit
        alone = [device.to_device(a[model]) for a in before]
        own = losses[model : model + 1]
        optim.launch(*alone, device.to_device(device.to_host(g)[model]), numbers, settings, own)
        for a, b in zip(alone, after, strict=True):
            np.testing.assert_array_equal(device.to_host(a), b[model])
        assert not np.array_equal(before[0][model], after[0][model])


@pytest.mark.parametrize(
    ("losses", "found"),
    [(np.ones(4), r"\(4,\) float64"), (np.ones(3, np.float32), r"\(3,\) float32")],
)
def test_losses_have_to_fit(device, losses, found):
    p, g, m, v = begin(device, np.float32, 3, 20)
    numbers = device.zeros(2, np.float32)
    with pytest.raises(ValueError, match=f"^adam_step: losses is {found} but expected"):
        optim.launch(p, m, v, g, numbers, AdamSettings(), device.to_device(losses))


def test_a_step_begins_on_a_state_of_three(device):
    with pytest.raises(ValueError, match="^begin_step: state"):
        optim.begin_step(device.zeros(2, np.float64), device.zeros(2, np.float32), AdamSettings())
    with pytest.raises(ValueError, match="^begin_step: numbers"):
        optim.begin_step(device.zeros(3, np.float64), device.zeros(3, np.float32), AdamSettings())
