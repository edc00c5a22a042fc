"""A network as the stages of a compiled training step: products, normalizations, activations.

    images ─stage 0→ v_1 ─stage 1→ v_2 … ─stage L−1→ reconstruction

Every stage is a Linear or a Standardize with the activation after it, or a Normalize. Reshape and
Identity change no memory and vanish.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias, TypeGuard

from l2ae_core.layers import (
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
)
from l2ae_core.layers.base import is_exactly
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_kernels.arrays import Array
from l2ae_kernels.geometry import Geometry

# (first, u) -> du: what a second loss, on the codes u (n, D) of the samples first, first + 1, … of
# a batch, adds to their gradient. A step calls it once for each sample, maybe from several threads.
LatentGrad: TypeAlias = Callable[[int, Array], Array]


@dataclass(frozen=True)
class Linear:
    """Dense, Conv2d or ConvTranspose2d, then x ↦ x where x > 0, slope · x elsewhere."""

    name: str  # of its parameters: "encoder.3"
    layer: Dense | Conv2d | ConvTranspose2d
    input_shape: Shape
    output_shape: Shape
    slope: float = 1.0  # 1: no activation

    @property
    def geometry(self) -> Geometry:
        """That of the correlation, which a transposed convolution goes against; dense: 1×1."""
        if isinstance(self.layer, Dense):
            inputs, outputs = self.layer.W.shape
            return Geometry(1, 1, inputs, 1, 1, outputs, 1, 1, 1, 1, 0, 0)
        x, y = self.input_shape, self.output_shape
        if isinstance(self.layer, ConvTranspose2d):
            x, y = y, x
        stride, padding = self.layer.geometry((x[0], x[1]))
        return Geometry.of(x, y, self.layer.W.shape[:2], stride, padding)


@dataclass(frozen=True)
class Normalize:
    """u = z / √(|z|² + ε²)."""

    input_shape: Shape
    eps: float

    @property
    def output_shape(self) -> Shape:
        """That of the input."""
        return self.input_shape

    @property
    def guard(self) -> float:
        """What is added under the root."""
        return self.eps**2

    @property
    def D(self) -> int:
        """The size of a row."""
        return self.input_shape[0]

    slope = 1.0  # it has no activation
    rows = 1  # of a sample


@dataclass(frozen=True)
class Standardize:
    """LayerNorm, then x ↦ x where x > 0, slope · x elsewhere."""

    name: str  # of its parameters
    layer: LayerNorm
    input_shape: Shape
    slope: float = 1.0  # 1: no activation

    @property
    def output_shape(self) -> Shape:
        """That of the input."""
        return self.input_shape

    @property
    def guard(self) -> float:
        """What is added under the root."""
        return self.layer.eps

    @property
    def affine(self) -> bool:
        """Whether it has parameters."""
        return self.layer.gamma is not None

    @property
    def D(self) -> int:
        """The size of a row."""
        return self.input_shape[-1]

    @property
    def rows(self) -> int:
        """How many rows a sample has."""
        return prod(self.input_shape[:-1])


Stage: TypeAlias = Linear | Normalize | Standardize


def stages_of(model: AutoEncoder) -> list[Stage] | None:
    """Return the stages of a network, None when it has a layer that no stage can do.

    BatchNorm is one: it needs the whole batch at once. Others: a normalization right after an
    activation, an activation that follows neither product nor LayerNorm or that makes the images, a
    layer or model of one's own: a class that overrides something has another formula.
    """
    if not is_exactly(model, AutoEncoder):
        return None
    stages: list[Stage] = []
    shape = model.input_shape
    for name, layer in _named_layers(model):
        after = layer.output_shape(shape)
        last = stages[-1] if stages else None
        if is_exactly(layer, Dense, Conv2d, ConvTranspose2d):
            stages.append(Linear(name, layer, shape, after))  # type: ignore[arg-type]
        elif is_exactly(layer, ReLU, LeakyReLU) and _takes_activation(last):
            stages[-1] = replace(last, slope=getattr(layer, "slope", 0.0))
        elif is_exactly(layer, L2Normalize) and len(shape) == 1 and last and last.slope == 1.0:
            stages.append(Normalize(shape, layer.eps))  # type: ignore[attr-defined]
        elif is_exactly(layer, LayerNorm) and last and last.slope == 1.0:
            stages.append(Standardize(name, layer, shape))  # type: ignore[arg-type]
        elif not is_exactly(layer, Reshape, Identity):
            return None
        shape = after
    usable = bool(stages) and all(isinstance(s, Linear) for s in (stages[0], stages[-1]))
    usable = usable and stages[-1].slope == 1.0  # the loss has no gate for an activation
    return stages if usable and prod(shape) == prod(model.input_shape) else None


def _takes_activation(stage: Stage | None) -> TypeGuard[Linear | Standardize]:
    return isinstance(stage, Linear | Standardize) and stage.slope == 1.0


def code_stage(stages: list[Stage]) -> int | None:
    """Return the stage whose input is the code u; None when an activation stands right before it.

    The gradient of such a code would have to pass the gate, and there may be no code at all: an
    activation that the decoder begins with is a part of the stage before it, too.
    """
    first = next(
        i for i, s in enumerate(stages) if isinstance(s, Linear) and s.name.startswith("decoder.")
    )
    return first if stages[first - 1].slope == 1.0 else None


def attributes_within(model: AutoEncoder) -> list[object]:
    """Return all layers, their classes and what their attributes hold, the model's first.

    Two such lists of the same objects belong to the same stages.
    """
    held: list[object] = []
    within: list[object] = [model]
    for part in within:  # which grows
        held += (part, type(part), *vars(part).values())
        if type(part) is Sequential:
            within += part.layers
        elif part is model:
            within += (model.encoder, model.normalize, model.decoder)
    return held


def _named_layers(model: AutoEncoder) -> list[tuple[str, Layer]]:
    """Every layer with the name that its parameters have in `model.params`."""
    return [
        *_inside("encoder", model.encoder),
        ("normalize", model.normalize),
        *_inside("decoder", model.decoder),
    ]


def _inside(name: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    """The layers of a Sequential; whatever else there is, and a class derived from it, is one."""
    if is_exactly(layer, Sequential):
        for i, part in enumerate(layer.layers):  # type: ignore[attr-defined]
            yield from _inside(f"{name}.{i}", part)
    else:
        yield name, layer
