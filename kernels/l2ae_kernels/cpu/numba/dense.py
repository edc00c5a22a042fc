"""Dense products in tiles, one GEMM a tile; rectifiers and sums in one pass each.

The rung above the reference. A product is cut into tiles of the result whatever the number of
threads, so the bits do not depend on it, as they would if BLAS cut it. A GEMM copies its operands
into an order of its own: tiles as large as TILE cost a twentieth more than one product does.
Elementwise passes read and write each value once, where NumPy makes temporaries.
"""

from itertools import product

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.blas import single_threaded_blas
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import in_ranges

TILE = 256  # rows or columns, at most
LANES = 16  # of the widest vectors: a GEMM is slow at the edge of what they divide
PARTIAL_SUMS = 8  # ranges of rows in a sum over samples, added in order
VALUE_WORK = 16  # an elementwise value costs about as much as 16 multiply-adds of a GEMM


def _cuts(n: int) -> list[slice]:
    """Cut n rows or columns into the fewest pieces, as equal as vectors allow."""
    fewest = -(-n // TILE)
    size = -(-n // max(1, fewest * LANES)) * LANES
    return [slice(i, min(n, i + size)) for i in range(0, n, max(1, size))]


def _gemm(a: Array, b: Array, out: Array, bias: Array | None = None) -> None:
    """Write a (R, I) @ b (I, C), plus a bias (C,), to `out` (R, C)."""
    tiles = list(product(*map(_cuts, out.shape)))

    def some(first: int, last: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # of this thread; Inf and NaN stay
            for r, c in tiles[first:last]:
                np.matmul(a[r], b[:, c], out=out[r, c])
                if bias is not None:
                    out[r, c] += bias[c]

    with single_threaded_blas():
        in_ranges(some, len(tiles), out.size * a.shape[1])


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


def dense(x: Array, W: Array, b: Array | None, out: Array) -> None:
    """Write x (N, I) @ W (I, O) + b (O,) to `out` (N, O)."""
    _gemm(x, W, out, b)


def dense_adjoint_x(dy: Array, W: Array, out: Array) -> None:
    """Write dy (N, O) @ Wᵀ to `out` (N, I)."""
    _gemm(dy, W.T, out)


def dense_adjoint_W(x: Array, dy: Array, out: Array) -> None:
    """Write xᵀ @ dy to `out` (I, O)."""
    _gemm(x.T, dy, out)


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
