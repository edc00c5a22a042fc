"""What the tests of the gradient checker share."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache

import numpy as np
import pytest

from l2ae_core.gradcheck import Report, Row, check_layer
from l2ae_core.gradcheck.cases import LayerCase
from l2ae_core.gradcheck.suite import CASES
from l2ae_core.layers import Layer

CENTRAL, COMPLEX = 1e-6, 1e-9  # what every right backward has to reach


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def row_of() -> Callable[[Report, str, str], Row]:
    def find(report: Report, block: str, method: str) -> Row:
        (row,) = [r for r in report.rows if (r.block, r.method) == (block, method)]
        return row

    return find


@pytest.fixture
def case() -> Callable[[str], LayerCase]:
    return layer_case


@pytest.fixture
def mutated() -> Callable[[Layer, type[Layer]], Layer]:
    return mutate


@pytest.fixture
def assert_caught() -> Callable[[str, type[Layer], str, str], None]:
    """The right layer passes; the mutant fails in its block, by entries and by directions."""

    def check(name: str, mutant: type[Layer], block: str, text: str) -> None:
        assert_right(name)
        right = layer_case(name)
        assert isinstance(right.layer, mutant.__mro__[1])
        wrong = mutate(right.layer, mutant)
        report = check_layer(wrong, right.x, train=right.train)
        assert not report.ok
        assert report.worst.verdict == "WRONG"
        assert block in wrong_blocks(report)
        assert text in str(report).replace("\n          ", " ")
        by_directions = check_layer(wrong, right.x, train=right.train, mode="directions")
        assert block in wrong_blocks(by_directions)

    return check


def layer_case(name: str) -> LayerCase:
    built = CASES[name](np.random.default_rng(0))
    assert isinstance(built, LayerCase)
    return built


def mutate(layer: Layer, mutant: type[Layer]) -> Layer:
    """Return a `mutant` with the fields of the right layer."""
    assert is_dataclass(layer)
    return mutant(**{f.name: getattr(layer, f.name) for f in fields(layer)})


def wrong_blocks(report: Report) -> set[str]:
    return {row.block for row in report.rows if row.verdict == "WRONG"}


@cache
def assert_right(name: str) -> None:
    right = layer_case(name)
    report = check_layer(right.layer, right.x, train=right.train)
    report.raise_if_bad()
    for row in report.rows:
        assert not row.relative_error > (CENTRAL if row.method == "central" else COMPLEX)
