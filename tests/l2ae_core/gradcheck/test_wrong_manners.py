"""Evidence that the checker works: wrong layers with state, randomness or side effects.

Each mutant breaks one line of a layer of the suite. The right layer must pass at the same point,
and the mutant must fail in the block that it spoils.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Dense, Layer, ReLU

from .mutants import assert_caught, layer_case, mutate


@dataclass(eq=False)
class DenseAccumulates(Dense):
    total: dict[str, Any] = field(default_factory=dict)

    def weight_grads(self, dy, cache):
        for name, g in super().weight_grads(dy, cache).items():
            self.total[name] = self.total.get(name, 0) + g
        return dict(self.total)


class DenseRandom(Dense):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx * (1 + 1e-12 * np.random.default_rng().random()), grads


class DenseOverwritesDy(Dense):
    def backward(self, dy, cache):
        result = super().backward(dy, cache)
        dy *= 0.5
        return result


class DenseOverwritesCache(Dense):
    def backward(self, dy, cache):
        result = super().backward(dy, cache)
        cache *= 0.5
        return result


class DenseUpdatesItself(Dense):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        self.b -= 1e-9 * grads["b"]
        return dx, grads


class DenseForwardInPlace(Dense):
    def forward(self, x, train=False):
        y, cache = super().forward(x.copy(), train)
        x *= 2
        return y, cache


@dataclass(eq=False)
class ReLUSharedWorkspace(ReLU):
    workspace: dict[str, Any] = field(default_factory=dict)

    def forward(self, x, train=False):
        y, _ = super().forward(x, train)
        kept = self.workspace.setdefault(y.dtype.name, np.empty_like(y))
        kept[...] = y
        return y, kept


class DenseGradientsAlone(Dense):
    """backward is right; the short cut that training takes for the first layer is not."""

    def backward(self, dy, cache):
        dx, _ = super().backward(dy, cache)
        return dx, super().weight_grads(dy, cache)

    def weight_grads(self, dy, cache):
        return {name: 2 * g for name, g in super().weight_grads(dy, cache).items()}


class DenseSingleOutput(Dense):
    """Wrong for a loss of one output alone: only the full Jacobian looks there."""

    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx * (1 + (np.count_nonzero(dy) == 1)), grads


# case of the suite, mutant, block that must fail, a part of the report that must be there
MUTANTS: list[tuple[str, type[Layer], str, str]] = [
    ("dense", DenseAccumulates, "backward", "two calls of backward differ"),
    ("dense", DenseRandom, "backward", "two calls of backward differ"),
    ("dense", DenseOverwritesDy, "backward", "backward changed dy"),
    ("dense", DenseOverwritesCache, "backward", "backward changed the cache"),
    ("dense", DenseUpdatesItself, "backward", "backward changed the parameters"),
    ("dense", DenseForwardInPlace, "forward", "forward changed x"),
    ("relu/plain", ReLUSharedWorkspace, "forward", "changed the cache of an earlier one"),
    ("dense", DenseGradientsAlone, "weight_grads", "weight_grads(dy, cache) is not backward"),
]


def test_the_full_jacobian_looks_at_every_output() -> None:
    right = layer_case("dense")
    report = check_layer(mutate(right.layer, DenseSingleOutput), right.x)
    assert {row.block for row in report.rows if not row.passed} == {"x"}
    assert report.worst.output is not None
    assert report.worst.over == right.x.size


@pytest.mark.parametrize(
    ("name", "mutant", "block", "text"), MUTANTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_wrong_backward_is_caught(name, mutant, block, text) -> None:
    assert_caught(name, mutant, block, text)
