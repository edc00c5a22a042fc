"""Where a difference means nothing: kinks, zero gradients, maps that are not analytic."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function, check_layer
from l2ae_core.layers import BatchNorm, Dense, Layer, ReLU, Sequential

from .mutants import row_of


def test_units_near_their_kink_are_counted_and_left_out(rng) -> None:
    x = rng.uniform(0.5, 1, (3, 4)) * rng.choice([-1, 1], (3, 4))
    x[0] = [0.0, 4e-6, -4e-6, 2.0]
    report = check_layer(ReLU(), x)
    central, complex_ = row_of(report, "x", "central"), row_of(report, "x", "complex")
    assert report.ok
    assert (central.checked, central.kinks) == (9, 3)
    assert (complex_.checked, complex_.kinks) == (11, 1)  # only the unit that sits on its kink
    assert report.kinks == 4


@pytest.mark.parametrize("mode", ["entries", "directions"])
def test_a_block_with_nothing_but_kinks_does_not_pass(mode) -> None:
    report = check_layer(ReLU(), np.zeros((2, 3)), mode=mode)
    assert not report.ok
    assert {r.verdict for r in report.rows if r.block == "x"} == {"UNCLEAR"}
    assert "crosses a kink" in str(report)


def test_directions_across_a_kink_are_drawn_again(rng) -> None:
    x = rng.standard_normal((40, 50))
    x[0, 0] = 1.5e-6  # crossed by those directions that move this entry by more
    report = check_layer(ReLU(), x, eps=2e-5, methods=["central"], directions=4)
    row = row_of(report, "x", "central")
    assert report.ok
    assert row.checked == 4
    assert row.kinks > 0


def test_most_entries_on_kinks_is_said(rng) -> None:
    x = np.zeros((2, 5))
    x[0, :3] = [1, -1, 2]
    assert "only 3 of 10 entries" in row_of(check_layer(ReLU(), x), "x", "central").hint


@dataclass(eq=False)
class ReLUWithoutGates(ReLU):
    def gates(self, cache):
        return []


def test_a_layer_that_hides_its_kinks_fails() -> None:
    x = np.array([[4e-6, 1.0, -1.0]])
    assert not check_layer(ReLUWithoutGates(), x, methods=["central"]).ok


def test_a_function_has_its_kinks_found_by_their_slopes() -> None:
    x = np.array([1.0, 4e-6, -2.0, 0.0, 0.5])
    report = check_function(lambda x: np.maximum(x, 0).sum(), lambda x: (x > 0) * 1.0, x)
    row = row_of(report, "x", "central")
    assert (row.checked, row.kinks, report.ok) == (3, 2, True)


def test_a_wrong_gradient_at_a_strongly_curved_point_is_not_taken_for_a_kink() -> None:
    x = np.array([0.02, -0.03, 0.0])

    def f(x):
        return np.sum(np.sqrt(x * x + 1e-4))

    def gradient(x):
        return x / np.sqrt(x * x + 1e-4)

    tight = {"methods": ["central"], "eps": 1e-6}
    right = check_function(f, gradient, x, **tight)
    assert (right.ok, right.kinks) == (True, 0)
    wrong = check_function(f, lambda x: 1.1 * gradient(x), x, **tight)
    assert (wrong.ok, wrong.kinks) == (False, 0)


def test_a_zero_gradient_has_to_be_declared(rng) -> None:
    network = Sequential([Dense.glorot(4, 3, rng), BatchNorm.create(3, affine=False)], (4,))
    x = rng.standard_normal((6, 4))
    report = check_layer(network, x, train=True)
    assert not report.ok
    assert row_of(report, "0.b", "complex").verdict == "VACUOUS"
    check_layer(network, x, train=True, expect_zero=["0.b"]).raise_if_bad()


def test_a_block_declared_zero_that_is_not_fails(rng) -> None:
    report = check_layer(Dense.glorot(4, 3, rng), rng.standard_normal((6, 4)), expect_zero=["b"])
    assert row_of(report, "b", "central").verdict == "WRONG"


def test_a_constant_function_with_a_zero_gradient_is_vacuous() -> None:
    report = check_function(lambda x: 0 * x.sum() + 3.0, np.zeros_like, np.ones(3))
    assert {r.verdict for r in report.rows if r.block == "x"} == {"VACUOUS"}
    assert not report.ok


@dataclass(eq=False)
class NormByAbs(Layer):
    """u = z/|z| written so that it is right for real numbers only."""

    def forward(self, x, train=False):
        n = np.sqrt((np.abs(x) ** 2).sum(axis=-1, keepdims=True))
        return x / n, (x / n, n)

    def backward(self, dy, cache):
        u, n = cache
        return (dy - u * (u * dy).sum(axis=-1, keepdims=True)) / n, {}


@dataclass(eq=False)
class RealOnly(Layer):
    def forward(self, x, train=False):
        return np.arctan2(x, 2.0), x

    def backward(self, dy, cache):
        return dy * 2 / (4 + cache * cache), {}


@dataclass(eq=False)
class CastsToFloat(NormByAbs):
    def forward(self, x, train=False):
        return super().forward(np.asarray(x, np.float64), train)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (NormByAbs(), "not analytic"),
        (RealOnly(), "does not take complex numbers: ufunc 'arctan2'"),
        (CastsToFloat(), "does not take complex numbers"),
    ],
)
def test_the_complex_step_is_skipped_with_its_reason(layer, reason, rng) -> None:
    report = check_layer(layer, rng.standard_normal((3, 4)))
    row = row_of(report, "x", "complex")
    assert (row.verdict, report.ok) == ("skipped", True)
    assert reason in row.hint
    alone = check_layer(layer, rng.standard_normal((3, 4)), methods=["complex"])
    assert not alone.ok  # nothing confirmed the gradient


@dataclass(eq=False)
class NormByAbsWrong(NormByAbs):
    def backward(self, dy, cache):
        return dy / cache[1], {}


def test_a_function_that_is_not_analytic_still_fails_when_wrong(rng) -> None:
    report = check_layer(NormByAbsWrong(), rng.standard_normal((3, 4)))
    assert row_of(report, "x", "central").verdict == "WRONG"
