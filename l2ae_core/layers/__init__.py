"""Layers: every map with its forward pass and its hand-written backward pass."""

from l2ae_core.layers.activation import Identity, LeakyReLU, ReLU, Tanh
from l2ae_core.layers.base import Cache, Layer, Params, Shape
from l2ae_core.layers.conv import Conv2d, ConvTranspose2d
from l2ae_core.layers.dense import Dense
from l2ae_core.layers.initialize import glorot_uniform
from l2ae_core.layers.normalize import BatchNorm, L2Normalize, LayerNorm
from l2ae_core.layers.padding import Axis, Padding
from l2ae_core.layers.reshape import Reshape
from l2ae_core.layers.sequential import Sequential

__all__ = [
    "Axis",
    "BatchNorm",
    "Cache",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Identity",
    "L2Normalize",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Padding",
    "Params",
    "ReLU",
    "Reshape",
    "Sequential",
    "Shape",
    "Tanh",
    "glorot_uniform",
]
