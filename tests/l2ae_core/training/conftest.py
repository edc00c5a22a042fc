import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).with_name("small_training.py")


@pytest.fixture(scope="session")
def small():
    """The names of small_training.py; `small.script` is its path."""
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)), script=SCRIPT)


@pytest.fixture(scope="session")
def bits():
    """A function that returns all bits of a training: arrays, generator, losses, best epoch."""

    def all_bits(t):
        best = t.history.best
        arrays = {
            **{f"params {k}": a for k, a in t.model.params.items()},
            **{f"state {k}": a for k, a in t.model.state.items()},
            **{f"optimizer {k}": a for k, a in t.optimizer.state_dict().items()},
            **{f"best {k}": a for k, a in (best.params | best.state).items()},
        }
        rest = (t.rng.bit_generator.state, t.history.losses, best.epoch, best.loss)
        return {name: (a.dtype.name, a.shape, a.tobytes()) for name, a in arrays.items()}, rest

    return all_bits


@pytest.fixture
def interrupt_at(patch_step):
    """A function that lets the n-th step of `fit` raise KeyboardInterrupt."""

    def interrupt(n):
        calls = []

        def interrupted(step, x):
            calls.append(None)
            if len(calls) == n:
                raise KeyboardInterrupt
            return step(x)

        patch_step(interrupted)

    return interrupt
