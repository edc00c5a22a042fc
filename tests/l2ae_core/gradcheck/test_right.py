"""Right gradients of every kind of function: never called wrong."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from l2ae_core.gradcheck import check_function, check_layer
from l2ae_core.layers import Layer
from l2ae_kernels.arrays import Array

from .mutants import row_of


def test_a_function_of_one_number() -> None:
    right = check_function(lambda x: x**2, lambda x: 2 * x, np.array(3.0))
    right.raise_if_bad()
    assert {(row.block, row.method) for row in right.rows} >= {("x", "central"), ("x", "complex")}
    check_function(lambda x: x**2, lambda x: 2 * float(x), np.array(3.0)).raise_if_bad()
    for mode in ("entries", "directions"):
        wrong = check_function(lambda x: x**2, lambda x: 3 * x, np.array(3.0), mode=mode)
        assert wrong.worst.verdict == "WRONG"


def test_a_function_with_one_number_among_its_blocks(rng) -> None:
    point = {"t": np.array(0.3), "x": rng.standard_normal((2, 3))}

    def f(d):
        return (d["t"] * d["x"] ** 2).sum()

    def gradient(d):
        return {"t": (d["x"] ** 2).sum(), "x": 2 * d["t"] * d["x"]}

    check_function(f, gradient, point).raise_if_bad()
    wrong = check_function(f, lambda d: {**gradient(d), "t": np.array(1.0)}, point)
    assert {row.block for row in wrong.rows if row.verdict == "WRONG"} == {"t"}


@dataclass(eq=False)
class Temperature(Layer):
    """y = x / t, with one number as parameter; its gradient is a scalar of NumPy."""

    t: Array  # ()
    factor: float = 1.0

    @property
    def params(self):
        return {"t": self.t}

    def forward(self, x, train=False):
        return x / self.t, x

    def backward(self, dy, cache):
        dt = -(cache * dy).sum() / self.t**2
        return dy / self.t, {"t": self.factor * dt}


@pytest.mark.parametrize("mode", ["auto", "entries", "directions", "jacobian"])
def test_a_layer_with_one_number_as_parameter(mode, rng) -> None:
    x = rng.standard_normal((4, 3))
    check_layer(Temperature(np.array(0.7)), x, mode=mode).raise_if_bad()
    wrong = check_layer(Temperature(np.array(0.7), factor=1.1), x, mode=mode)
    assert {row.block for row in wrong.rows if row.verdict == "WRONG"} == {"t"}


def entropy(p):
    return -(p * np.log(p)).sum()


def entropy_gradient(p):
    return -np.log(p) - 1


EDGE = np.array([1e-6, 0.4, 0.6])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mode", ["entries", "directions"])
def test_near_the_edge_of_a_domain_the_difference_is_unclear(mode) -> None:
    report = check_function(entropy, entropy_gradient, EDGE, mode=mode)
    central = row_of(report, "x", "central")
    assert central.verdict == "UNCLEAR"
    assert "smaller eps" in central.hint
    assert row_of(report, "x", "complex").verdict == "ok"
    check_function(entropy, entropy_gradient, EDGE, mode=mode, eps=1e-9).raise_if_bad()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("f", "gradient", "x"),
    [
        (lambda x: math.sqrt(x[0]) + x[1], lambda x: np.array([0.5 / x[0] ** 0.5, 1.0]), 1e-7),
        (lambda x: math.log(x[0]) + x[1], lambda x: np.array([1 / x[0], 1.0]), 1e-7),
        (lambda x: 1e-308 * math.exp(x[0]) + x[1], lambda x: np.array([np.exp(x[0]) * 1e-308, 1]),
         709.78),
    ],
    ids=["sqrt", "log", "overflow"],
)  # fmt: skip
def test_an_error_beyond_the_edge_is_unclear_too(f, gradient, x) -> None:
    report = check_function(f, gradient, np.array([x, 2.0]), methods=["central"])
    row = row_of(report, "x", "central")
    assert row.verdict == "UNCLEAR"
    assert "1 of 2 entries" in row.hint


@pytest.mark.parametrize("mode", ["entries", "directions"])
def test_a_wrong_or_missing_number_at_the_edge_is_still_wrong(mode) -> None:
    def wrong(p):
        return entropy_gradient(p) * [1, 1, 2]

    def missing(p):
        return np.where(p < 1e-3, np.nan, entropy_gradient(p))

    report = check_function(entropy, wrong, EDGE, mode=mode)
    assert row_of(report, "x", "complex").verdict == "WRONG"
    if mode == "entries":
        assert row_of(report, "x", "central").verdict == "WRONG"
    report = check_function(entropy, missing, EDGE, mode=mode)
    assert row_of(report, "x", "central").verdict == "WRONG"
    assert "NaN or Inf in the gradient" in row_of(report, "x", "central").hint


@dataclass(eq=False)
class Logit(Layer):
    """y = log x − log (1 − x) of x in (0, 1), refused elsewhere."""

    strict: bool = False

    def forward(self, x, train=False):
        if self.strict and not ((x.real > 0) & (x.real < 1)).all():
            raise ValueError("Logit: x is outside (0, 1)")
        return np.log(x) - np.log(1 - x), x

    def backward(self, dy, cache):
        return dy / (cache * (1 - cache)), {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strict", [False, True])
def test_a_layer_that_is_not_defined_everywhere(strict, rng) -> None:
    x = rng.uniform(0.2, 0.8, (4, 3))
    check_layer(Logit(strict), x).raise_if_bad()
    x[2, 1] = 1e-6
    report = check_layer(Logit(strict), x)
    assert {row.verdict for row in report.rows} == {"ok", "UNCLEAR"}
    assert row_of(report, "x", "complex").verdict == "ok"


@dataclass(eq=False)
class RealOnly(Layer):
    """y = x W for real arrays; `error` is what it raises for others."""

    W: Array
    error: type[Exception] = RuntimeError
    of_parameter: bool = False

    @property
    def params(self):
        return {"W": self.W}

    def forward(self, x, train=False):
        if np.iscomplexobj(self.W if self.of_parameter else x):
            raise self.error("expected Double")
        return x @ self.W, x

    def backward(self, dy, cache):
        return dy @ self.W.T, {"W": cache.T @ dy}


@pytest.mark.parametrize(
    "error",
    [TypeError, ValueError, RuntimeError, AttributeError, AssertionError, NotImplementedError,
     KeyError, IndexError, FloatingPointError],
)  # fmt: skip
def test_code_for_real_numbers_alone_is_checked_by_differences(error, rng) -> None:
    x, W = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    report = check_layer(RealOnly(W, error), x)
    report.raise_if_bad()
    assert row_of(report, "x", "complex").verdict == "skipped"
    assert "does not take complex numbers" in row_of(report, "x", "complex").hint

    def f(x):
        if np.iscomplexobj(x):
            raise error
        return (x**2).sum()

    check_function(f, lambda x: 2 * x, x).raise_if_bad()


def test_one_block_may_be_real_alone(rng) -> None:
    def f(d):
        if np.iscomplexobj(d["b"]):
            raise RuntimeError("expected Double")
        return (d["a"] * d["b"]).sum()

    point = {"a": rng.standard_normal(3), "b": rng.standard_normal(3)}
    report = check_function(f, lambda d: {"a": d["b"], "b": d["a"]}, point)
    report.raise_if_bad()
    assert row_of(report, "a", "complex").verdict == "ok"
    assert row_of(report, "b", "complex").verdict == "skipped"


def test_a_function_that_always_fails_is_not_skipped() -> None:
    def f(x):
        raise RuntimeError("no such file")

    with pytest.raises(RuntimeError, match="no such file"):
        check_function(f, lambda x: x, np.ones(3))


def test_a_plain_class_with_arrays_needs_no_decorator(rng) -> None:
    class Scale(Layer):
        def __init__(self, s):
            self.s = s

        @property
        def params(self):
            return {"s": self.s}

        def forward(self, x, train=False):
            return self.s * x, x

        def backward(self, dy, cache):
            return self.s * dy, {"s": (cache * dy).sum(axis=0)}

    check_layer(Scale(np.float32([1, 2, 3])), rng.standard_normal((4, 3))).raise_if_bad()


def test_lists_and_integers_are_numbers() -> None:
    x = np.array([1.0, 2.0])
    check_function(lambda x: 3 * x[0] + 4 * x[1], lambda x: [3, 4], x).raise_if_bad()
