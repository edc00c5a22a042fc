"""Launchers of loss.cu: the squared error of M reconstructions, and its gradient.

    E = Σ (y − x)²        dy = 2 (y − x) · factor        Eq. 3 of the paper is E / N, factor 1 / N

y (M, ...), or of one model; x of the same shape, or of one model: then all models share it.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.block import Present
from l2ae_kernels.cuda.device import device_of
from l2ae_kernels.cuda.launch import THREADS, ceil_div, real
from l2ae_kernels.geometry import require_shape

MOST_PARTS = 1024  # of the numbers of a model
PART = 1 << 10  # numbers: the fewest that are a part


def squared_error(
    y: Array,
    x: Array,
    factor: float,
    dy: Array | None,
    losses: Array | None,
    *,
    slope: float = 1.0,
) -> None:
    """Write 2 (y − x) · factor to dy, and add Σ (y − x)² to `losses` (M,) float64.

    Either may be None: it is not asked for. slope: of the activation whose output is y; 1 is none,
    else dy has passed its adjoint. The sum is in float64 and in parts, which the size of one model
    alone determines, added in order.
    """
    device = device_of(y)
    if losses is None:
        squared_error_parts(y, x, factor, dy, None, slope=slope)
        return
    shared = x.shape != y.shape
    models = len(y) if shared else len(losses)
    require_shape("squared_error", "losses", losses.shape, (len(y) if models > 1 else 1,))
    count = parts_of(y.size // models)
    parts = device.empty((count, models), np.float64)
    squared_error_parts(y, x, factor, dy, parts, slope=slope)
    device.launch(
        device.kernel("loss.cu", "add_errors", real(y.dtype)),
        (1, 1, models),
        (32,),
        (parts, losses, np.int64(count)),
    )


def parts_of(elements: int) -> int:
    """Return how many parts the squared error of one model, of so many numbers, comes in."""
    return ceil_div(elements, _part(elements))


def squared_error_parts(
    y: Array,
    x: Array,
    factor: float,
    dy: Array | None,
    parts: Array | None,
    *,
    slope: float = 1.0,
    present: Present | None = None,
) -> None:
    """Write dy as `squared_error` does, and the parts of Σ (y − x)², (`parts_of`, M) float64.

    With `present` y is (M, N, ...), and its factors are in the place of `factor`.
    """
    device, number = device_of(y), y.dtype.type
    shared = x.shape != y.shape
    models = len(y) if shared else 1 if parts is None else parts.shape[1]
    if shared:
        require_shape("squared_error", "x", x.shape, y.shape[1:])
    elements = y.size // models
    count = parts_of(elements)
    if parts is not None:
        require_shape("squared_error", "parts", parts.shape, (count, models))
    x_models = np.int64(0 if shared else elements)
    device.launch(
        device.kernel("loss.cu", "squared_error", real(y.dtype)),
        (count, 1, models),
        (THREADS,),
        (
            y, x, dy, parts, np.int64(elements), np.int64(_part(elements)), x_models,
            number(2 * factor), number(slope), *(present or (None, None)),
            np.int64(elements // y.shape[1] if present else 0),
        ),
    )  # fmt: skip


def _part(elements: int) -> int:
    """Return the numbers of a part."""
    return max(PART, ceil_div(elements, MOST_PARTS))


def read_squared_error(y: Array, x: Array) -> float:
    """Return Σ (y − x)² of one model; waits for it."""
    device = device_of(y)
    losses = device.zeros(1, np.float64)
    squared_error(y, x, 0.0, None, losses)
    return float(device.to_host(losses)[0])


def squared_error_adjoint(y: Array, x: Array, dE: float, out: Array) -> None:
    """Write 2 (y − x) dE to `out`."""
    squared_error(y, x, dE, out, None)
