"""The launcher of conv_thin.cu: correlations of images with one channel and their adjoints.

They are exact in float32, so `tensor` and `tf32` take them wherever they fit: a block keeps rows of
an image, and all weights, in shared memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from l2ae_kernels.cuda.conv_tiles import Call, aligned, defines
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.elementwise import add_parts
from l2ae_kernels.cuda.launch import ceil_div
from l2ae_kernels.geometry import Geometry

THREADS = 256
MOST_PARTS = 64  # of the samples, in adjoint_W: adding them stays short beside making them
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


def launch_thin(call: Call) -> bool:
    """Queue an operation if it fits; return whether it does."""
    g, N, M = call.geometry, call.samples, call.models
    rows = rows_of_block(call.operation, g)
    if not rows:
        return False
    device, adjoint = device_of(call.out), call.operation == "correlate_adjoint_W"
    images = max(1, ceil_div(N, MOST_PARTS))
    count = max(1, ceil_div(N, images)) if adjoint else 1
    out, db = call.out, call.db
    if count > 1:
        out = device.empty((count, M, *out.shape[-4:]), out.dtype)
        db = None if db is None else device.empty((count, M, g.K), out.dtype)
    sizes = {**defines(g), "ROWS": rows, "ALIGNED": aligned(call.A, call.B, out)}
    kernel = device.kernel("conv_thin.cu", f"{call.operation}_thin", sizes)
    A_models, B_models, bias_models = call.distances()
    arguments: tuple[Any, ...]
    if adjoint:
        grid = count, ceil_div(g.K, 32), M
        arguments = db, np.int32(N), np.int32(images), A_models, B_models
    else:
        grid = N, ceil_div(g.H if call.operation == "correlate_adjoint_x" else g.OH, rows), M
        end = call.epilogue
        arguments = A_models, B_models, end.bias, bias_models, end.y, np.float32(end.slope)
    device.launch(kernel, grid, (THREADS,), (call.A, call.B, out, *arguments))
    if count > 1:
        add_parts(device, out, call.out, count=count, models=M)
        if call.db is not None and db is not None:
            add_parts(device, db, call.db, count=count, models=M)
    return True
