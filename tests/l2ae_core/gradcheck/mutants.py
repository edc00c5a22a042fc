"""Layers of the suite with one line broken, and the rows of their reports."""

from dataclasses import fields, is_dataclass
from functools import cache

import numpy as np

from l2ae_core.gradcheck import Report, Row, check_layer
from l2ae_core.gradcheck.cases import LayerCase
from l2ae_core.gradcheck.suite import CASES
from l2ae_core.layers import Layer

CENTRAL, COMPLEX = 1e-6, 1e-9  # what every right backward has to reach


def row_of(report: Report, block: str, method: str) -> Row:
    (row,) = [r for r in report.rows if (r.block, r.method) == (block, method)]
    return row


def layer_case(name: str) -> LayerCase:
    built = CASES[name](np.random.default_rng(0))
    assert isinstance(built, LayerCase)
    return built


def mutate(layer: Layer, mutant: type[Layer]) -> Layer:
    """Return a `mutant` with the fields of the right layer."""
    assert is_dataclass(layer)
    return mutant(**{f.name: getattr(layer, f.name) for f in fields(layer)})


def assert_caught(name: str, mutant: type[Layer], block: str, text: str) -> None:
    """The right layer passes; the mutant fails in its block, by entries and by directions."""
    assert_right(name)
    right = layer_case(name)
    assert isinstance(right.layer, mutant.__mro__[1])
    wrong = mutate(right.layer, mutant)
    report = check_layer(wrong, right.x, train=right.train)
    assert not report.ok
    assert report.worst.verdict == "WRONG"
    assert block in _wrong_blocks(report)
    assert text in str(report).replace("\n          ", " ")
    by_directions = check_layer(wrong, right.x, train=right.train, mode="directions")
    assert block in _wrong_blocks(by_directions)


@cache
def assert_right(name: str) -> None:
    right = layer_case(name)
    report = check_layer(right.layer, right.x, train=right.train)
    report.raise_if_bad()
    for row in report.rows:
        assert not row.relative_error > (CENTRAL if row.method == "central" else COMPLEX)


def _wrong_blocks(report: Report) -> set[str]:
    return {row.block for row in report.rows if row.verdict == "WRONG"}
