"""Small networks, images that are clear of their kinks, and two steps that must be equal."""

import numpy as np
import pytest

from l2ae_core.layers import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    L2Normalize,
    LeakyReLU,
    ReLU,
    Sequential,
)
from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step

# Both sides add the same products in float32 in another order: n of them in a gradient differ by
# about √n · 6e-8 of their size, and by more where terms cancel. Relative to the largest entry.
GRADIENTS = 2e-5
LOSS = 1e-6
# A unit nearer to zero than this, relative to its layer, may have its gate open on one side only,
# and both are right: images with such a unit are left out.
CLEAR = 1e-5


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


def assert_equal_steps(model, x, reduction="mean", latent_grad=None):
    """Assert that loss and gradients are those of layer by layer; return the compiled step."""
    step = make_step(model, Adam(), reduction, latent_grad)
    assert isinstance(step, CompiledStep)
    loss, grads = step.loss_and_grads(x)
    expected_loss, expected = LayerwiseStep(model, Adam(), reduction, latent_grad).loss_and_grads(x)
    assert loss == pytest.approx(expected_loss, rel=LOSS)
    assert grads.keys() == expected.keys()
    for name, g in expected.items():
        assert grads[name].shape == g.shape
        off = np.abs(grads[name] - g).max() / np.abs(g).max()
        assert off < GRADIENTS, f"{name} is off by {off:.1e} of its largest entry"
    return step


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
