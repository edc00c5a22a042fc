"""Small networks of plain stages: the paper's two, and one where activations stand anywhere."""

from dataclasses import replace

import numpy as np

from l2ae_core.networks import Architecture, AutoEncoder, build
from l2ae_core.training.lower import lower
from l2ae_kernels.reference.step import ReferenceStep
from l2ae_kernels.stages import Params, Stage

IMAGE = (8, 8, 1)
ARCHITECTURES = {
    "convolutional": Architecture("cae", IMAGE, 3, filters=(3, 4), kernels=(5, 3)),
    "dense": Architecture("dense", IMAGE, 4, hidden=(9, 11), slope=0.3),
    "layer norms": Architecture(
        "cae", IMAGE, 3, norm="layer", hidden_norm="layer", affine=True, filters=(3, 4),
        kernels=(5, 3),
    ),
}  # fmt: skip
# A unit nearer to zero than this, relative to its layer, may have its gate open on one side only,
# and both are right: images with such a unit are left out where float32 is compared.
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
CODE = [  # nothing but what one kernel computes
    Stage("dense", "a", (64,), (5,)),
    Stage("l2_normalize", "b", (5,), (5,), eps=0.5),
    Stage("dense", "c", (5,), (64,), 0.3, code=True),
]
OWN = {"gates": GATES, "code": CODE}


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


def grey_images(count: int) -> np.ndarray:
    """Images (count, 8, 8, 1) of bytes."""
    return np.random.default_rng(1).integers(0, 256, (count, *IMAGE)).astype(np.uint8)


def clear_images(stages: list[Stage], params: Params, count: int) -> np.ndarray:
    """Images (count, 8, 8, 1) in float64 for which no unit is at its kink."""
    images = grey_images(count + 20) / 255
    wide = {name: p.astype(np.float64) for name, p in params.items()}
    forward = ReferenceStep(stages, wide, IMAGE, None)._forward
    x, clear = images, np.ones(len(images), bool)
    for s in stages:
        z = forward(replace(s, slope=1.0), x.reshape(len(x), *s.input_shape))
        if s.slope != 1:
            size = np.abs(z.reshape(len(z), -1))
            clear &= size.min(axis=1) > CLEAR * np.sqrt((size**2).mean())
        x = np.where(z > 0, z, s.slope * z)
    assert clear.sum() >= count
    return images[clear][:count]
