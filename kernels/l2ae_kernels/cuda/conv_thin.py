"""The launcher of conv_thin.cu: correlations of images with one channel and their adjoints.

They are exact in float32, so `tensor` and `tf32` take them wherever they fit: a block keeps rows of
an image, and all weights, in shared memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.block import Present
from l2ae_kernels.cuda.conv_tiles import Call, aligned, defines
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.launch import ceil_div, distance
from l2ae_kernels.geometry import Geometry, require_shape

THREADS = 256
MOST_PARTS = 128  # of the samples, in adjoint_W: a large GPU has about as many multiprocessors
MOST_TAPS = 32  # sums of a thread of adjoint_x
MOST_WEIGHTS, MOST_NUMBERS = 5_120, 6_144  # in shared memory: 44 of 48 KB together


def rows_of_block(operation: str, g: Geometry) -> int:
    """Return the rows of y, or of x for adjoint_x, that a block has; 0 where none fits."""
    taps = g.kh * g.kw
    if g.C != 1 or taps * ceil_div(g.K, 4) * 4 > MOST_WEIGHTS or g.kh > THREADS // 8:
        return 0
    if operation == "correlate_adjoint_x":
        if taps > MOST_TAPS:
            return 0
        of_row = g.OW * (taps | 1)
        return _most(g.H, lambda rows: of_row * min((rows + g.kh - 2) // g.sh + 1, g.OH))
    pixels = ceil_div(g.OW, 4) * 4
    width = (pixels - 1) * g.sw + g.kw
    return _most(g.OH, lambda rows: width * ((rows - 1) * g.sh + g.kh))


def _most(rows: int, numbers: Callable[[int], int]) -> int:
    """Return the largest number of rows, up to `rows`, whose numbers fit shared memory, or 0."""
    return next((r for r in range(rows, 0, -1) if numbers(r) <= MOST_NUMBERS), 0)


def thin_parts(samples: int) -> tuple[int, int]:
    """Return into how many parts the samples of adjoint_W are cut, and how many one has."""
    images = max(1, ceil_div(samples, MOST_PARTS))
    return max(1, ceil_div(samples, images)), images


class Target(NamedTuple):
    """Images that adjoint_x reconstructs; it writes the gradient of factor · Σ (x̂ − image)²."""

    images: Array  # (N, H, W, 1) or (M, N, H, W, 1)
    factor: float
    errors: Array  # (loss_parts, M) float64: of Σ (x̂ − image)²
    present: Present | None = None  # whose factors are in the place of `factor`


def loss_parts(g: Geometry, samples: int) -> int:
    """Return how many parts the error of a `Target` comes in; 0 where no kernel makes it."""
    rows = rows_of_block("correlate_adjoint_x", g)
    return samples * ceil_div(g.H, rows) if rows else 0


def launch_thin(call: Call, target: Target | None = None) -> bool:
    """Queue correlate or adjoint_x if it fits; return whether it does."""
    g, end = call.geometry, call.epilogue
    rows = rows_of_block(call.operation, g)
    if not rows:
        return False
    adjoint = call.operation == "correlate_adjoint_x"
    grid = call.samples, ceil_div(g.H if adjoint else g.OH, rows), call.models
    A_models, B_models, bias_models = call.distances()
    arguments: tuple[Any, ...]
    arguments = A_models, B_models, end.bias, bias_models, end.y, np.float32(end.slope)
    if adjoint:
        arguments += _of_target(call, target)
    _launch(call, rows, grid, call.out, arguments)
    return True


def _of_target(call: Call, target: Target | None) -> tuple[Any, ...]:
    if target is None:
        return None, np.int64(0), None, np.float32(0), None, None
    images, factor, errors, present = target
    shape = call.out.shape[-4:]
    models = distance(call.operation, "images", images, shape, call.models)
    parts = loss_parts(call.geometry, call.samples), call.models
    require_shape(call.operation, "errors", errors.shape, parts)
    return images, models, errors, np.float32(2 * factor), *(present or (None, None))


def launch_thin_adjoint_W(call: Call, parts: Array, db: Array | None) -> None:
    """Queue adjoint_W, which fits, in `thin_parts`."""
    g, (count, images) = call.geometry, thin_parts(call.samples)
    A_models, B_models, _ = call.distances()
    grid = count, ceil_div(g.K, 32), call.models
    arguments = db, np.int32(call.samples), np.int32(images), A_models, B_models
    _launch(call, rows_of_block(call.operation, g), grid, parts, arguments)


def _launch(
    call: Call, rows: int, grid: tuple[int, int, int], out: Array, arguments: tuple[Any, ...]
) -> None:
    device = device_of(out)
    sizes = {**defines(call.geometry), "ROWS": rows, "ALIGNED": aligned(call.A, call.B, out)}
    kernel = device.kernel("conv_thin.cu", f"{call.operation}_thin", sizes)
    device.launch(kernel, grid, (THREADS,), (call.A, call.B, out, *arguments))
