"""The paper's two networks (Section IV-A) for images of any size that their rules allow.

dense   H·W·C - 500 - 500 - 2000 - 10 - 2000 - 500 - 500 - H·W·C, LeakyReLU      (DEC, IDEC)
cae     convolutions 32@5×5/2, 64@5×5/2, 128@3×3/2, ReLU - 10 - mirrored         (DCEC)

Widths, and the number and size of the convolutions, may be others than the paper's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

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
    Padding,
    Params,
    ReLU,
    Reshape,
    Sequential,
)
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.networks.halvings import halvings
from l2ae_core.networks.parts import require_counts
from l2ae_core.readers import entry

ModelName: TypeAlias = Literal["cae", "dense"]
Norm: TypeAlias = Literal["none", "l2", "batch", "layer"]
HiddenNorm: TypeAlias = Literal["none", "batch", "layer"]

_TYPES: dict[str, tuple[type, ...]] = {  # of the fields as JSON
    "model": (str,),
    "input_shape": (list, tuple),
    "latent_dim": (int,),
    "norm": (str,),
    "hidden_norm": (str,),
    "affine": (bool,),
    "slope": (float,),
    "hidden": (list, tuple),
    "filters": (list, tuple),
    "kernels": (list, tuple),
}


@dataclass(frozen=True)
class Architecture:
    """What fixes a network up to its weights; all of it can be written as JSON.

    Raises ValueError, naming the field, for values that `build` has no network for.
    """

    model: ModelName
    input_shape: tuple[int, int, int]  # (H, W, C)
    latent_dim: int = 10  # D
    norm: Norm = "l2"  # of the embedding
    hidden_norm: HiddenNorm = "none"  # before every hidden activation
    affine: bool = False  # γ and β in the normalizations of both kinds
    slope: float = 0.01  # of LeakyReLU; dense network only
    hidden: tuple[int, ...] = (500, 500, 2000)  # dense network only
    filters: tuple[int, ...] = (32, 64, 128)  # channels; convolutional network only
    kernels: tuple[int, ...] = (5, 5, 3)  # sides of its kernels, one a number of filters

    def __post_init__(self) -> None:
        _require_choice("model", self.model, ("cae", "dense"))
        _require_choice("norm", self.norm, ("none", "l2", "batch", "layer"))
        _require_choice("hidden_norm", self.hidden_norm, ("none", "batch", "layer"))
        require_counts("Architecture: input_shape", self.input_shape, 3)
        require_counts("Architecture: latent_dim", (self.latent_dim,), 1)
        require_counts("Architecture: hidden", self.hidden)
        require_counts("Architecture: filters", self.filters)
        require_counts("Architecture: kernels", self.kernels)
        if not len(self.filters) == len(self.kernels) > 0:
            raise ValueError(
                f"Architecture: filters is {self.filters} and kernels is {self.kernels} but "
                "expected one kernel for each number of filters, and at least one"
            )
        if not (math.isfinite(self.slope) and self.slope >= 0):
            raise ValueError(f"Architecture: slope is {self.slope} but expected a number ≥ 0")
        if self.norm == "layer" and self.latent_dim == 1:
            raise ValueError(
                "Architecture: latent_dim is 1 but norm is 'layer': every code would be zero"
            )
        if self.model == "cae":
            self._require_sides()

    def _require_sides(self) -> None:
        least = least_side(self.filters)
        for axis, side in zip("HW", self.input_shape[:2], strict=True):
            if side < least:
                raise ValueError(
                    f"Architecture: input_shape is {self.input_shape}, but the convolutional "
                    f"network halves a side {len(self.filters)} times and takes sides from {least} "
                    f"on; {axis} is {side}: pad or enlarge the images, take fewer filters, or the "
                    "model 'dense'"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, tuples as lists."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; ValueError for a name that is no field or when one is missing."""
        unknown = set(values) - {field.name for field in fields(cls)}
        missing = {"model", "input_shape"} - set(values)
        if unknown or missing:
            raise ValueError(
                f"Architecture.from_dict: unknown fields {sorted(unknown)}, missing fields "
                f"{sorted(missing)}"
            )
        for name in values:
            entry(values, name, *_TYPES[name], where="Architecture.from_dict")
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**arguments)


def least_side(filters: Sequence[int]) -> int:
    """Return the least side of images that so many convolutions of stride 2 take."""
    return 1 << len(filters)


def build(
    architecture: Architecture, rng: Generator, dtype: npt.DTypeLike = np.float32
) -> AutoEncoder:
    """Return the network with Glorot-uniform weights, drawn in layer order, and zero biases."""
    a, make = architecture, _Make(architecture, rng, dtype)
    encoder, decoder = _dense(a, make) if a.model == "dense" else _convolutional(a, make)
    return AutoEncoder(
        Sequential(encoder, a.input_shape),
        make.normalization(a.norm, a.latent_dim),
        Sequential(decoder, (a.latent_dim,)),
    )


