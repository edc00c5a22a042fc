"""How the cases of the suite are made: a layer, a function or a network, and where to check it.

The guards are exaggerated and nothing is left at a special value: ε is 0.1, weights, biases, γ, β
and running statistics are random, batches and images are small and ragged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

from l2ae_core.gradcheck.check import check_function, check_layer
from l2ae_core.gradcheck.report import Report
from l2ae_core.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    L2Normalize,
    Layer,
    LayerNorm,
    LeakyReLU,
    Padding,
    Reshape,
    Sequential,
)
from l2ae_core.networks.architectures import Architecture, HiddenNorm, Norm, build
from l2ae_core.training.loss import Reduction, reconstruction_loss
from l2ae_kernels.arrays import Array

EPS = 0.1  # of the normalizations: large enough for a forgotten ε to show
NETWORK_ENTRIES = 40  # larger blocks of a network are checked along random directions
SHAPE = (12, 8, 1)  # of a network's images, which are not square
SEED = 0


@dataclass(frozen=True, eq=False)
class LayerCase:
    """A layer and where to check it."""

    layer: Layer
    x: Array  # (N, ...)
    train: bool = False
    expect_zero: tuple[str, ...] = ()
    entries: int = 256

    def check(self, name: str, methods: Sequence[str]) -> Report:
        """Return the report of this case."""
        return check_layer(
            self.layer, self.x, train=self.train, methods=methods, entries=self.entries,
            expect_zero=self.expect_zero, rng=SEED, name=name,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FunctionCase:
    """A scalar function, its gradient, and where to check them."""

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    x: Array | Mapping[str, Array]
    entries: int = 256

    def check(self, name: str, methods: Sequence[str]) -> Report:
        """Return the report of this case."""
        return check_function(
            self.f, self.gradient, self.x, methods=methods, entries=self.entries, rng=SEED,
            name=name,
        )  # fmt: skip


Case = LayerCase | FunctionCase
Builder = Callable[[Generator], Case]


def case_of(
    layer: Layer, shape: tuple[int, ...], rng: Generator, train: bool = False, **more: Any
) -> LayerCase:
    """Return the case of a layer in float64 with every array shaken off its special values."""
    layer = layer.astype(np.float64)
    for array in (*layer.params.values(), *layer.state.values()):
        array += 0.3 * rng.uniform(-1, 1, array.shape)
    return LayerCase(layer, rng.standard_normal(shape), train, **more)


def dense(rng: Generator) -> Case:
    """A dense layer."""
    return case_of(Dense.glorot(7, 3, rng), (5, 7), rng)


def conv(
    kernel: tuple[int, int],
    stride: int | tuple[int, int],
    padding: Padding,
    size: tuple[int, int],
    transposed: bool = False,
) -> Builder:
    """A convolution of images of `size`, or a transposed one of maps of `size`."""

    def builder(rng: Generator) -> Case:
        make, C, K = (ConvTranspose2d.glorot, 3, 2) if transposed else (Conv2d.glorot, 2, 3)
        layer = make(C, K, kernel, rng, stride=stride, padding=padding)
        return case_of(layer, (2, *size, C), rng)

    return builder


deconv = partial(conv, transposed=True)


def on_kinks(layer: Layer) -> Builder:
    """Some units sit on their kink, some within a step of it: they have to be left out."""

    def builder(rng: Generator) -> Case:
        case = case_of(layer, (4, 9), rng)
        case.x[1, :4] = [0.0, 3e-6, -3e-6, 0.0]
        return case

    return builder


def l2(shape: tuple[int, ...], zero_row: bool = False) -> Builder:
    """Rows of any lengths, one of them 0 on demand."""

    def builder(rng: Generator) -> Case:
        case = case_of(L2Normalize(EPS), shape, rng)
        if zero_row:
            case.x[0] = 0
        return case

    return builder


def batch_norm(shape: tuple[int, ...], affine: bool, train: bool) -> Builder:
    """With running statistics that are not those of the batch."""

    def builder(rng: Generator) -> Case:
        layer = BatchNorm.create(shape[-1], affine)
        layer.eps = EPS
        return case_of(layer, shape, rng, train)

    return builder


def layer_norm(shape: tuple[int, ...], affine: bool) -> Builder:
    """Over the last axis of vectors or maps."""

    def builder(rng: Generator) -> Case:
        layer = LayerNorm.create(shape[-1], affine)
        layer.eps = EPS
        return case_of(layer, shape, rng)

    return builder


def sequential(rng: Generator) -> Case:
    """Layers of several kinds, one after the other."""
    layers: list[Layer] = [
        Conv2d.glorot(1, 2, 3, rng, stride=2),
        LeakyReLU(0.2),
        Reshape((18,)),
        Dense.glorot(18, 4, rng),
        L2Normalize(EPS),
    ]
    return case_of(Sequential(layers, (5, 5, 1)), (3, 5, 5, 1), rng)


def loss(reduction: Reduction) -> Builder:
    """Eq. 3."""

    def builder(rng: Generator) -> Case:
        x = rng.standard_normal((3, 4, 4, 1))
        return FunctionCase(
            lambda x_hat: reconstruction_loss(x_hat, x, reduction)[0],
            lambda x_hat: reconstruction_loss(x_hat, x, reduction)[1],
            rng.standard_normal(x.shape),
        )

    return builder


def network(
    model: Literal["cae", "dense"],
    norm: Norm,
    hidden_norm: HiddenNorm = "none",
    affine: bool = False,
    train: bool = False,
    shape: tuple[int, int, int] = SHAPE,
) -> Builder:
    """A small network of the paper with random parameters."""

    def builder(rng: Generator) -> Case:
        architecture = Architecture(
            model, shape, latent_dim=4, norm=norm, hidden_norm=hidden_norm, affine=affine,
            hidden=(6, 5), filters=(2, 3, 4),
        )  # fmt: skip
        network = build(architecture, rng)
        expect_zero: tuple[str, ...] = ()
        parts = [*network.encoder.layers, network.normalize, *network.decoder.layers]
        for layer in parts:
            if isinstance(layer, L2Normalize | BatchNorm | LayerNorm):
                layer.eps = EPS
        if train:
            expect_zero = _biases_before_batch_norm(parts, len(network.encoder.layers))
        return case_of(
            network, (5, *shape), rng, train, expect_zero=expect_zero, entries=NETWORK_ENTRIES
        )

    return builder


def _biases_before_batch_norm(parts: list[Layer], encoder_length: int) -> tuple[str, ...]:
    """Return the biases that the batch mean takes away again."""
    return tuple(
        f"encoder.{i}.b" if i < encoder_length else f"decoder.{i - encoder_length - 1}.b"
        for i, layer in enumerate(parts[:-1])
        if isinstance(parts[i + 1], BatchNorm) and "b" in layer.params
    )
