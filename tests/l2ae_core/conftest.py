"""What the tests of several rooms share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from l2ae_core.layers import Params
from l2ae_core.training import loop
from l2ae_core.training.step import Step
from l2ae_kernels.arrays import Array

Replacement: TypeAlias = Callable[[Step, Any], float]


@dataclass(eq=False)
class Replaced(Step):
    """`replacement(step, x)` in the place of `step(x)`; the step itself stays as it is."""

    step: Step
    replacement: Replacement

    @property
    def settings(self) -> dict[str, Any]:
        return self.step.settings

    def loss_and_grads(self, x: Array) -> tuple[float, Params]:
        return self.step.loss_and_grads(x)

    def __call__(self, x: Array) -> float:
        return self.replacement(self.step, x)


@pytest.fixture
def patch_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Replacement], None]:
    """A function that puts `replacement(step, x) -> loss` in the place of every step of `fit`."""
    real = loop.make_step

    def patch(replacement: Replacement) -> None:
        def make_step(*arguments: Any) -> Step:
            step = real(*arguments)
            return Replaced(step.model, step.optimizer, step, replacement)

        monkeypatch.setattr(loop, "make_step", make_step)

    return patch
