"""The paper's two networks (Section IV-A) for images of any size that their rules allow.

dense   H·W·C - 500 - 500 - 2000 - 10 - 2000 - 500 - 500 - H·W·C, LeakyReLU      (DEC, IDEC)
cae     convolutions 32@5×5/2, 64@5×5/2, 128@3×3/2, ReLU - 10 - mirrored         (DCEC)
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.layers import (
    AxisPadding,
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
    filters: tuple[int, ...] = (32, 64, 128)  # convolutional network only

    def __post_init__(self) -> None:
        _require_choice("model", self.model, ("cae", "dense"))
        _require_choice("norm", self.norm, ("none", "l2", "batch", "layer"))
        _require_choice("hidden_norm", self.hidden_norm, ("none", "batch", "layer"))
        require_counts("Architecture: input_shape", self.input_shape, 3)
        require_counts("Architecture: latent_dim", (self.latent_dim,), 1)
        require_counts("Architecture: hidden", self.hidden)
        require_counts("Architecture: filters", self.filters, 3)
        if not (math.isfinite(self.slope) and self.slope >= 0):
            raise ValueError(f"Architecture: slope is {self.slope} but expected a number ≥ 0")
        if self.norm == "layer" and self.latent_dim == 1:
            raise ValueError(
                "Architecture: latent_dim is 1 but norm is 'layer': every code would be zero"
            )
        if self.model == "cae":
            for axis, side in zip("HW", self.input_shape[:2], strict=True):
                if side % 4 or side < 8:
                    raise ValueError(
                        f"Architecture: input_shape is {self.input_shape}, but the convolutional "
                        "network gives back only images whose sides are multiples of 4 from 8 on "
                        f"(8, 12, 16, ...); {axis} is {side}: pad or resize "
                        "them, or take the model 'dense'"
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


def _weight_count(a: Architecture) -> int:
    """Return how many weights the encoder has, biases left out; no array is made."""
    if a.model == "dense":
        widths = (math.prod(a.input_shape), *a.hidden, a.latent_dim)
        return sum(i * o for i, o in pairwise(widths))
    (H, W, C), (f1, f2, f3) = a.input_shape, a.filters
    embedding = (H // 8) * (W // 8) * f3 * a.latent_dim
    return 5 * 5 * C * f1 + 5 * 5 * f1 * f2 + 3 * 3 * f2 * f3 + embedding


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
    """DCEC's network; the embedding and the output are linear.

    The third convolution takes a side of H/4 to ⌊H/8⌋. An even H/4 halves with "same"; an odd one
    would be rounded up, and doubled again would not fit: "valid" rounds it down, 7 -> 3 -> 7.
    """
    H, W, C = a.input_shape
    f1, f2, f3 = a.filters
    h, w = H // 8, W // 8
    inner = (_third_padding(H), _third_padding(W))
    encoder = [
        *make.hidden(make.conv(C, f1, 5), make.conv(f1, f2, 5), make.conv(f2, f3, 3, inner)),
        Reshape((h * w * f3,)),
        make.dense(h * w * f3, a.latent_dim),
    ]
    decoder = [
        *make.hidden(make.dense(a.latent_dim, h * w * f3)),
        Reshape((h, w, f3)),
        *make.hidden(make.deconv(f3, f2, 3, inner), make.deconv(f2, f1, 5)),
        make.deconv(f1, C, 5),
    ]
    return encoder, decoder


def _third_padding(side: int) -> AxisPadding:
    return "valid" if side % 8 else "same"


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
