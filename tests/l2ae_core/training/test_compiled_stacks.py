"""Which stacks of layers are compiled, and that they are right."""

import numpy as np
import pytest

from l2ae_core.layers import (
    Identity,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
)
from l2ae_core.networks import Architecture, build
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import CompiledStep, LayerwiseStep, make_step
from l2ae_kernels.cpu.codegen.vectors import SETS, best, vectors

from .stacks import assert_equal_steps, clear_images, conv, dense, narrow, stack

pytestmark = pytest.mark.skipif(best() == "none", reason="no kernels are emitted for this machine")
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
    "layers narrower than half a vector": lambda: build(
        Architecture("cae", (8, 8, 1), latent_dim=5, filters=(4, 3, 8)), np.random.default_rng(0)
    ),
    "convolutions of reshaped images": lambda: stack(
        [Reshape((4, 4, 1)), conv(3, 1, 6), ReLU(), Reshape((24,)), dense(24, 3)],
        [dense(3, 24), ReLU(), Reshape((2, 2, 6)), conv(3, 6, 1, transposed=True),
         Reshape((2, 8, 1))],
        (2, 8, 1), 3,
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


def test_layers_that_are_not_compiled_go_layer_by_layer():
    architecture = Architecture("dense", (4, 4, 1), norm="layer", affine=True)
    model = build(architecture, np.random.default_rng(0))
    assert isinstance(make_step(model, Adam()), LayerwiseStep)


@pytest.mark.needs_vectors
def test_a_code_behind_an_activation_goes_layer_by_layer():
    """The compiled step holds u, but its gradient would still have to pass the gate."""
    model = stack(
        [Reshape((16,)), dense(16, 3), ReLU()], [dense(3, 16), Reshape((4, 4, 1))], (4, 4, 1), 3,
        Identity(),
    )  # fmt: skip
    assert isinstance(make_step(model, Adam()), CompiledStep)
    assert isinstance(make_step(model, Adam(), latent_grad=lambda first, u: u), LayerwiseStep)


def test_other_fallbacks():
    model = narrow("dense", (4, 4, 1))
    assert isinstance(make_step(model.astype(np.float64), Adam()), LayerwiseStep)
    with vectors("none"):
        assert isinstance(make_step(model, Adam()), LayerwiseStep)
    gated_output = stack(
        [Reshape((16,)), dense(16, 3)], [dense(3, 16), ReLU(), Reshape((4, 4, 1))], (4, 4, 1), 3
    )
    assert isinstance(make_step(gated_output, Adam()), LayerwiseStep)
