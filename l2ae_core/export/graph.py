"""Layers as nodes of an ONNX graph: standard operators of opset 17, float32.

Images come in as (N, H, W, C). Convolutions of ONNX take (N, C, H, W), so feature maps are
transposed before the first of a row of them and after the last; the kernels with them:

    Conv2d            Conv             W (kh, kw, C, K) → (K, C, kh, kw)
    ConvTranspose2d   ConvTranspose    W (kh, kw, OUT, IN) → (IN, OUT, kh, kw)
    Dense             Gemm             x W + b
    BatchNorm         BatchNormalization, by the running statistics
    LayerNorm         LayerNormalization over the last axis, C
    L2Normalize       z / √(Σ z² + ε²), by elementwise operators                         Eq. 4

Padding is explicit, (before, after) on each axis, since "same" at stride 2 is not symmetric.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Identity,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Reshape,
    Sequential,
    Shape,
    Tanh,
)
from l2ae_core.layers.base import is_exactly
from l2ae_kernels.arrays import Array

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


class Graph:
    """Nodes and constants, added one by one; every method returns the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.channels_first = False  # whether the map that is worked on is (N, C, H, W)

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator with one output, `name`, by default one that tells its position."""
        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        array = np.array(value, dtype, order="C", copy=True, subok=False)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def channels_last_map(self, x: str) -> str:
        """Transpose x back to (N, H, W, C) where it is not so."""
        if not self.channels_first:
            return x
        self.channels_first = False
        return self.node("Transpose", x, perm=TO_LAST)

    def channels_first_map(self, x: str) -> str:
        """Transpose x to (N, C, H, W) where it is not so."""
        if self.channels_first:
            return x
        self.channels_first = True
        return self.node("Transpose", x, perm=TO_FIRST)

    def add_layers(self, part: str, layers: Sequential, x: str) -> str:
        """Add the layers of a part of the network, the result (N, D) or (N, H, W, C)."""
        shapes = layers.shapes()
        for i, layer in enumerate(layers.layers):
            x = self.add_layer(f"{part}.{i}", layer, x, shapes[i], shapes[i + 1])
        return self.channels_last_map(x)

    def add_layer(self, name: str, layer: Layer, x: str, before: Shape, after: Shape) -> str:
        """Add a layer; ValueError for one that no operator is written down for."""
        add = ADD.get(type(layer))
        if add is not None and is_exactly(layer, type(layer)):
            return add(self, name, layer, x, before, after)
        raise ValueError(f"export: there is no operator for the layer {name} {layer}")


def _identity(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    return x


def _relu(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    return g.node("Relu", x)


def _leaky_relu(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    return g.node("LeakyRelu", x, alpha=float(layer.slope))


def _tanh(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    return g.node("Tanh", x)


def _reshape(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    """0 in the place of N keeps it, also where there is no image at all."""
    x = g.channels_last_map(x)
    return g.node("Reshape", x, g.constant(f"{name}.shape", (0, *after), np.int64))


def _dense(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    return g.node("Gemm", x, g.constant(f"{name}.W", layer.W), g.constant(f"{name}.b", layer.b))


def _conv(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    stride, ((top, bottom), (left, right)) = layer.geometry(before[:2])
    x = g.channels_first_map(x)
    return g.node(
        "Conv", x, *_kernel(g, name, layer), kernel_shape=layer.W.shape[:2], strides=stride,
        pads=(top, left, bottom, right),
    )  # fmt: skip


def _conv_transpose(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    """A side of the output is s (I − 1) + k, less what is cut on both ends, or more behind."""
    stride, zeros = layer.geometry(after[:2])
    fronts, backs, added = [], [], []
    for i in range(2):
        (front, _), full = zeros[i], stride[i] * (before[i] - 1) + layer.W.shape[i]
        behind = full - front - after[i]
        fronts.append(front)
        backs.append(max(behind, 0))
        added.append(max(-behind, 0))
    x = g.channels_first_map(x)
    return g.node(
        "ConvTranspose", x, *_kernel(g, name, layer), kernel_shape=layer.W.shape[:2],
        strides=stride, pads=(*fronts, *backs), output_padding=added,
    )  # fmt: skip


def _kernel(g: Graph, name: str, layer: Any) -> tuple[str, str]:
    W = g.constant(f"{name}.W", layer.W.transpose(3, 2, 0, 1))
    return W, g.constant(f"{name}.b", layer.b)


def _l2_normalize(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    """n = √(Σ z² + ε²); LpNormalization of ONNX has no ε."""
    squares = sum_of_squares(g, x, keepdims=1)
    guarded = g.node("Add", squares, g.constant(f"{name}.eps2", layer.eps**2))
    return g.node("Div", x, g.node("Sqrt", guarded))


def _batch_norm(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    if len(before) == 3:
        x = g.channels_first_map(x)
    statistics = layer.running_mean, layer.running_var
    mean, variance = (
        g.constant(f"{name}.{what}", a)
        for what, a in zip(("mean", "variance"), statistics, strict=True)
    )
    gamma, beta = _affine(g, name, layer, before[-1])
    return g.node("BatchNormalization", x, gamma, beta, mean, variance, epsilon=layer.eps)


def _layer_norm(g: Graph, name: str, layer: Any, x: str, before: Shape, after: Shape) -> str:
    x = g.channels_last_map(x)
    return g.node(
        "LayerNormalization", x, *_affine(g, name, layer, before[-1]), axis=-1, epsilon=layer.eps
    )


def _affine(g: Graph, name: str, layer: Any, features: int) -> tuple[str, str]:
    """γ and β, 1 and 0 where the layer has none."""
    gamma: Array = np.ones(features) if layer.gamma is None else layer.gamma
    beta: Array = np.zeros(features) if layer.beta is None else layer.beta
    return g.constant(f"{name}.gamma", gamma), g.constant(f"{name}.beta", beta)


def sum_of_squares(g: Graph, x: str, axes: Sequence[int] = (-1,), keepdims: int = 0) -> str:
    """Σ x² over `axes`."""
    squares = g.node("Mul", x, x)
    named = g.constant(f"axes_{len(g.nodes)}", axes, np.int64)
    return g.node("ReduceSum", squares, named, keepdims=keepdims)


ADD: dict[type[Layer], Callable[[Graph, str, Any, str, Shape, Shape], str]] = {
    Identity: _identity,
    ReLU: _relu,
    LeakyReLU: _leaky_relu,
    Tanh: _tanh,
    Reshape: _reshape,
    Dense: _dense,
    Conv2d: _conv,
    ConvTranspose2d: _conv_transpose,
    L2Normalize: _l2_normalize,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
}
