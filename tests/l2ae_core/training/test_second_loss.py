"""The compiled step with a second loss at the code."""

import numpy as np
import pytest

from l2ae_core.layers import (
    Identity,
    ReLU,
    Reshape,
)
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels.cpu.threads import MOST, threads

from .stacks import GRADIENTS, LOSS, clear_images, dense, narrow, stack

pytestmark = pytest.mark.needs_vectors


def second_loss(targets, seen):
    """Σ w_i |u_i − t_i|² as a loss at the codes; `seen` counts how often it was asked for whom."""
    weights = np.linspace(0.5, 2, len(targets), dtype=np.float32)[:, None]

    def latent_grad(first, u):
        here = slice(first, first + len(u))
        seen[here] += 1
        return 2 * weights[here] * (u - targets[here])

    return latent_grad


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
    loss, grads = step.loss_and_grads(x)
    assert (seen == 1).all()
    layerwise = LayerwiseStep(model, Adam(), "mean", second_loss(targets, others))
    expected_loss, expected = layerwise.loss_and_grads(x)
    assert loss == pytest.approx(expected_loss, rel=LOSS)
    for name, g in expected.items():
        assert np.abs(grads[name] - g).max() < GRADIENTS * np.abs(g).max(), name
    _, without = LayerwiseStep(model, Adam(), "mean").loss_and_grads(x)
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
        step = make_step(model, Adam(), latent_grad=second_loss(targets, np.zeros(77, int)))
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
    assert isinstance(make_step(model, Adam(), latent_grad=lambda first, u: u), LayerwiseStep)
