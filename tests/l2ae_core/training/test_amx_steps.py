"""Training steps of dense networks by AMX, as those by float32 or nearly."""

import threading

import numpy as np
import pytest

from l2ae_core.networks import Architecture, build
from l2ae_core.training.optim import Adam
from l2ae_core.training.step import make_step
from l2ae_kernels.cpu.codegen import amx_permission
from l2ae_kernels.cpu.codegen.vectors import AMX, get_vectors, vectors
from l2ae_kernels.cpu.threads import MOST, threads

from .stacks import assert_equal_steps, clear_images, narrow

NAMES = pytest.mark.parametrize("name", AMX)
LACKING = amx_permission.missing()
needs_amx = pytest.mark.skipif(bool(LACKING), reason=f"AMX: {LACKING}")
KINDS = [("l2", {}), ("layer", {"hidden_norm": "layer"}), ("batch", {"hidden_norm": "batch"})]


@needs_amx
@pytest.mark.parametrize(("norm", "more"), KINDS[:2], ids=["l2", "layer"])
def test_six_products_are_as_near_as_float32(norm, more):
    model = narrow("dense", (8, 12, 3), norm, **more)
    with vectors("amx6"):
        for count in (20, 33, 300):
            step = assert_equal_steps(model, clear_images(model, count))
            assert step.kernels.library.vectors is AMX["amx6"]


@needs_amx
@pytest.mark.parametrize(("norm", "more"), KINDS[1:], ids=["layer", "batch"])
@NAMES
def test_trainings_are_alike(name, norm, more):
    """With ε = 1e-8 Adam would make steps of η of what is rounding in a tiny gradient."""
    losses = []
    for each in ("avx512", name):
        model = build(
            Architecture("dense", (12, 12, 1), norm=norm, **more), np.random.default_rng(0)
        )
        with vectors(each):
            step, x = make_step(model, Adam(eps=1e-2)), clear_images(model, 100)
            losses.append([step(x) for _ in range(10)])
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@needs_amx
@pytest.mark.skipif(MOST < 2, reason="one core")
@pytest.mark.parametrize(("norm", "more"), KINDS, ids=["l2", "layer", "batch"])
@NAMES
def test_no_bit_depends_on_threads(name, norm, more, monkeypatch):
    monkeypatch.setattr("l2ae_kernels.cpu.threads.WORTH_A_THREAD", 1)
    ends = []
    for count in (1, 2):
        model = narrow("dense", (12, 12, 1), norm, **more)
        with vectors(name), threads(count):
            step, x = make_step(model, Adam()), clear_images(model, 77)
            losses = [step(x[:size]) for size in (77, 40, 77)]
        ends.append((losses, {n: p.tobytes() for n, p in model.params.items()}))
    assert ends[0] == ends[1]


@pytest.mark.needs_vectors
@pytest.mark.parametrize("name", [None, *(pytest.param(n, marks=needs_amx) for n in AMX)])
def test_a_step_fits_a_small_stack(name):
    """What a thread multiplies is in memory of its own, not on its stack."""
    model = build(Architecture("dense", (28, 28, 1)), np.random.default_rng(0))
    x, losses = clear_images(model, 256), []
    here = get_vectors()
    assert here is not None

    def train():
        with vectors(name or here.label), threads(1):
            losses.append(make_step(model, Adam())(x))

    with vectors(name or here.label):
        make_step(model, Adam())(x)  # compiles the kernels, for which LLVM has a deep stack
    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=train)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert len(losses) == 1


@NAMES
def test_a_machine_without_says_so(name, monkeypatch):
    monkeypatch.setattr(amx_permission, "missing", lambda: "this processor has no amx-tile")
    expected = f"vectors: '{name}' cannot be used: this processor has no amx-tile"
    with pytest.raises(ValueError, match=expected), vectors(name):
        pass
