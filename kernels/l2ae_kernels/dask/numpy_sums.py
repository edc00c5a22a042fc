"""NumPy's sum of numbers that lie in pieces, to the bit: `a.sum(dtype=np.float64)` for a (n,).

NumPy adds up float64 numbers pairwise: they are cut into two halves, the first a multiple of 8
long, until LEAF or fewer are left. Numbers of another dtype are converted BUFFER at a time, and the
sums of the buffers are added up in order; before NumPy 2.3 so are those of float64. So n alone
decides on the tree of the additions. A piece of the numbers has the sums of all nodes that lie in
it whole, and lends the others the numbers at its ends.
"""

from typing import Any, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array

LEAF = 128
BUFFER = 8192
IN_BUFFERS = np.lib.NumpyVersion(np.__version__) < "2.3.0"  # float64 numbers, too


class Piece(NamedTuple):
    """What a piece of numbers gives to the sum of all."""

    nodes: dict[tuple[int, int], float]  # (first, last) → the sum of the numbers between them
    ends: list[tuple[int, Array]]  # where a leaf begins, and the numbers of it that are here


def piece_of(a: Array, first: int, n: int) -> Piece:
    """Return the piece of numbers a (m,), which are those from `first` on of n."""
    piece, size = Piece({}, []), _buffer(n, a.dtype)
    for low in range(first // size * size, first + len(a), size):
        _cut(a, first, low, min(n, low + size), piece)
    return piece


def sum_of_pieces(pieces: list[Piece], n: int, dtype: np.dtype[Any]) -> float:
    """Return the sum of n numbers of a dtype, of which the pieces are all, in order."""
    nodes: dict[tuple[int, int], float] = {}
    ends: dict[int, list[Array]] = {}
    for piece in pieces:
        nodes |= piece.nodes
        for low, numbers in piece.ends:
            ends.setdefault(low, []).append(numbers)
    total, size = 0.0, _buffer(n, dtype)
    for low in range(0, n, size):
        total += _sum(nodes, ends, low, min(n, low + size))
    return total


def _buffer(n: int, dtype: np.dtype[Any]) -> int:
    """Return how many numbers are added up pairwise: the sums of so many are added in order."""
    return n if dtype == np.float64 and not IN_BUFFERS else BUFFER


def _halves(low: int, high: int) -> int:
    """Return where the second half of a node begins."""
    half = (high - low) // 2
    return low + half - half % 8


def _cut(a: Array, first: int, low: int, high: int, piece: Piece) -> None:
    """Add what the node (low, high) and those below have of numbers a (m,)."""
    last = first + len(a)
    if high <= first or last <= low:
        return
    if first <= low and high <= last:
        piece.nodes[low, high] = float(a[low - first : high - first].sum(dtype=np.float64))
    elif high - low <= LEAF:
        piece.ends.append((low, a[max(0, low - first) : high - first].copy()))
    else:
        middle = _halves(low, high)
        _cut(a, first, low, middle, piece)
        _cut(a, first, middle, high, piece)


def _sum(
    nodes: dict[tuple[int, int], float], ends: dict[int, list[Array]], low: int, high: int
) -> float:
    if (low, high) in nodes:
        return nodes[low, high]
    if high - low <= LEAF:
        return float(np.concatenate(ends[low]).sum(dtype=np.float64))
    middle = _halves(low, high)
    return _sum(nodes, ends, low, middle) + _sum(nodes, ends, middle, high)
