"""Launchers of loss.cu: the squared error of M reconstructions, and its gradient.

    E = Σ (y − x)²        dy = 2 (y − x) · factor        Eq. 3 of the paper is E / N, factor 1 / N

y (M, ...), or of one model; x of the same shape, or of one model: then all models share it.
"""

import numpy as np

from l2ae_kernels.arrays import Array
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
    device, number = device_of(y), y.dtype.type
    shared = x.shape != y.shape
    models = len(y) if shared else 1 if losses is None else len(losses)
    if shared:
        require_shape("squared_error", "x", x.shape, y.shape[1:])
    if losses is not None:
        require_shape("squared_error", "losses", losses.shape, (len(y) if models > 1 else 1,))
    elements = y.size // models
    part = max(PART, ceil_div(elements, MOST_PARTS))
    count = ceil_div(elements, part)
    parts = None if losses is None else device.empty((models, count), np.float64)
    x_models = np.int64(0 if shared else elements)
    device.launch(
        device.kernel("loss.cu", "squared_error", real(y.dtype)),
        (count, 1, models),
        (THREADS,),
        (
            y, x, dy, parts, np.int64(elements), np.int64(part), x_models,
            number(2 * factor), number(slope),
        ),
    )  # fmt: skip
    if losses is not None:
        device.launch(
            device.kernel("loss.cu", "add_errors", real(y.dtype)),
            (1, 1, models),
            (32,),
            (parts, losses, np.int64(count)),
        )


def read_squared_error(y: Array, x: Array) -> float:
    """Return Σ (y − x)² of one model; waits for it."""
    device = device_of(y)
    losses = device.zeros(1, np.float64)
    squared_error(y, x, 0.0, None, losses)
    return float(device.to_host(losses)[0])


def squared_error_adjoint(y: Array, x: Array, dE: float, out: Array) -> None:
    """Write 2 (y − x) dE to `out`."""
    squared_error(y, x, dE, out, None)
