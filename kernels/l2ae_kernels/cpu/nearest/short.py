"""A pass over short points: all distances, by kernels whose lanes are points.

The points are packed once, 16 side by side, feature by feature. A block of them, some ten
kilobytes, stays in the first-level cache while the centers of every restart pass by; then the new
labels are compared with the old ones, and a point that changed goes from one sum to another.

Reads and writes per point and restart: d floats from cache, a label twice; and, for a point
that changed its cluster, d floats and 2·d sums.
"""

import numpy as np
from numba import njit

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.nearest.call import call
from l2ae_kernels.cpu.nearest.sums import JIT, settle
from l2ae_kernels.cpu.nearest.tiles import COLUMNS

PANELS = 32  # in a block: 512 points


@njit(**JIT)
def pack_panels(x: Array, panels: Array, first: int, last: int) -> None:
    """Write points of x (n, d) to panels first … last − 1 of (⌈n/16⌉, d, 16), and zeros."""
    n, d = x.shape
    for t in range(first, last):
        for p in range(COLUMNS):
            i = t * COLUMNS + p
            for j in range(d):
                panels[t, j, p] = x[i, j] if i < n else 0


@njit(**JIT)
def assign_short(
    kernel: int, x: Array, centers: Array, labels: Array, distances: Array, first: int, last: int
) -> None:
    """Assign blocks first … last − 1 of x (n, d) to centers (k, d), packing as it goes."""
    n, d = x.shape
    panels = np.empty((PANELS, d, COLUMNS), x.dtype)
    new = np.empty(PANELS * COLUMNS, np.int32)
    nearest = np.empty(PANELS * COLUMNS, x.dtype)
    for block in range(first, last):
        start, stop = block * len(new), min(n, (block + 1) * len(new))
        count = (stop - start + COLUMNS - 1) // COLUMNS
        pack_panels(x[start:stop], panels, 0, count)
        call(
            kernel,
            (
                panels.ctypes.data, count, d, centers.ctypes.data, len(centers),
                new.ctypes.data, nearest.ctypes.data,
            ),
        )  # fmt: skip
        labels[start:stop] = new[: stop - start]
        distances[start:stop] = nearest[: stop - start]


@njit(**JIT)
def pass_short(
    kernel: int, move: int, x: Array, panels: Array, which: Array, centers: Array, labels: Array,
    constant: Array, sums: Array, counts: Array, changed: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Assign the points of slots first … last − 1 to the centers (R, k, d) of restarts `which`.

    labels (R, n) change. The slots cut the points into equal parts; sums (slots, R, k, padded(d)),
    counts (slots, R, k) and changed (slots, R) take the differences of each.
    """
    n, d = x.shape
    blocks = (len(panels) + PANELS - 1) // PANELS
    new, moves = np.empty(PANELS * COLUMNS, np.int32), np.empty((3, PANELS * COLUMNS), np.int32)
    for slot in range(first, last):
        for r in which:
            sums[slot, r], counts[slot, r], changed[slot, r] = 0, 0, 0
        for block in range(blocks * slot // len(sums), blocks * (slot + 1) // len(sums)):
            start, stop = block * len(new), min(n, (block + 1) * len(new))
            count = (stop - start + COLUMNS - 1) // COLUMNS
            points = panels.ctypes.data + panels[0].nbytes * PANELS * block
            for r in which:
                center = centers[r]
                call(
                    kernel, (points, count, d, center.ctypes.data, len(center), new.ctypes.data, 0)
                )
                changed[slot, r] += settle(
                    move, x[start:stop], new, labels[r, start:stop], moves, constant,
                    sums[slot, r], counts[slot, r],
                )  # fmt: skip


@njit(**JIT)
def distances_short(
    kernel: int, panels: Array, centers: Array, out: Array, first: int, last: int
) -> None:
    """Write squared distances of panels first … last − 1 to centers (m, d): out (m, n)."""
    d = panels.shape[1]
    block = np.empty((len(centers), PANELS * COLUMNS), out.dtype)
    for start in range(first, last, PANELS):
        count = min(PANELS, last - start)
        points = panels.ctypes.data + panels[0].nbytes * start
        call(kernel, (points, count, d, centers.ctypes.data, len(centers), block.ctypes.data))
        flat = block.ravel()
        here = min(out.shape[1] - start * COLUMNS, count * COLUMNS)
        for c in range(len(centers)):
            row = flat[c * count * COLUMNS : c * count * COLUMNS + here]
            out[c, start * COLUMNS : start * COLUMNS + here] = row
