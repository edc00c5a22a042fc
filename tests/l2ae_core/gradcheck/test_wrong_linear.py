"""Evidence that the checker works: wrong dense, convolution, reshape and sequential layers.

Each mutant breaks one line of a layer of the suite. The right layer must pass at the same point,
and the mutant must fail in the block that it spoils.
"""

from typing import Any

import numpy as np
import pytest

from l2ae_core.gradcheck import check as check_module
from l2ae_core.gradcheck import check_layer
from l2ae_core.gradcheck.cases import case_of
from l2ae_core.layers import (
    Conv2d,
    ConvTranspose2d,
    Dense,
    Identity,
    L2Normalize,
    Layer,
    LeakyReLU,
    Reshape,
    Sequential,
)
from l2ae_kernels import ops

from .mutants import assert_caught, layer_case, mutate


def move(padding: Any) -> Any:
    return tuple((before + 1, after - 1) for before, after in padding)


class ConvDxPaddingOffByOne(Conv2d):
    def backward(self, dy, cache):
        size = cache.shape[1:3]
        stride, padding = self.geometry(size)
        dx = ops.correlate_adjoint_x(
            dy, self.W, None, image_size=size, stride=stride, padding=move(padding)
        )
        return dx, self.weight_grads(dy, cache)


class ConvDWPaddingOffByOne(Conv2d):
    def weight_grads(self, dy, cache):
        stride, padding = self.geometry(cache.shape[1:3])
        dW = ops.correlate_adjoint_W(
            cache, dy, kernel_size=self.W.shape[:2], stride=stride, padding=move(padding)
        )
        return {"W": dW, "b": dy.sum(axis=(0, 1, 2))}


class DeconvSwappedPadding(ConvTranspose2d):
    def backward(self, dy, cache):
        stride, padding = self.geometry(dy.shape[1:3])
        swapped = tuple((after, before) for before, after in padding)
        return ops.correlate(dy, self.W, None, stride=stride, padding=swapped), self.weight_grads(
            dy, cache
        )


class ConvBiasOfLastSample(Conv2d):
    def weight_grads(self, dy, cache):
        return {**super().weight_grads(dy, cache), "b": dy[-1].sum(axis=(0, 1))}


class DenseBiasAveraged(Dense):
    def weight_grads(self, dy, cache):
        return {**super().weight_grads(dy, cache), "b": dy.mean(axis=0)}


class ConvBiasAveraged(Conv2d):
    def weight_grads(self, dy, cache):
        return {**super().weight_grads(dy, cache), "b": dy.mean(axis=(0, 1, 2))}


class ConvTransposedKernel(Conv2d):
    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        return {**grads, "W": grads["W"].transpose(1, 0, 2, 3).copy()}


class ConvFlippedKernel(Conv2d):
    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        return {**grads, "W": grads["W"][::-1, ::-1].copy()}


class ConvDxFlippedKernel(Conv2d):
    def backward(self, dy, cache):
        flipped = Conv2d(self.W[::-1, ::-1].copy(), self.b, self.stride, self.padding)
        return flipped.backward(dy, cache)[0], self.weight_grads(dy, cache)


class ConvIgnoresBorder(Conv2d):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        dx[:, 0] = 0
        return dx, grads


class ReshapeFortran(Reshape):
    def backward(self, dy, cache):
        return dy.reshape(cache, order="F").copy(order="C"), {}


class SequentialDropsGrads(Sequential):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx, {name: g for name, g in grads.items() if not name.startswith("3.")}


class SequentialWrongKeys(Sequential):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx, {name.replace("3.", "1."): g for name, g in grads.items()}


class SequentialSkipsActivation(Sequential):
    def backward(self, dy, cache):
        kept = list(self.layers)
        kept[1] = Identity()
        return Sequential(kept, self.input_shape).backward(dy, cache)


class DenseFlipsSign(Dense):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return -dx, grads


class DenseZeroGradient(Dense):
    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        return {**grads, "W": np.zeros_like(grads["W"])}


class DenseBroadcastShape(Dense):
    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        return {**grads, "b": grads["b"][None]}


class DenseSinglePrecision(Dense):
    def backward(self, dy, cache):
        dx, grads = super().backward(dy, cache)
        return dx.astype(np.float32), grads


class DenseOneWrongEntry(Dense):
    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        grads["W"][4, 1] *= 1.01
        return grads


class DenseSlightlyOff(Dense):
    """Wrong by 1e-7: below what central differences see, far above what a complex step sees."""

    def weight_grads(self, dy, cache):
        grads = super().weight_grads(dy, cache)
        return {**grads, "W": grads["W"] * (1 + 1e-7)}


class DenseMeanOverOutputs(Dense):
    """Spreads dy evenly over the outputs: nobody would see it with a cotangent of ones."""

    def backward(self, dy, cache):
        return super().backward(np.broadcast_to(dy.mean(), dy.shape).copy(), cache)


