"""What DeviceTraining asks of its arguments: ValueError names the one that does not fit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, get_args

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.batches import Filled
from l2ae_kernels.cuda.block import Impl
from l2ae_kernels.cuda.step import takes
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.ops.checks import count
from l2ae_kernels.ops.step import require_network, require_state
from l2ae_kernels.stages import Params, Shape, Stage

DTypeOf = np.dtype[Any]
REAL = (np.float32, np.float64)
OfModels: TypeAlias = Array | Sequence[Array]  # a batch: an array for all models, or one for each


def require_models(
    stages: Sequence[Stage], params: Sequence[Params], images: Array
) -> tuple[dict[str, Shape], DTypeOf]:
    """Return the shapes and the dtype of the parameters of every model."""
    if not params:
        raise ValueError("DeviceTraining: params is empty but expected those of one model at least")
    shapes = require_network(stages, params[0], images.shape[1:])
    if not takes(images, stages):
        raise ValueError("DeviceTraining: stages has an activation after l2_normalize")
    dtype = next(iter(params[0].values())).dtype
    if dtype not in REAL:
        raise ValueError(f"DeviceTraining: params are {dtype} but expected float32 or float64")
    for i, model in enumerate(params):
        _require_arrays(f"params[{i}]", model, shapes, dtype)
    if not len(images) or images.dtype not in (np.uint8, dtype):
        raise ValueError(
            f"DeviceTraining: images are {images.shape} {images.dtype} but expected one at least, "
            f"uint8 or {dtype}"
        )
    return shapes, dtype


def require_states(
    stages: Sequence[Stage], states: Sequence[Params], models: int, dtype: DTypeOf
) -> dict[str, Shape]:
    """Return the shapes of the running statistics of every model."""
    if len(states) != models:
        raise ValueError(f"DeviceTraining: state is of {len(states)} models but expected {models}")
    shapes = require_state(stages, states[0])
    for i, arrays in enumerate(states):
        _require_arrays(f"state[{i}]", arrays, shapes, dtype)
    return shapes


def require_whole(stages: Sequence[Stage], micro_batch: int, batch_size: int) -> None:
    """Raise ValueError for batch norm in pieces of a batch: its μ and v are of all samples."""
    norm = next((s.name for s in stages if s.kind == "batch_norm"), None)
    if norm is not None and micro_batch < batch_size:
        raise ValueError(
            f"DeviceTraining: micro_batch is {micro_batch} but batch_norm {norm!r} needs the whole "
            f"batch: expected None, or {batch_size} at least"
        )


def require_impl(impl: Impl | None, dtype: DTypeOf) -> Impl:
    """Return the rung of the products: None is the fastest that keeps the precision of dtype."""
    if impl is None:
        return "tensor" if dtype == np.float32 else "naive"
    if impl not in (known := get_args(Impl)) or (impl != "naive" and dtype != np.float32):
        raise ValueError(
            f"DeviceTraining: impl is {impl!r} for {dtype} but expected one of {known} for "
            "float32, 'naive' for float64"
        )
    return impl


def require_moments(
    name: str, moments: Sequence[Params], layout: FlatLayout, dtype: DTypeOf
) -> None:
    """Check m or v of every model."""
    if len(moments) != layout.models:
        raise ValueError(
            f"DeviceTraining: {name} is of {len(moments)} models but expected {layout.models}"
        )
    for i, arrays in enumerate(moments):
        _require_arrays(f"{name}[{i}]", arrays, layout.shapes, dtype)


def require_steps(steps: Sequence[int], models: int) -> None:
    """Check how many steps every model has made."""
    for step in steps:
        count("DeviceTraining.load", "steps", step, least=0)
    if len(steps) != models:
        raise ValueError(f"DeviceTraining: steps is of {len(steps)} models but expected {models}")


class Limits(NamedTuple):
    """What a batch may be."""

    models: int
    batch_size: int
    image: Shape
    dtype: DTypeOf

    def indices(self, batches: Sequence[OfModels], count: int) -> list[Filled]:
        """Return batches of indices of `count` images, each (n,), (M, n) or M times (n,)."""
        filled = []
        for i, batch in enumerate(batches):
            each = self._of_models("run", i, batch, ())
            for a in (each,) if isinstance(each, np.ndarray) else each:
                if a.dtype.kind not in "iu":
                    raise self._error("run", i, batch, ())
                if a.size and not 0 <= a.min() <= a.max() < count:
                    raise ValueError(
                        f"DeviceTraining.run: batches[{i}] has the indices {a.min()} to {a.max()} "
                        f"but expected 0 to {count - 1}"
                    )
            filled.append(Filled.of(each, self.batch_size))
        return filled

    def images(self, batches: Sequence[OfModels]) -> list[Filled]:
        """Return batches of images, each (n, *image), (M, n, *image) or M times (n, *image)."""
        filled = []
        for i, batch in enumerate(batches):
            each = self._of_models("run_images", i, batch, self.image)
            if any(a.dtype != self.dtype for a in each):
                raise self._error("run_images", i, batch, self.image)
            filled.append(Filled.of(each, self.batch_size))
        return filled

    def _of_models(self, function: str, i: int, batch: OfModels, image: Shape) -> OfModels:
        """Return what each model has of a batch: (M, n, *image) where it was one array."""
        each: OfModels = [*map(np.asarray, batch)] if isinstance(batch, Sequence) else batch
        if isinstance(each, np.ndarray) and each.ndim == 1 + len(image):
            each = np.broadcast_to(each, (self.models, *each.shape))
        of_one = (each.shape[1:],) if isinstance(each, np.ndarray) else [a.shape for a in each]
        alike = all(len(s) == 1 + len(image) and s[1:] == image for s in of_one)
        if not alike or len(each) != self.models or not 0 < max(map(len, each)) <= self.batch_size:
            raise self._error(function, i, batch, image)
        return each

    def _error(self, function: str, i: int, batch: OfModels, image: Shape) -> ValueError:
        of = str(self.dtype) if image else "integers"
        n = "".join(["n", "," * (not image), *(f", {k}" for k in image)])
        arrays = batch if isinstance(batch, Sequence) else [batch]
        found = " and ".join(f"{np.shape(a)} {np.asarray(a).dtype}" for a in arrays)
        return ValueError(
            f"DeviceTraining.{function}: batches[{i}] is {found} but expected {of} ({n}), "
            f"({self.models}, {n.rstrip(',')}) or {self.models} arrays ({n}), for n up to "
            f"{self.batch_size} and not 0 for all models"
        )


def _require_arrays(what: str, arrays: Params, shapes: Mapping[str, Shape], dtype: DTypeOf) -> None:
    for name in shapes.keys() ^ arrays.keys():
        problem = "has no array" if name in shapes else "has the unknown array"
        raise ValueError(f"DeviceTraining: {what} {problem} {name!r}")
    for name, a in arrays.items():
        if a.shape != shapes[name] or a.dtype != dtype:
            raise ValueError(
                f"DeviceTraining: {what}[{name!r}] is {a.shape} {a.dtype} but expected "
                f"{shapes[name]} {dtype}"
            )
