"""Ctrl-C in a compiled step: the next step of the same object is as if nothing had happened."""

import sys
from contextlib import contextmanager

import pytest

from l2ae_core.training.optim import Adam
from l2ae_core.training.step import make_step
from l2ae_kernels.cpu import team
from l2ae_kernels.cpu import threads as threads_module
from l2ae_kernels.cpu.codegen.vectors import get_vectors
from l2ae_kernels.cpu.microkernels import program
from l2ae_kernels.cpu.step import convolutional, dense, memory, micro_batch

from .stacks import clear_images, narrow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(get_vectors() is None, reason="no kernels are emitted here"),
]
MODULES = (convolutional, dense, memory, micro_batch, program, team, threads_module)
SOURCES = {module.__file__ for module in MODULES}
TRIES = 12


@contextmanager
def lines(last):
    """Count lines of SOURCES on this thread; KeyboardInterrupt before the one after `last`."""
    seen = [0]

    def line(frame, event, _):
        if event == "line":
            seen[0] += 1
            if seen[0] == last:
                raise KeyboardInterrupt
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: line if frame.f_code.co_filename in SOURCES else None)
    try:
        yield seen
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("kind", ["dense", "cae"])
def test_a_step_after_an_interrupted_one_has_the_same_bits(kind, monkeypatch):
    monkeypatch.setattr(threads_module, "WORTH_A_THREAD", 1)
    model = narrow(kind, (8, 8, 1))
    x = clear_images(model, 77)
    expected = bits(make_step(model, Adam()), x)
    with lines(0) as seen:
        bits(make_step(model, Adam()), x)
    step, interrupts = make_step(model, Adam()), 0
    for i in range(TRIES):
        try:
            with lines(1 + seen[0] * i // TRIES):
                step.loss_and_grads(x)
        except KeyboardInterrupt:
            interrupts += 1
        assert bits(step, x) == expected
        if i % 3 == 0:
            step = make_step(model, Adam())  # its programs are not made yet
    assert interrupts > 1


def bits(step, x):
    loss, grads = step.loss_and_grads(x)
    return loss, {name: gradient.tobytes() for name, gradient in grads.items()}
