"""Evidence that the checker works: wrong normalizations and activations.

Each mutant breaks one line of a layer of the suite. The right layer must pass at the same point,
and the mutant must fail in the block that it spoils.
"""

import numpy as np
import pytest

from l2ae_core.gradcheck import check_layer
from l2ae_core.layers import BatchNorm, L2Normalize, Layer, LayerNorm, LeakyReLU, ReLU
from l2ae_kernels import ops

from .mutants import assert_caught


class L2WithoutProjection(L2Normalize):
    def backward(self, dy, cache):
        return dy / cache[1], {}


class L2WithoutDivision(L2Normalize):
    def backward(self, dy, cache):
        u, _ = cache
        return dy - u * (u * dy).sum(axis=-1, keepdims=True), {}


class L2ForgetsEps(L2Normalize):
    def backward(self, dy, cache):
        u, n = cache
        n = np.sqrt(((u * n) ** 2).sum(axis=-1, keepdims=True))
        return (dy - u * (u * dy).sum(axis=-1, keepdims=True)) / n, {}


class L2UnitProjection(L2Normalize):
    def backward(self, dy, cache):
        u, n = cache
        e = u / np.sqrt((u * u).sum(axis=-1, keepdims=True))  # as if |u| were 1
        return (dy - e * (e * dy).sum(axis=-1, keepdims=True)) / n, {}


class L2WrongAxis(L2Normalize):
    def backward(self, dy, cache):
        u, n = cache
        return (dy - u * (u * dy).sum(axis=0, keepdims=True)) / n, {}


class L2ProjectionTwice(L2Normalize):
    def backward(self, dy, cache):
        u, n = cache
        return (dy - 2 * u * (u * dy).sum(axis=-1, keepdims=True)) / n, {}


class LeakyWrongSlope(LeakyReLU):
    def backward(self, dy, cache):
        return ops.leaky_relu_adjoint(dy, cache, 0.01), {}


class ReLUWrongSign(ReLU):
    def backward(self, dy, cache):
        return dy * (cache <= 0), {}


class ReLUMaskFromCotangent(ReLU):
    """Guided back-propagation: pretty pictures, not a gradient. With positive dy it is right."""

    def backward(self, dy, cache):
        return ops.leaky_relu_adjoint(dy, cache, 0.0) * (dy > 0), {}


class BatchNormForgetsMean(BatchNorm):
    def backward(self, dy, cache):
        (x_hat, dx_hat, sigma), grads = _of_batch(self, dy, cache), super().backward(dy, cache)[1]
        axes = tuple(range(dy.ndim - 1))
        return (dx_hat - x_hat * (x_hat * dx_hat).mean(axis=axes)) / sigma, grads


class BatchNormForgetsVariance(BatchNorm):
    def backward(self, dy, cache):
        (_, dx_hat, sigma), grads = _of_batch(self, dy, cache), super().backward(dy, cache)[1]
        return (dx_hat - dx_hat.mean(axis=tuple(range(dy.ndim - 1)))) / sigma, grads


class BatchNormAlwaysTrains(BatchNorm):
    def backward(self, dy, cache):
        return super().backward(dy, (*cache[:-1], True))


class BatchNormNeverTrains(BatchNorm):
    def backward(self, dy, cache):
        return super().backward(dy, (*cache[:-1], False))


class BatchNormBesselCorrected(BatchNorm):
    def backward(self, dy, cache):
        (x_hat, dx_hat, sigma), grads = _of_batch(self, dy, cache), super().backward(dy, cache)[1]
        projection = (x_hat * dx_hat).sum(axis=0) / (len(dy) - 1)
        return (dx_hat - dx_hat.mean(axis=0) - x_hat * projection) / sigma, grads


class BatchNormGammaWithoutXHat(BatchNorm):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx, {**grads, "gamma": grads["beta"]}


class BatchNormDropsGamma(BatchNorm):
    def backward(self, dy, cache):
        return super().backward(dy / self.gamma, cache)[0], super().backward(dy, cache)[1]


class LayerNormOverBatch(LayerNorm):
    def backward(self, dy, cache):
        x, grads = cache, super().backward(dy, cache)[1]
        sigma = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        x_hat, dx_hat = (x - x.mean(axis=-1, keepdims=True)) / sigma, self.gamma * dy
        projection = (x_hat * dx_hat).mean(axis=0)
        return (dx_hat - dx_hat.mean(axis=0) - x_hat * projection) / sigma, grads


def _of_batch(layer, dy, cache):
    """x̂, dx̂ and σ."""
    x, mean, sigma, _ = cache
    return (x - mean) / sigma, dy if layer.gamma is None else layer.gamma * dy, sigma


# case of the suite, mutant, block that must fail, a part of the report that must be there
MUTANTS: list[tuple[str, type[Layer], str, str]] = [
    ("l2normalize/rows", L2WithoutProjection, "x", "parallel to x along the last axis"),
    ("l2normalize/rows", L2WithoutDivision, "x", ""),
    ("l2normalize/rows", L2ForgetsEps, "x", ""),
    ("l2normalize/rows", L2UnitProjection, "x", "parallel to x along the last axis"),
    ("l2normalize/rows", L2WrongAxis, "x", ""),
    ("l2normalize/rows", L2ProjectionTwice, "x", "parallel to x along the last axis"),
    ("leakyrelu/plain", LeakyWrongSlope, "x", "wrong at every x < 0 and nowhere else"),
    ("relu/plain", ReLUWrongSign, "x", ""),
    ("relu/plain", ReLUMaskFromCotangent, "x", ""),
    ("batchnorm/train-affine", BatchNormForgetsMean, "x", "mean missing"),
    ("batchnorm/train", BatchNormForgetsMean, "x", "mean missing"),
    ("batchnorm/train-affine", BatchNormForgetsVariance, "x", "variance missing"),
    ("batchnorm/train-maps", BatchNormForgetsVariance, "x", "variance missing"),
    ("batchnorm/train", BatchNormBesselCorrected, "x", "variance missing"),
    ("batchnorm/eval", BatchNormAlwaysTrains, "x", "training and inference mixed up"),
    ("batchnorm/train", BatchNormNeverTrains, "x", "training and inference mixed up"),
    ("batchnorm/eval-affine", BatchNormGammaWithoutXHat, "gamma", ""),
    ("batchnorm/train-affine", BatchNormDropsGamma, "x", ""),
    ("layernorm/affine", LayerNormOverBatch, "x", ""),
]


@pytest.mark.parametrize(
    ("name", "mutant", "block", "text"), MUTANTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_wrong_backward_is_caught(name, mutant, block, text) -> None:
    assert_caught(name, mutant, block, text)


class Absolute(Layer):
    """y = |x|, with the gradient of y = x."""

    def forward(self, x, train=False):
        return np.abs(x), x

    def backward(self, dy, cache):
        return dy, {}


class TooPositive(Layer):
    """y = 2 x, with |dx|."""

    def forward(self, x, train=False):
        return 2 * x, None

    def backward(self, dy, cache):
        return np.abs(2 * dy), {}


@pytest.mark.parametrize(
    ("layer", "hint"),
    [
        (Absolute(), "the sign is wrong at every x < 0: the derivative of |·|"),
        (TooPositive(), "analytic = |numeric|"),
    ],
)
def test_a_lost_sign_has_a_hint(layer, hint, rng) -> None:
    assert hint in check_layer(layer, rng.standard_normal((5, 4))).worst.hint
