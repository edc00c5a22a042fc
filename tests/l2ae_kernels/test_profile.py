"""A step whose calls are timed is the step, and all of its calls are timed."""

from time import perf_counter

import numpy as np
import pytest

from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.lower import lower
from l2ae_kernels import ops
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.step.profile import timed_step
from l2ae_kernels.cpu.threads import MOST, threads
from l2ae_kernels.stages import AdamSettings, Params, Stage, TrainingStep

pytestmark = pytest.mark.skipif(get_vectors() is None, reason="no emitted kernels here")
NETWORKS = {
    "cae": Architecture("cae", (16, 16, 1)),
    "layer norm": Architecture("cae", (16, 16, 1), norm="layer", hidden_norm="layer", affine=True),
    "batch norm": Architecture("cae", (16, 16, 1), norm="batch", hidden_norm="batch", affine=True),
    "dense": Architecture("dense", (8, 8, 1), hidden=(40, 30)),
    "dense, batch norm": Architecture(
        "dense", (8, 8, 1), norm="batch", hidden_norm="batch", affine=True, hidden=(40, 30)
    ),
}
N = 70  # no multiple of a micro-batch


def started(architecture: Architecture) -> tuple[TrainingStep, AutoEncoder, Params, Params]:
    model = build(architecture, np.random.default_rng(0))
    stages = lower(model)
    assert stages is not None
    step = ops.training_step(
        stages, model.params, model.input_shape, state=model.state, impl="compiled"
    )
    zeros = [{name: np.zeros_like(p) for name, p in model.params.items()} for _ in range(2)]
    return step, model, *zeros


@pytest.mark.parametrize("count", [1, min(2, MOST)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_bits_are_those_of_the_step(name: str, count: int) -> None:
    rng = np.random.default_rng(1)
    images = [rng.random((n, *NETWORKS[name].input_shape), np.float32) for n in (N, N, 9)]
    with threads(count):
        plain, timed = started(NETWORKS[name]), started(NETWORKS[name])
        for t, x in enumerate(images, start=1):
            step, _, m, v = plain
            loss = step.loss(x, "mean")
            step.adam(m, v, AdamSettings(), t)
            step, _, m, v = timed
            assert timed_step(step, x, m, v, AdamSettings(), t)[0] == loss
    for a, b in zip(plain[1:], timed[1:], strict=True):
        if isinstance(a, AutoEncoder):
            a, b = a.params | a.state, b.params | b.state
        for key, expected in a.items():
            assert b[key].tobytes() == expected.tobytes(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_is_timed_in_both_directions(name: str) -> None:
    step, _, m, v = started(NETWORKS[name])
    x = np.random.default_rng(1).random((N, *NETWORKS[name].input_shape), np.float32)
    _, seconds = timed_step(step, x, m, v, AdamSettings(), 1)
    assert all(s > 0 and n > 0 for s, n in seconds.values())
    for i, s in enumerate(step.stages):
        found = {label.what for label in seconds if label.stage == i}
        assert expected(s, i) <= found, s
    if not name.startswith("dense"):
        calls = [n for label, (_, n) in seconds.items() if label.what == "loss"]
        assert calls == [-(-N // step.samples)]


def test_ticks_are_told_in_seconds() -> None:
    """All calls of one thread take most of the step, and no more than all of it."""
    step, _, m, v = started(NETWORKS["cae"])
    x = np.random.default_rng(1).random((2000, *step.input_shape), np.float32)
    with threads(1):
        timed_step(step, x, m, v, AdamSettings(), 1)  # compiles
        begin = perf_counter()
        _, seconds = timed_step(step, x, m, v, AdamSettings(), 2)
        whole = perf_counter() - begin
    assert 0.5 * whole < sum(s for s, _ in seconds.values()) < whole


def expected(s: Stage, i: int) -> set[str]:
    """The parts of a stage; nobody asks for the gradient of the images."""
    if not s.linear:
        return {"normalize", "normalize, adjoint"}
    return {"forward"} | ({"adjoint in x"} if i else set())


def test_a_step_that_is_not_compiled_is_refused() -> None:
    step, model, m, v = started(NETWORKS["dense"])
    x = np.zeros((3, 8, 8, 1), np.float32)
    plain = ops.training_step(step.stages, model.params, (8, 8, 1), None, impl="reference")
    with pytest.raises(ValueError, match="step is ReferenceStep but expected a compiled one"):
        timed_step(plain, x, m, v, AdamSettings(), 1)
    second = ops.training_step(
        step.stages, model.params, (8, 8, 1), lambda _, u: u, impl="compiled"
    )
    with pytest.raises(ValueError, match="has a latent_grad"):
        timed_step(second, x, m, v, AdamSettings(), 1)
