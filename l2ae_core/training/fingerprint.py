"""The fingerprint of a training: what must be equal for it to be resumed with equal bits."""

from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator

from l2ae_core.images import CheckedImages, Images
from l2ae_core.layers.describe import class_name, is_ours
from l2ae_core.networks.autoencoder import AutoEncoder
from l2ae_core.progress import Bar
from l2ae_core.training.hooks import Hooks
from l2ae_core.training.loss import Reduction
from l2ae_core.training.optim import Optimizer
from l2ae_core.training.step import Model, NoisyStep, Step
from l2ae_core.training.validation import Validation

ON = "device"  # the setting that says where the steps were made: it may change with a resume
CHUNK = 4096  # images checked at a time: they may be a memory map larger than memory


def fingerprint(
    model: Model,
    images: Images,
    batch_size: int,
    optimizer: Optimizer,
    rng: Generator,
    reduction: Reduction,
    step: Step | None,
    hooks: Hooks,
    validation: Validation | None,
    progress: bool = False,
) -> dict[str, Any]:
    """Return JSON values that name model, images, loss, optimizer and hooks.

    `progress` shows a bar where all images are read for over a second.
    Raises ValueError for images that do not fit the model or hold NaN or Inf, and for what cannot
    be resumed: a step of other objects than those that a checkpoint saves, a model without a loss,
    an optimizer without a text.
    """
    held_out = {} if validation is None else {"validation": _validated(validation, model, progress)}
    return {
        "batch_size": batch_size,
        **held_out,
        **_loss(step, model, optimizer, rng, reduction),
        **_of_class("hooks", hooks),
        "optimizer": _described(optimizer),
        "images": _checked(images, model, progress),
        "layers": model.describe(),
    }


def autoencoder(model: Model) -> AutoEncoder:
    """Return the model; ValueError when it is no AutoEncoder, which needs no step for its loss."""
    if not isinstance(model, AutoEncoder):
        raise ValueError(f"fit: step is None but {model} is not an AutoEncoder: it needs its own")
    return model


def _loss(
    step: Step | None, model: Model, optimizer: Optimizer, rng: Generator, reduction: Reduction
) -> dict[str, Any]:
    """Return what names the loss; ValueError when a step uses what `fit` does not save."""
    if step is None:
        autoencoder(model)
        return {"reduction": reduction}
    noise = step.rng if isinstance(step, NoisyStep) else rng
    pairs = {
        "model": (step.model, model),
        "optimizer": (step.optimizer, optimizer),
        "rng": (noise, rng),
    }
    for name, (has, expected) in pairs.items():
        if has is not expected:
            raise ValueError(f"fit: step has another {name} than fit but expected the same object")
    if reduction != "mean":
        raise ValueError(f"fit: reduction is {reduction!r} but a step has its own loss")
    return _of_class("step", step)


def _of_class(name: str, thing: Step | Hooks) -> dict[str, Any]:
    """Its settings; with the name of its class where that is not ours and names none itself."""
    named = is_ours(thing) or "settings" in vars(type(thing))
    return thing.settings if named else {**thing.settings, name: class_name(type(thing))}


def _validated(validation: Validation, model: Model, progress: bool) -> dict[str, Any]:
    """Return what names the validation images; ValueError where a training cannot have them."""
    autoencoder(model)
    if validation.held_out is None:
        return _checked(validation.images, model, progress)
    return {"held_out": len(validation.held_out), "crc32": crc32(validation.held_out.data)}


def _described(optimizer: Optimizer) -> str:
    """Its `repr`; with the name of its module where it is not of this package."""
    if is_ours(optimizer):
        return repr(optimizer)
    if type(optimizer).__repr__ is object.__repr__:
        raise ValueError(
            f"fit: optimizer {type(optimizer).__qualname__} has no __repr__ but expected one that "
            "gives its settings"
        )
    return f"{type(optimizer).__module__}.{optimizer!r}"


def _checked(images: Images, model: Model, progress: bool) -> dict[str, Any]:
    """Raise ValueError unless the images fit the model and are finite; return their fingerprint."""
    dtype = next(iter(model.params.values())).dtype
    if not len(images) or images.shape[1:] != model.input_shape:
        raise ValueError(
            f"fit: images is {images.shape} but the model takes (N, {str(model.input_shape)[1:]}"
        )
    if images.dtype != dtype:
        raise ValueError(f"fit: images is {images.dtype} but the model's parameters are {dtype}")
    checksum = checksum_of_finite(images, progress)
    return {"shape": list(images.shape), "dtype": dtype.name, "crc32": checksum}


def checksum_of_finite(images: Images, progress: bool) -> int:
    """Return the CRC-32 of the numbers of all images, some at a time; ValueError for NaN or Inf."""
    if isinstance(images, CheckedImages):
        return images.crc32()
    checksum = 0
    bar = Bar(total=len(images), desc="check", unit="image", delay=1.0, disable=not progress)
    with bar:
        for start in range(0, len(images), CHUNK):
            chunk = np.ascontiguousarray(images[start : start + CHUNK])
            finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
            if not finite.all():
                first = start + int(finite.argmin())
                raise ValueError(f"fit: images holds NaN or Inf, first in image {first}")
            checksum = crc32(chunk.data, checksum)
            bar.update(len(chunk))
    return checksum
