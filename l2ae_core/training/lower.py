"""An AutoEncoder as the plain stages of a training step (l2ae_kernels.stages)."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

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
)
from l2ae_core.layers.base import is_exactly
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_kernels.stages import Stage


def lower(model: AutoEncoder) -> list[Stage] | None:
    """Return the stages of a network, None when it has a layer that no stage is.

    Such are an activation that follows neither a linear layer, LayerNorm nor BatchNorm, and a layer
    or model of one's own: a class that overrides something has another formula than its parent.
    """
    stages = _lowered(model)
    return None if isinstance(stages, str) else stages


def require_stages(model: AutoEncoder, where: str) -> list[Stage]:
    """Return the stages of a network; ValueError, with the layer that no stage is, for `where`."""
    stages = _lowered(model)
    if isinstance(stages, str):
        raise ValueError(f"fit: {where} cannot train {model}: {stages}")
    return stages


def _lowered(model: AutoEncoder) -> list[Stage] | str:
    """The stages of a network, or why it has none."""
    if not is_exactly(model, AutoEncoder):
        return f"its class {type(model).__qualname__} may have another formula than AutoEncoder"
    stages: list[Stage] = []
    shape = model.input_shape
    for name, layer in _named_layers(model):
        after, last = layer.output_shape(shape), stages[-1] if stages else None
        if (stage := _stage(name, layer, shape, after)) is not None:
            stages.append(stage)
        elif is_exactly(layer, ReLU, LeakyReLU) and last and _takes_activation(last):
            stages[-1] = replace(last, slope=getattr(layer, "slope", 0.0))
        elif not is_exactly(layer, Reshape, Identity):
            return f"no kernel of a training step is {layer} ({name})"
        shape = after
    if not stages or prod(shape) != prod(model.input_shape):
        return "it has no layer, or another shape at its end than its images"
    return _mark_code(stages)


def _stage(name: str, layer: Any, shape: Shape, after: Shape) -> Stage | None:
    """The stage that a layer is, None for one that is none."""
    if is_exactly(layer, Dense):
        return Stage("dense", name, shape, after)
    if is_exactly(layer, Conv2d, ConvTranspose2d):
        transposed = type(layer) is ConvTranspose2d
        stride, padding = layer.geometry((after if transposed else shape)[:2])
        return Stage(
            "conv_transpose" if transposed else "conv", name, shape, after,
            kernel=layer.W.shape[:2], stride=stride, padding=padding,
        )  # fmt: skip
    if is_exactly(layer, L2Normalize):
        return Stage("l2_normalize", name, shape, after, eps=layer.eps)
    if is_exactly(layer, LayerNorm):
        affine = layer.gamma is not None
        return Stage("layer_norm", name, shape, after, eps=layer.eps, affine=affine)
    if is_exactly(layer, BatchNorm):
        return Stage(
            "batch_norm", name, shape, after, eps=layer.eps, momentum=layer.momentum,
            affine=layer.gamma is not None,
        )  # fmt: skip
    return None


def _takes_activation(stage: Stage) -> bool:
    return stage.kind != "l2_normalize" and stage.slope == 1.0


def _mark_code(stages: list[Stage]) -> list[Stage]:
    """Mark the stage whose input is the code u, unless an activation stands right before it.

    One that the decoder begins with is a part of the stage before, too: then no stage takes u.
    """
    first = next((i for i, s in enumerate(stages) if s.name.startswith("decoder.")), 0)
    if first and stages[first - 1].slope == 1.0:
        stages[first] = replace(stages[first], code=True)
    return stages


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
    if isinstance(layer, Sequential) and is_exactly(layer, Sequential):
        for i, part in enumerate(layer.layers):
            yield from _inside(f"{name}.{i}", part)
    else:
        yield name, layer