def require_weights(architecture: Architecture, params: Params) -> None:
    """Raise ValueError when `params` hold fewer numbers than the encoder has weights.

    A network that a file cannot fill is not made in the first place: it may not fit in memory.
    """
    held, weights = sum(a.size for a in params.values()), _weight_count(architecture)
    if held < weights:
        raise ValueError(f"params hold {held:,} numbers but the encoder alone has {weights:,}")


def parameter_count(a: Architecture) -> int:
    """Return how many parameters the network has; none of its arrays is made."""
    pixels = math.prod(a.input_shape)
    if a.model == "dense":
        down, up, output = a.hidden, a.hidden[::-1], pixels
    else:
        *_, last = halvings(a.input_shape[:2], a.kernels)
        up = (math.prod(last.size) * a.filters[-1], *a.filters[-2::-1])
        down, output = a.filters, a.input_shape[2]
    hidden = sum(down) + sum(up)
    scaled = a.affine and a.hidden_norm != "none"
    affine = 2 * hidden * scaled + 2 * a.latent_dim * (a.affine and a.norm in ("batch", "layer"))
    return 2 * _weight_count(a) + hidden + a.latent_dim + output + affine


def _weight_count(a: Architecture) -> int:
    """Return how many weights the encoder has, biases left out; no array is made."""
    if a.model == "dense":
        widths = (math.prod(a.input_shape), *a.hidden, a.latent_dim)
        return sum(i * o for i, o in pairwise(widths))
    H, W, C = a.input_shape
    channels = (C, *a.filters)
    kernels = sum(k * k * i * o for k, (i, o) in zip(a.kernels, pairwise(channels), strict=True))
    *_, last = halvings((H, W), a.kernels)
    return kernels + math.prod(last.size) * a.filters[-1] * a.latent_dim


def _dense(a: Architecture, make: "_Make") -> tuple[list[Layer], list[Layer]]:
    """The dense network of DEC and IDEC; the embedding and the output are linear."""
    pixels = math.prod(a.input_shape)
    down = (pixels, *a.hidden, a.latent_dim)
    *encoder, embedding = [make.dense(i, o) for i, o in pairwise(down)]
    *decoder, output = [make.dense(i, o) for i, o in pairwise(down[::-1])]
    return (
        [Reshape((pixels,)), *make.hidden(*encoder), embedding],
        [*make.hidden(*decoder), output, Reshape(a.input_shape)],
    )


def _convolutional(a: Architecture, make: "_Make") -> tuple[list[Layer], list[Layer]]:
    """DCEC's network with any number of convolutions; the embedding and the output are linear."""
    H, W, C = a.input_shape
    maps = list(zip(pairwise((C, *a.filters)), a.kernels, halvings((H, W), a.kernels), strict=True))
    *_, (_, _, last) = maps
    code = math.prod(last.size) * a.filters[-1]
    convs = [make.conv(i, o, kernel, at.padding) for (i, o), kernel, at in maps]
    encoder = [
        *make.hidden(*convs), Reshape((code,)), make.dense(code, a.latent_dim),
    ]  # fmt: skip
    first = make.hidden(make.dense(a.latent_dim, code))
    *deconvs, output = [make.deconv(o, i, kernel, at.mirror) for (i, o), kernel, at in maps[::-1]]
    decoder = [*first, Reshape((*last.size, a.filters[-1])), *make.hidden(*deconvs), output]
    return encoder, decoder


@dataclass(frozen=True)
class _Make:
    """Makes the layers of one network from one stream of random weights."""

    architecture: Architecture
    rng: Generator
    dtype: npt.DTypeLike

    def dense(self, inputs: int, outputs: int) -> Dense:
        return Dense.glorot(inputs, outputs, self.rng, self.dtype)

    def conv(self, inputs: int, outputs: int, kernel: int, padding: Padding = "same") -> Conv2d:
        return Conv2d.glorot(
            inputs, outputs, kernel, self.rng, stride=2, padding=padding, dtype=self.dtype
        )

    def deconv(
        self, inputs: int, outputs: int, kernel: int, padding: Padding = "same"
    ) -> ConvTranspose2d:
        return ConvTranspose2d.glorot(
            inputs, outputs, kernel, self.rng, stride=2, padding=padding, dtype=self.dtype
        )

    def hidden(self, *linear: Dense | Conv2d | ConvTranspose2d) -> list[Layer]:
        """Return the linear layers, each followed by its normalization, if any, and activation."""
        a = self.architecture
        layers: list[Layer] = []
        for layer in linear:
            layers.append(layer)
            if a.hidden_norm != "none":
                layers.append(self.normalization(a.hidden_norm, len(layer.b)))
            layers.append(ReLU() if a.model == "cae" else LeakyReLU(a.slope))
        return layers

    def normalization(self, norm: Norm, features: int) -> Layer:
        """Return the layer that `norm` names, for vectors or maps of `features`."""
        affine = self.architecture.affine
        if norm == "batch":
            return BatchNorm.create(features, affine, self.dtype)
        if norm == "layer":
            return LayerNorm.create(features, affine, self.dtype)
        return L2Normalize() if norm == "l2" else Identity()


def _require_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Architecture: {field} is {value!r} but expected one of {choices}")