# case of the suite, mutant, block that must fail, a part of the report that must be there
MUTANTS: list[tuple[str, type[Layer], str, str]] = [
    ("conv2d/3x3-s1-same", ConvDxPaddingOffByOne, "x", "moved by"),
    ("conv2d/3x3-s1-same", ConvDWPaddingOffByOne, "W", "moved by"),
    ("conv2d/5x5-s2-same", ConvDxPaddingOffByOne, "x", ""),
    ("convtranspose2d/5x5-s2-same", DeconvSwappedPadding, "x", ""),
    ("conv2d/3x3-s1-same", ConvBiasOfLastSample, "b", "only sample 1 contributes"),
    ("dense", DenseBiasAveraged, "b", "the batch size"),
    ("conv2d/3x3-s1-same", ConvBiasAveraged, "b", "a missing factor"),
    ("conv2d/3x3-s1-same", ConvTransposedKernel, "W", "transposed to (1, 0, 2, 3)"),
    ("conv2d/3x3-s1-same", ConvFlippedKernel, "W", "flipped along (0, 1)"),
    ("conv2d/3x3-s1-same", ConvDxFlippedKernel, "x", ""),
    ("conv2d/3x3-s1-same", ConvIgnoresBorder, "x", "index 0 of axis 1 (the border"),
    ("reshape", ReshapeFortran, "x", "in another order"),
    ("sequential", SequentialDropsGrads, "3.W", "there is no gradient '3.W'"),
    ("sequential", SequentialWrongKeys, "1.W", "a gradient '1.W' of nothing"),
    ("sequential", SequentialSkipsActivation, "0.W", ""),
    ("dense", DenseFlipsSign, "x", "the sign is flipped"),
    ("dense", DenseZeroGradient, "W", "the analytic gradient is zero"),
    ("dense", DenseBroadcastShape, "b", "gradient is (1, 3) but b is (3,)"),
    ("dense", DenseSinglePrecision, "x", "gradient is float32"),
    ("dense", DenseOneWrongEntry, "W", "[4,1]"),
    ("dense", DenseSlightlyOff, "W", "a missing factor"),
    ("dense", DenseMeanOverOutputs, "x", ""),
]


@pytest.mark.parametrize(
    ("name", "mutant", "block", "text"), MUTANTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_wrong_backward_is_caught(name, mutant, block, text) -> None:
    assert_caught(name, mutant, block, text)


def test_only_the_complex_step_sees_a_tiny_factor() -> None:
    right = layer_case("dense")
    report = check_layer(mutate(right.layer, DenseSlightlyOff), right.x)
    verdicts = {row.method: row.verdict for row in report.rows if row.block == "W"}
    assert verdicts == {"central": "ok", "complex": "WRONG"}


def test_a_cotangent_of_ones_would_let_a_wrong_backward_pass(monkeypatch) -> None:
    right = layer_case("dense")
    wrong = mutate(right.layer, DenseMeanOverOutputs)
    assert not check_layer(wrong, right.x).ok
    monkeypatch.setattr(check_module, "cotangents", lambda rng, shape: np.ones((2, *shape)))
    monkeypatch.setattr(check_module, "OUTPUTS", 0)
    assert check_layer(wrong, right.x).ok


def test_a_wrong_backward_inside_a_network_names_its_block() -> None:
    rng = np.random.default_rng(3)
    layers = [Dense.glorot(60, 8, rng), LeakyReLU(0.3), Dense.glorot(8, 5, rng)]
    layers[2] = mutate(layers[2], DenseOneWrongEntry)
    network = case_of(Sequential([*layers, L2Normalize(0.1)], (60,)), (6, 60), rng)
    report = check_layer(network.layer, network.x)
    assert {row.block for row in report.rows if not row.passed} == {"2.W"}
    assert report.worst.index == (4, 1)


class Untransposed(Dense):
    def backward(self, dy, cache):
        return dy @ self.W, self.weight_grads(dy, cache)


def test_a_missing_transpose_has_a_hint_and_another_mistake_has_not(rng) -> None:
    layer, x = Untransposed.glorot(4, 4, rng), rng.standard_normal((5, 4))
    assert "a missing transpose" in check_layer(layer, x).worst.hint
    layer.W = layer.W + layer.W.T  # dy @ W is right
    check_layer(layer, x).raise_if_bad()


def test_wrong_samples_of_a_symmetric_layer_are_no_missing_transpose(rng) -> None:
    class LaterSamples(Dense):
        def backward(self, dy, cache):
            dx, grads = super().backward(dy, cache)
            dx[1:] **= 3
            return dx, grads

    layer = LaterSamples.glorot(4, 4, rng)
    layer.W = layer.W + layer.W.T
    report = check_layer(layer, rng.standard_normal((5, 4)))
    assert report.worst.verdict == "WRONG"
    assert "transpose" not in report.worst.hint
