"""What DeviceTraining asks of its arguments: ValueError names the one that does not fit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.block import Impl
from l2ae_kernels.cuda.step import takes
from l2ae_kernels.cuda.weights import FlatLayout
from l2ae_kernels.ops.step import require_network, require_state
from l2ae_kernels.stages import Params, Shape, Stage

DTypeOf = np.dtype[Any]
REAL = (np.float32, np.float64)


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


class Limits(NamedTuple):
    """What a batch may be."""

    models: int
    batch_size: int
    image: Shape
    dtype: DTypeOf

    def indices(self, batches: Sequence[Array], count: int) -> list[Array]:
        """Return batches of indices of `count` images, (n,) or (M, n) each."""
        arrays = [np.asarray(batch) for batch in batches]
        for i, batch in enumerate(arrays):
            if batch.dtype.kind not in "iu" or not self._fits(batch.shape):
                raise self._error("run", i, batch, "integers", "")
            if not 0 <= batch.min() <= batch.max() < count:
                raise ValueError(
                    f"DeviceTraining.run: batches[{i}] has the indices {batch.min()} to "
                    f"{batch.max()} but expected 0 to {count - 1}"
                )
        return arrays

    def images(self, batches: Sequence[Array]) -> list[Array]:
        """Return batches of images, (n, *image) or (M, n, *image), as (M, n, *image) each."""
        arrays, axes = [np.asarray(batch) for batch in batches], len(self.image)
        for i, batch in enumerate(arrays):
            lead, image = batch.shape[: batch.ndim - axes], batch.shape[batch.ndim - axes :]
            if image != self.image or batch.dtype != self.dtype or not self._fits(lead):
                rest = "".join(f", {n}" for n in self.image)
                raise self._error("run_images", i, batch, str(self.dtype), rest)
        return [np.broadcast_to(a, (self.models, a.shape[-axes - 1], *self.image)) for a in arrays]

    def _fits(self, lead: Shape) -> bool:
        """Whether the axes before those of an image are (n,) or (M, n)."""
        fits = len(lead) == 1 or (len(lead) == 2 and lead[0] == self.models)
        return fits and 0 < lead[-1] <= self.batch_size

    def _error(self, function: str, i: int, batch: Array, of: str, rest: str) -> ValueError:
        n = "n," if not rest else f"n{rest}"
        return ValueError(
            f"DeviceTraining.{function}: batches[{i}] is {batch.shape} {batch.dtype} but expected "
            f"{of} ({n}) or ({self.models}, n{rest}) for 1 ≤ n ≤ {self.batch_size}"
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
