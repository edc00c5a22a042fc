"""Judges 05_your_own_layer.py: forward by its formula, backward by the gradient checker."""

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import Dense

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def x(rng):
    return rng.standard_normal((5, 4))


def judge(layer, x, y):
    """Compare forward with y; let the checker judge backward, and complex steps pass."""
    np.testing.assert_allclose(layer.forward(x)[0], y, **CLOSE)
    report = check_layer(layer, x)
    report.raise_if_bad()
    assert not any(row.verdict == "skipped" for row in report.rows), report


def test_a_softplus(exercise, x):
    judge(exercise.Softplus(), x, np.log1p(np.exp(x)))


def test_b_linear(exercise, x, rng):
    W, b = rng.standard_normal((4, 3)), rng.standard_normal(3)
    judge(exercise.Linear(W, b), x, np.einsum("nd,dk->nk", x, W) + b)


def test_c_softmax(exercise, x):
    y = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    judge(exercise.Softmax(), x, y)
    assert np.isfinite(exercise.Softmax().forward(1000 * x)[0]).all()


def test_d_residual(exercise, x, rng):
    f = Dense.glorot(4, 4, rng, np.float64)
    block = exercise.Residual(f)
    assert block.params.keys() == f.params.keys()
    judge(block, x, x + f.forward(x)[0])


def test_e_tied(exercise, x, rng):
    W = rng.standard_normal((4, 2))
    judge(exercise.Tied(W), x, np.einsum("nd,dk,ek->ne", x, W, W))
