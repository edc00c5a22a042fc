"""Small networks of plain stages: the paper's two, and one where activations stand anywhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.lower import lower
from l2ae_kernels.reference.step import ReferenceStep
from l2ae_kernels.stages import Params, Stage

Forward: TypeAlias = Callable[[Stage, np.ndarray], np.ndarray]
IMAGE = (8, 8, 1)
ARCHITECTURES = {
    "convolutional": Architecture("cae", IMAGE, 3, filters=(3, 4), kernels=(5, 3)),
    "dense": Architecture("dense", IMAGE, 4, hidden=(9, 11), slope=0.3),
    "layer norms": Architecture(
        "cae", IMAGE, 3, norm="layer", hidden_norm="layer", affine=True, filters=(3, 4),
        kernels=(5, 3),
    ),
    "batch norms": Architecture(
        "cae", IMAGE, 3, norm="batch", hidden_norm="batch", affine=True, filters=(3, 4),
        kernels=(5, 3),
    ),
}  # fmt: skip
# A unit nearer to zero than this, relative to its layer, may have its gate open on one side only,
# and both are right: batches with such a unit are left out where float32 is compared.
CLEAR = 1e-5
SHAPES = {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 0), (0, 1))}
GATES = [  # before a normalization, in it, before the code, behind it, before the loss
    Stage("conv", "a", IMAGE, (4, 8, 2), 0.3, **SHAPES),
    Stage("l2_normalize", "b", (4, 8, 2), (4, 8, 2), eps=0.5),
    Stage("dense", "c", (64,), (6,), 0.2),
    Stage("layer_norm", "d", (6,), (6,), 0.4, eps=1e-2, affine=True),
    Stage("dense", "e", (6,), (5,)),
    Stage("l2_normalize", "f", (5,), (5,), eps=0.5),
    Stage("dense", "g", (5,), (64,), 0.3, code=True),
    Stage("conv_transpose", "h", (4, 8, 2), IMAGE, 0.5, **SHAPES),
]
MAPS = [  # no affine map; of images, of a code that is not the last stage's, before the loss
    Stage("batch_norm", "a", IMAGE, IMAGE, 0.6, eps=0.1, momentum=0.9),
    Stage("conv", "b", IMAGE, (4, 8, 2), **SHAPES),
    Stage("batch_norm", "c", (4, 8, 2), (4, 8, 2), 0.3, eps=0.1, momentum=0.75),
    Stage("dense", "d", (64,), (5,)),
    Stage("batch_norm", "e", (5,), (5,), eps=0.1, momentum=0.5),
    Stage("dense", "f", (5,), (64,), code=True),
    Stage("batch_norm", "g", IMAGE, IMAGE, 0.5, eps=0.1),
]
CODE = [  # nothing but what one kernel computes
    Stage("dense", "a", (64,), (5,)),
    Stage("l2_normalize", "b", (5,), (5,), eps=0.5),
    Stage("dense", "c", (5,), (64,), 0.3, code=True),
]
OWN = {"gates": GATES, "code": CODE, "maps": MAPS}


def model(name: str, seed: int, dtype: str) -> AutoEncoder:
    """A network of ARCHITECTURES with weights of its own, no bias of zero."""
    made = build(ARCHITECTURES[name], np.random.default_rng(seed), np.dtype(dtype))
    rng = np.random.default_rng(seed)
    for p in made.params.values():
        p += (0.1 * rng.standard_normal(p.shape)).astype(dtype)
    return made


def network(name: str, dtype: str, seed: int = 0) -> tuple[list[Stage], Params]:
    """Stages and parameters of a network of ARCHITECTURES, or of OWN."""
    if name not in OWN:
        made = model(name, seed, dtype)
        stages = lower(made)
        assert stages is not None
        return stages, made.params
    rng = np.random.default_rng(seed)
    return OWN[name], {
        f"{s.name}.{key}": (0.4 * rng.standard_normal(shape)).astype(dtype)
        for s in OWN[name]
        for key, shape in s.parameters.items()
    }


def statistics(stages: list[Stage], dtype: str) -> Params:
    """Running statistics of the batch norms, as they are before the first step."""
    start = {"running_mean": np.zeros, "running_var": np.ones}
    return {
        f"{s.name}.{name}": start[name](shape, dtype)
        for s in stages
        for name, shape in s.state.items()
    }


def without_gradient(stages: list[Stage]) -> list[str]:
    """What batch norm takes off again, right behind it or behind a dense stage: b, β.

    Rounding alone makes their gradients.
    """
    names = []
    for i, s in enumerate(stages):
        kinds, after = [t.kind for t in stages[i + 1 : i + 3]], stages[i + 1 : i + 2]
        one_a_channel = after and after[0].input_shape[-1:] == s.output_shape[-1:]
        if s.slope == 1 and s.linear and one_a_channel and kinds[0] == "batch_norm":
            names.append(f"{s.name}.b")
        if s.slope == 1 and s.affine and kinds == ["dense", "batch_norm"] and after[0].slope == 1:
            names.append(f"{s.name}.beta")
    return names


def grey_images(count: int) -> np.ndarray:
    """Images (count, 8, 8, 1) of bytes."""
    return np.random.default_rng(1).integers(0, 256, (count, *IMAGE)).astype(np.uint8)


def clear_images(stages: list[Stage], params: Params, count: int) -> np.ndarray:
    """Images (count, 8, 8, 1) in float64 for which no unit is at its kink."""
    images = grey_images(count + 20) / 255
    wide = {name: p.astype(np.float64) for name, p in params.items()}
    forward = ReferenceStep(stages, wide, IMAGE, None, statistics(stages, "float64"))._forward
    batches = (images[first : first + count] for first in range(20))
    return next(x for x in batches if _is_clear(stages, forward, x))


def _is_clear(stages: list[Stage], forward: Forward, x: np.ndarray) -> bool:
    for s in stages:
        z = forward(replace(s, slope=1.0), x.reshape(len(x), *s.input_shape))
        if s.slope != 1 and np.abs(z).min() <= CLEAR * np.sqrt((z**2).mean()):
            return False
        x = np.where(z > 0, z, s.slope * z)
    return True
