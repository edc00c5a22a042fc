"""The checker on the project's own layers, its arguments, and scalar functions."""

from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function, check_layer
from l2ae_core.gradcheck.cases import FunctionCase
from l2ae_core.gradcheck.check import cotangents, generator_of
from l2ae_core.gradcheck.suite import CASES, run_suite
from l2ae_core.layers import BatchNorm, Dense, L2Normalize, Layer, LeakyReLU, Sequential
from l2ae_kernels.arrays import Array

from .mutants import row_of

# Of the networks, whose layers are rows of their own, one of each kind every day.
EVERY_DAY = ("ae/l2", "cae/l2", "vae/gaussian", "gmvae/gaussian", "drae/dense")
SLOW = [n for n in CASES if n.startswith(("ae/", "cae/", "vae/", "gmvae/", "drae/"))]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow) if n in SLOW and n not in EVERY_DAY else n
        for n in CASES
    ],
)
def test_every_backward_of_the_project_is_right(name: str) -> None:
    (outcome,) = run_suite([name])
    outcome.report.raise_if_bad()
    assert outcome.name == name
    for row in outcome.report.rows:
        assert row.verdict == "ok"  # no complex step is skipped
        zero = row.hint == "zero, as declared"
        assert zero or not row.relative_error > (1e-6 if row.method == "central" else 1e-9)


@pytest.mark.parametrize("mode", ["entries", "directions", "jacobian"])
@pytest.mark.parametrize("method", ["central", "richardson", "complex"])
def test_each_method_and_mode_passes_a_small_network(mode, method, rng) -> None:
    layers = [Dense.glorot(6, 5, rng), LeakyReLU(0.3), Dense.glorot(5, 3, rng), L2Normalize(0.1)]
    report = check_layer(
        Sequential(layers, (6,)), rng.standard_normal((4, 6)), methods=[method], mode=mode
    )
    report.raise_if_bad()
    assert all(row.directions == (mode == "directions") for row in report.rows if row.checked)
    assert {row.block for row in report.rows} == {"x", "0.W", "0.b", "2.W", "2.b", "forward"}


def test_richardson_is_more_accurate_than_central(rng) -> None:
    report = check_layer(
        L2Normalize(0.5), rng.standard_normal((5, 6)), methods=["central", "richardson"]
    )
    assert (
        row_of(report, "x", "richardson").relative_error
        < row_of(report, "x", "central").relative_error
    )


def test_strong_curvature_is_not_taken_for_a_wrong_gradient() -> None:
    """One more power of h would be needed for z of the size of ε; a missing term still shows."""
    z = np.array([[0.004, -0.002, 0.001]])
    right = check_layer(L2Normalize(3e-3), z, methods=["central"])
    assert right.ok
    assert "strongly curved" in row_of(right, "x", "central").hint
    assert check_layer(L2Normalize(3e-3), z, methods=["complex"]).ok


def test_the_layer_and_x_are_not_touched(rng) -> None:
    layer = BatchNorm.create(3)  # float32
    x = rng.standard_normal((5, 3)).astype(np.float32)
    kept = [a.copy() for a in (*layer.params.values(), *layer.state.values(), x)]
    check_layer(layer, x, train=True).raise_if_bad()
    for before, after in zip(kept, (*layer.params.values(), *layer.state.values(), x), strict=True):
        assert after.dtype == np.float32
        np.testing.assert_array_equal(before, after)


def test_the_same_seed_gives_the_same_report(rng) -> None:
    layer, x = Dense.glorot(5, 3, rng), rng.standard_normal((4, 5))
    assert str(check_layer(layer, x, rng=3)) == str(check_layer(layer, x, rng=3))
    assert str(check_layer(layer, x, rng=3)) != str(check_layer(layer, x, rng=4))


def test_the_cotangent_is_not_the_x_drawn_from_the_same_seed() -> None:
    x = np.random.default_rng(0).standard_normal((4, 5))
    dy = cotangents(generator_of(0), x.shape)[0]
    assert abs(np.corrcoef(x.ravel(), dy.ravel())[0, 1]) < 0.5


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones((2, 3), complex), {}, "x is complex128 but expected real"),
        (np.full((2, 3), np.nan), {}, "x holds NaN"),
        (np.ones((0, 3)), {}, "expected at least one entry"),
        (np.ones((2, 3)), {"methods": ["forward"]}, r"methods names \['forward'\]"),
        (np.ones((2, 3)), {"methods": []}, "methods is empty"),
        (np.ones((2, 3)), {"mode": "full"}, "mode names"),
        (np.ones((2, 3)), {"expect_zero": ["c"]}, r"expect_zero names \['c'\]"),
        (np.ones((2, 3)), {"eps": 0.0}, "eps is 0.0 but expected a positive"),
    ],
)
def test_bad_arguments_are_named(x, options, message, rng) -> None:
    with pytest.raises(ValueError, match=message):
        check_layer(Dense.glorot(3, 2, rng), x, **options)


def test_a_function_of_a_dict_of_arrays(rng) -> None:
    A = rng.standard_normal((3, 4))
    point = {"A": rng.standard_normal((3, 4)), "c": rng.standard_normal(4)}

    def f(p):
        return np.sum(np.exp(p["A"] * A) @ p["c"])

    def gradient(p):
        return {"A": np.exp(p["A"] * A) * A * p["c"], "c": np.exp(p["A"] * A).sum(axis=0)}

    check_function(f, gradient, point).raise_if_bad()
    wrong = check_function(f, lambda p: {**gradient(p), "c": 2 * gradient(p)["c"]}, point)
    assert {r.block for r in wrong.rows if not r.passed} == {"c"}
    assert "analytic = 2 × numeric: the factor of a squared term?" in str(wrong)
    missing = check_function(f, lambda p: {"A": gradient(p)["A"]}, point)
    assert "there is no gradient 'c'" in str(missing)


@pytest.mark.parametrize("name", ["loss/sum", "loss/mean"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_loss_off_by_a_factor_of_two_is_caught(name: str, factor: float) -> None:
    case = CASES[name](np.random.default_rng(0))
    assert isinstance(case, FunctionCase)
    report = check_function(case.f, lambda x: factor * case.gradient(x), case.x)
    assert report.worst.verdict == "WRONG"
    assert report.worst.over == report.worst.checked
    assert "squared term" in report.worst.hint


def test_a_random_function_is_caught() -> None:
    noise = np.random.default_rng(0)
    report = check_function(lambda x: x.sum() + noise.random(), np.ones_like, np.ones(3))
    assert "two calls of f differ" in str(report)


def test_a_function_must_be_scalar_and_float64() -> None:
    with pytest.raises(ValueError, match=r"f returned shape \(3,\) but expected a scalar"):
        check_function(lambda x: x, np.ones_like, np.ones(3))
    report = check_function(lambda x: np.float32(x.sum().real), np.ones_like, np.ones(3))
    assert "f returns float32 but expected float64" in str(report)


@dataclass(eq=False)
class Drifting(Layer):
    """y = x · running, and training moves `running`: its state leaks into its output."""

    running: Array

    @property
    def state(self):
        return {"running": self.running}

    def forward(self, x, train=False):
        scale = self.running.copy()
        if train:
            self.running += 1
        return x * scale, scale

    def backward(self, dy, cache):
        return dy * cache, {}


def test_running_statistics_are_put_back_after_each_evaluation(rng) -> None:
    layer = Drifting(np.array([2.0, 3.0]))
    check_layer(layer, rng.standard_normal((4, 2)), train=True).raise_if_bad()
    np.testing.assert_array_equal(layer.running, [2.0, 3.0])
