"""What the models share: names of parameters, stacks of dense layers, inference in batches."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from l2ae_core.images import Images
from l2ae_core.layers import Dense, Layer, Params
from l2ae_kernels.arrays import Array, array_module


def named(**parts: Params) -> Params:
    """Merge the arrays of the parts of a model under the names "part.name"."""
    return {f"{part}.{name}": array for part, each in parts.items() for name, array in each.items()}


def dense_stack(
    widths: tuple[int, ...], activation: Layer, rng: Generator, dtype: npt.DTypeLike = np.float32
) -> list[Layer]:
    """Return dense layers from widths[0] to widths[-1], `activation` after all but the last."""
    layers: list[Layer] = []
    for inputs, outputs in pairwise(widths):
        layers += [Dense.glorot(inputs, outputs, rng, dtype), activation]
    return layers[:-1]


def in_batches(function: Callable[[Array], Array], images: Images, batch_size: int) -> Array:
    """Apply a function to `batch_size` images at a time and join the results."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size} but expected an integer ≥ 1")
    first = function(images[:batch_size])  # no image at all is one empty batch
    if len(images) <= batch_size:
        return first
    joined: Array = array_module(first).empty((len(images), *first.shape[1:]), first.dtype)
    joined[:batch_size] = first
    for start in range(batch_size, len(images), batch_size):
        joined[start : start + batch_size] = function(images[start : start + batch_size])
    return joined


def require_counts(name: str, values: tuple[int, ...], length: int | None = None) -> None:
    """Raise ValueError unless `values` are integers ≥ 1, `length` of them unless it is None."""
    counts = all(isinstance(v, int) and not isinstance(v, bool) and v >= 1 for v in values)
    if length not in (None, len(values)) or not counts:
        raise ValueError(f"{name} is {values} but expected {length or 'some'} integers ≥ 1")
