"""Dense products in blocks of rows, one GEMM a block; rectifiers and sums in one pass each.

The rung above the reference. A product is cut into blocks of BLOCK_ROWS rows of the result whatever
the number of threads, so the bits do not depend on it. Elementwise passes read and write each value
once, where NumPy makes temporaries.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.blas import single_threaded_blas
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import in_ranges

BLOCK_ROWS = 64  # of the result: enough for the GEMM's own tiles, fine enough to share 256 rows
PARTIAL_SUMS = 8  # ranges of rows in a sum over samples, added in order
VALUE_WORK = 16  # an elementwise value costs about as much as 16 multiply-adds of a GEMM


@jit()
def _dense(x, W, b, out, first, last):  # type: ignore[no-untyped-def]
    N, outputs = out.shape
    for n0 in range(first * BLOCK_ROWS, min(N, last * BLOCK_ROWS), BLOCK_ROWS):
        n1 = min(N, n0 + BLOCK_ROWS)
        y = out[n0:n1]
        np.dot(x[n0:n1], W, y)
        if b.size:
            for n in range(n1 - n0):
                for o in range(outputs):
                    y[n, o] += b[o]


@jit()
def _dense_adjoint_x(dy, W, out, first, last):  # type: ignore[no-untyped-def]
    N = len(dy)
    for n0 in range(first * BLOCK_ROWS, min(N, last * BLOCK_ROWS), BLOCK_ROWS):
        n1 = min(N, n0 + BLOCK_ROWS)
        np.dot(dy[n0:n1], W.T, out[n0:n1])


@jit()
def _dense_adjoint_W(x, dy, out, first, last):  # type: ignore[no-untyped-def]
    inputs = x.shape[1]
    for i0 in range(first * BLOCK_ROWS, min(inputs, last * BLOCK_ROWS), BLOCK_ROWS):
        i1 = min(inputs, i0 + BLOCK_ROWS)
        np.dot(np.ascontiguousarray(x[:, i0:i1]).T, dy, out[i0:i1])


@jit()
def _bias_adjoint(dy, partial, first, last):  # type: ignore[no-untyped-def]
    R, C = dy.shape
    for part in range(first, last):
        total = partial[part]
        for r in range(part * R // len(partial), (part + 1) * R // len(partial)):
            for c in range(C):
                total[c] += dy[r, c]


@jit()
def _leaky_relu(x, slope, out, first, last):  # type: ignore[no-untyped-def]
    source, target = x[first:last], out[first:last]
    for i in range(len(source)):
        target[i] = source[i] if source[i] > 0 else slope * source[i]


@jit()
def _leaky_relu_adjoint(dy, y, slope, out, first, last):  # type: ignore[no-untyped-def]
    source, gate, target = dy[first:last], y[first:last], out[first:last]
    for i in range(len(source)):
        target[i] = source[i] if gate[i] > 0 else slope * source[i]


def _blocks(rows: int) -> int:
    return -(-rows // BLOCK_ROWS)


def dense(x: Array, W: Array, b: Array | None, out: Array) -> None:
    """Write x (N, I) @ W (I, O) + b (O,) to `out` (N, O)."""
    b = np.empty(0, x.dtype) if b is None else b
    with single_threaded_blas():
        in_ranges(_dense, _blocks(len(x)), out.size * len(W), x, W, b, out)


def dense_adjoint_x(dy: Array, W: Array, out: Array) -> None:
    """Write dy (N, O) @ Wᵀ to `out` (N, I)."""
    with single_threaded_blas():
        in_ranges(_dense_adjoint_x, _blocks(len(dy)), dy.size * len(W), dy, W, out)


def dense_adjoint_W(x: Array, dy: Array, out: Array) -> None:
    """Write xᵀ @ dy to `out` (I, O)."""
    with single_threaded_blas():
        in_ranges(_dense_adjoint_W, _blocks(x.shape[1]), out.size * len(x), x, dy, out)


def bias_adjoint(dy: Array, out: Array) -> None:
    """Write the sum of dy (R, C) over its rows to `out` (C,), summed in float64."""
    partial = np.zeros((PARTIAL_SUMS, dy.shape[1]))
    in_ranges(_bias_adjoint, PARTIAL_SUMS, dy.size * VALUE_WORK, dy, partial)
    out[...] = partial.sum(axis=0)


def leaky_relu(x: Array, slope: float, out: Array) -> None:
    """Write the leaky rectifier of x to `out`."""
    real, work = x.dtype.type(slope), x.size * VALUE_WORK
    in_ranges(_leaky_relu, x.size, work, x.reshape(-1), real, out.reshape(-1))


def leaky_relu_adjoint(dy: Array, y: Array, slope: float, out: Array) -> None:
    """Write dy, times `slope` where the output y was not positive, to `out`."""
    real, work = y.dtype.type(slope), y.size * VALUE_WORK
    arrays = (dy.reshape(-1), y.reshape(-1), real, out.reshape(-1))
    in_ranges(_leaky_relu_adjoint, y.size, work, *arrays)
