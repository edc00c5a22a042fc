"""The rungs of training_step on a device: against the reference, differences, and refusals."""

from dataclasses import replace

import numpy as np
import pytest

from l2ae_kernels import ops
from l2ae_kernels.cuda.emulated import emulate
from l2ae_kernels.stages import AdamSettings

from .networks import (
    ARCHITECTURES,
    GATES,
    IMAGE,
    OWN,
    clear_images,
    grey_images,
    network,
    statistics,
    without_gradient,
)

NAMES = [*ARCHITECTURES, "gates", "maps"]
SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("dense", "layer norms", "batch norms")
]
# Sums of up to 200 products in another order, through up to ten stages: a few hundred units in the
# last place of the largest entry of an array. (Two images, normalized by their own mean and
# variance, have a gradient of rounding alone, which no tolerance fits.)
TOLERANCE = {"float32": 2e-5, "float64": 5e-14}


def pair(name, device, impl, dtype):
    """The reference and a rung of the same network, on arrays of their own."""
    stages, params = network(name, dtype)
    state = statistics(stages, dtype)
    on, on_state = ({n: device.to_device(a) for n, a in d.items()} for d in (params, state))
    return (
        ops.training_step(stages, params, IMAGE, state=state, impl="reference"),
        ops.training_step(stages, on, IMAGE, state=on_state, impl=impl),
    )


def assert_close(device, found, expected, tolerance):
    """Relative to the largest entry of an array."""
    assert found.keys() == expected.keys()
    for name, a in expected.items():
        difference = np.abs(device.to_host(found[name]) - a).max()
        assert difference <= tolerance * np.abs(a).max(), name


def assert_same_grads(device, step, reference, tolerance):
    """Those that are zero but for rounding, relative to the largest entry of all."""
    found, expected = step.grads(), reference.grads()
    largest = max(np.abs(g).max() for g in expected.values())
    for name in without_gradient(step.stages):
        assert np.abs(device.to_host(found.pop(name))).max() <= tolerance * largest, name
    rest = {name: g for name, g in expected.items() if name in found}
    assert len(rest) == len(found)
    assert_close(device, found, rest, tolerance)


@pytest.mark.everyday("convolutional-mean")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_are_those_of_the_reference(name, reduction, device):
    reference, step = pair(name, device, "cuda-naive", "float64")
    for count in (5, 4):
        x = grey_images(count) / 255
        expected, found = reference.loss(x, reduction), step.loss(device.to_device(x), reduction)
        assert found == pytest.approx(expected, rel=1e-13)
        assert_same_grads(device, step, reference, TOLERANCE["float64"])
        assert_close(device, step.state, reference.state, TOLERANCE["float64"])


@pytest.mark.parametrize("name", ["convolutional", *OWN, *SLOW])
def test_float32_on_tensor_cores_is_the_reference_to_rounding(name, device):
    """The rung that is taken when none is named."""
    reference, step = pair(name, device, None, "float32")
    assert step.impl == "tensor"
    x = clear_images(step.stages, reference.params, 5).astype(np.float32)
    assert step.loss(device.to_device(x)) == pytest.approx(reference.loss(x), rel=1e-6)
    assert_same_grads(device, step, reference, TOLERANCE["float32"])
    assert_close(device, step.state, reference.state, TOLERANCE["float32"])


def test_reduced_precision_is_taken_by_name_alone(device):
    """TF32 has 11 bits: the loss is near, and not that of three products."""
    reference, reduced = pair("dense", device, "cuda-tf32", "float32")
    x = (grey_images(5) / 255).astype(np.float32)
    loss = reference.loss(x)
    found = reduced.loss(device.to_device(x))
    assert found == pytest.approx(loss, rel=2e-2)
    assert found != pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_derivatives_of_the_loss(name, device):
    """A central difference along one direction of all parameters, no unit at its kink."""
    reference, step = pair(name, device, "cuda-naive", "float64")
    x = device.to_device(clear_images(step.stages, reference.params, 3))
    rng, eps, slope, losses = np.random.default_rng(2), 1e-7, 0.0, []
    step.loss(x)
    direction = {name: rng.standard_normal(p.shape) for name, p in reference.params.items()}
    for name, g in step.grads().items():
        slope += np.vdot(device.to_host(g), direction[name])
    for sign in (1, -1):
        for name, p in step.params.items():
            device.write(p, reference.params[name] + sign * eps * direction[name])
        losses.append(step.loss(x))
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * eps), rel=1e-6)


@pytest.mark.parametrize("variant", ["keras", "torch"])
def test_adam_changes_the_arrays_that_were_given(variant, device):
    reference, step = pair("gates", device, "cuda-naive", "float64")
    settings, x = AdamSettings(1e-2, 0.9, 0.99, 1e-3, variant), grey_images(4) / 255
    moments = [{n: np.zeros_like(p) for n, p in reference.params.items()} for _ in "mv"]
    on = [{n: device.to_device(a) for n, a in moment.items()} for moment in moments]
    for t in (1, 2):
        reference.loss(x)
        reference.adam(*moments, settings, t)
        step.loss(device.to_device(x))
        step.adam(*on, settings, t)
    for found, expected in zip((step.params, *on), (reference.params, *moments), strict=True):
        assert_close(device, found, expected, 1e-12)


@pytest.mark.usefixtures("cxx")
def test_what_a_device_refuses():
    device = emulate()
    stages, host = network("gates", "float32")
    params = {name: device.to_device(p) for name, p in host.items()}
    with pytest.raises(ValueError, match="latent_grad is given but expected None on a device"):
        ops.training_step(stages, params, IMAGE, lambda first, u: u)
    after_norm = [replace(s, slope=0.3) if s.name == "f" else s for s in GATES]
    with pytest.raises(ValueError, match="no implementation cuda-tensor .* but an l2_normalize"):
        ops.training_step(after_norm, params, IMAGE, impl="cuda-tensor")
    with pytest.raises(ValueError, match=r"a\.b is on cpu, the rest on cuda"):
        ops.training_step(stages, params | {"a.b": host["a.b"]}, IMAGE)
    step = ops.training_step(stages, params, IMAGE)
    x = np.zeros((2, *IMAGE), np.float32)
    with pytest.raises(ValueError, match="x is on cpu but expected Device"):
        step.loss(x)
    for bad in (x[..., 0], x.astype(np.float64), x[:0]):
        with pytest.raises(ValueError, match=r"x is .* but expected .* \(N ≥ 1, 8, 8, 1\)"):
            step.loss(device.to_device(bad))
    step.loss(device.to_device(x))
    m, v = ({n: device.zeros(p.shape, p.dtype) for n, p in params.items()} for _ in "mv")
    for bad in ({}, v | {"c.W": host["c.W"]}, v | {"c.W": v["c.W"][:-1]}):
        with pytest.raises(ValueError, match=r"v has no .* array '[ac]\.W'"):
            step.adam(m, bad, AdamSettings(), 1)
