"""A whole training step."""

from collections.abc import Sequence
from math import prod

from l2ae_kernels.geometry import output_size
from l2ae_kernels.operations import pick
from l2ae_kernels.ops.checks import writable
from l2ae_kernels.stages import LatentGrad, Params, Shape, Stage, TrainingStep, code_stage


def training_step(
    stages: Sequence[Stage],
    params: Params,
    input_shape: Shape,
    latent_grad: LatentGrad | None = None,
    *,
    state: Params | None = None,
    impl: str | None = None,
) -> TrainingStep:
    """Loss, gradients and Adam of a network of plain stages, see `TrainingStep`.

    Images are (N, *input_shape), and the last stage returns as many numbers. `params` has the
    arrays that the stages name, of one dtype; they stay where they are: write to them, never bind
    others. So has `state` the running statistics of batch norm. `latent_grad` is a second loss, at
    the stage with `code`. Raises ValueError for stages, shapes, parameters or state that do not
    fit.
    """
    shapes = require_network(stages, params, input_shape)
    like = next(iter(params.values()))
    state = {} if state is None else state
    shapes |= require_state(stages, state)
    for name, a in (*params.items(), *state.items()):
        writable("training_step", name, a, shapes[name], like)
    if latent_grad is not None and code_stage(stages) is None:
        raise ValueError("training_step: latent_grad is given but no stage has `code`")
    step: TrainingStep = pick("training_step", like, impl, stages)(
        stages, params, input_shape, latent_grad, state
    )
    return step


def require_network(
    stages: Sequence[Stage], params: Params, input_shape: Shape
) -> dict[str, Shape]:
    """Return the shapes of the parameters by name; ValueError where stages or names do not fit."""
    if not stages:
        raise ValueError("training_step: stages is empty but expected at least one Stage")
    sizes = [prod(input_shape), *(n for s in stages for n in _sizes(s)), prod(input_shape)]
    for before, after in zip(sizes[::2], sizes[1::2], strict=True):
        if before != after:
            raise ValueError(
                f"training_step: stages take and return {sizes[1:-1]} numbers a sample but "
                f"expected a chain from {sizes[0]} to {sizes[0]}"
            )
    shapes = {f"{s.name}.{k}": shape for s in stages for k, shape in s.parameters.items()}
    _require_names("params", params, shapes)
    if not params:
        raise ValueError("training_step: params is empty: no stage has weights to train")
    return shapes


def require_state(stages: Sequence[Stage], state: Params) -> dict[str, Shape]:
    """Return the shapes of the running statistics by name; ValueError where they do not fit."""
    for s in stages:
        if s.kind == "batch_norm" and not 0 <= s.momentum <= 1:
            raise ValueError(f"training_step: {s} has a momentum that is not within 0 and 1")
    shapes = {f"{s.name}.{k}": shape for s in stages for k, shape in s.state.items()}
    _require_names("state", state, shapes)
    return shapes


def _require_names(what: str, arrays: Params, shapes: dict[str, Shape]) -> None:
    for name in sorted(arrays.keys() ^ shapes.keys()):
        problem = "has no array" if name in shapes else "has the unknown array"
        raise ValueError(f"training_step: {what} {problem} {name!r}")


def _sizes(s: Stage) -> tuple[int, int]:
    """Numbers that a stage takes and returns; ValueError where its own shapes do not fit."""
    x, y = s.input_shape, s.output_shape
    if s.kind in ("conv", "conv_transpose"):
        large, small = (x, y) if s.kind == "conv" else (y, x)
        fits = len(x) == len(y) == 3 and small[:2] == output_size(
            (large[0], large[1]), s.kernel, s.stride, s.padding, s.name
        )
    else:
        fits = len(x) == len(y) == 1 if s.kind == "dense" else x == y and bool(x)
    if not fits:
        raise ValueError(f"training_step: {s} has shapes that do not fit")
    return prod(x), prod(y)
