"""What the tests of several rooms share."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pytest

from l2ae_core.training import loop
from l2ae_core.training.step import Step

Replacement: TypeAlias = Callable[[Step, Any], float]


@pytest.fixture
def patch_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Replacement], None]:
    """A function that puts `replacement(step, x) -> loss` in the place of every step of `fit`."""
    real = loop.make_step

    def patch(replacement: Replacement) -> None:
        def make_step(*arguments: Any) -> Step:
            step = real(*arguments)
            replaced: Any = partial(replacement, step)
            monkeypatch.setattr(step, "losses", partial(Step.losses, replaced))
            return step

        monkeypatch.setattr(loop, "make_step", make_step)

    return patch
