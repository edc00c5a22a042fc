"""A pass over short samples: all distances, by kernels whose lanes are samples.

The samples are packed once, 16 side by side, feature by feature. A block of them, some ten
kilobytes, stays in the first-level cache while the centers of every restart pass by. The kernel
compares the new labels with the old ones, a bit for each, and a sample that changed goes from one
sum to another; a panel where nothing changed is not looked at again.

Reads and writes per sample and restart: d floats from cache, a label twice; and, for a sample
that changed its cluster, d floats and 2·d sums.
"""

import math
from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.call import call
from l2ae_kernels.cpu.kmeans.library import Kernels
from l2ae_kernels.cpu.kmeans.screened import lift
from l2ae_kernels.cpu.kmeans.sums import Differences, apply_assignment_panels
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.reference.restarts import BLOCK

PANELS = BLOCK // COLUMNS  # in a block
PASS_BYTES = 1 << 16  # of a block of a pass: kernels are called seldom, and the samples stay near
BLOCKS = 8  # of a pass and slot, if they need not be shorter than others: slots are about equal
LEFT = 8  # screening stops where one panel in so many is assigned twice
LINE = 64  # bytes of a line of the caches
FIRST = np.int64(0)  # a 0 in a call is a type of its own to Numba, which compiles for it again


def in_lines(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an empty array that begins with a line of the caches; so do its vectors.

    A vector of 16 floats that lies in two lines is two loads.
    """
    size, itemsize = math.prod(shape), np.dtype(dtype).itemsize
    memory = np.empty(size + LINE // itemsize, dtype)
    first = -memory.ctypes.data % LINE // itemsize
    return memory[first : first + size].reshape(shape)


@jit()
def pack_panels(kernel: int, x: Array, panels: Array, first: int, last: int) -> None:
    """Write samples of x (n, d) to panels first … last − 1 of (⌈n/16⌉, d, 16), and zeros."""
    d = x.shape[1]
    whole = min(last, len(x) // COLUMNS)
    if first < whole:
        samples = x[first * COLUMNS :]
        call(kernel, (samples.ctypes.data, whole - first, d, panels[first:].ctypes.data))
    for t in range(max(first, whole), last):  # the last one, with fewer samples
        panels[t] = 0
        for i in range(t * COLUMNS, len(x)):
            for j in range(d):
                panels[t, j, i - t * COLUMNS] = x[i, j]


@jit()
def assign_short(
    kernels: Kernels, x: Array, centers: Array, labels: Array, distances: Array, first: int,
    last: int,
) -> None:  # fmt: skip
    """Assign blocks first … last − 1 of x (n, d) to centers (k, d), packing as it goes."""
    n, d = x.shape
    panels = np.empty((PANELS, d, COLUMNS), x.dtype)
    new = np.empty(PANELS * COLUMNS, np.int32)
    nearest = np.empty(PANELS * COLUMNS, x.dtype)
    for block in range(first, last):
        start, stop = block * len(new), min(n, (block + 1) * len(new))
        count = (stop - start + COLUMNS - 1) // COLUMNS
        pack_panels(kernels.pack, x[start:stop], panels, FIRST, count)
        call(
            kernels.short,
            (
                panels.ctypes.data, count, d, centers.ctypes.data, len(centers),
                0, new.ctypes.data, 0, nearest.ctypes.data,
            ),
        )  # fmt: skip
        for i in range(start, stop):
            labels[i], distances[i] = new[i - start], nearest[i - start]


@jit()
def pass_short(
    kernels: Kernels, x: Array, panels: Array, at: int, active: Array, centers: Array,
    labels: Array, largest: float, to: Differences, first: int, last: int,
) -> None:  # fmt: skip
    """Assign the samples of slots first … last − 1 to the centers (R, k, d) of restarts `active`.

    Without panels a block is packed for all restarts. labels (R, whole panels) change, from number
    `at` on. The slots cut the samples into equal parts, and the differences `to` have a place for
    each. `largest` is max |x_ij|, or more. The blocks of a slot are screened (screened.py) as long
    as few panels need a second look.
    """
    n, d = x.shape
    slots = len(to.sums)
    size = _pass_panels(n, d, slots)
    blocks = (n + size * COLUMNS - 1) // (size * COLUMNS)
    block_panels = np.empty((0 if len(panels) else size, d, COLUMNS), x.dtype)
    new, moves = np.empty(size * COLUMNS, np.int32), np.empty((3, size * COLUMNS), np.int32)
    different = np.empty(size, np.int32)
    lifted = np.empty((len(centers), d + 1, centers.shape[1]), x.dtype)
    guards, screens = np.empty(len(centers), x.dtype), np.zeros(len(centers), np.bool_)
    left = np.zeros(1, np.int64)
    for r in active:
        if kernels.screens:
            guards[r] = lift(centers[r], largest, lifted[r])
    for slot in range(first, last):
        for r in active:
            to.sums[slot, r], to.counts[slot, r], to.changed[slot, r] = 0, 0, 0
            screens[r] = kernels.screens and np.isfinite(guards[r])
        for block in range(blocks * slot // slots, blocks * (slot + 1) // slots):
            start, stop = block * len(new), min(n, (block + 1) * len(new))
            count = (stop - start + COLUMNS - 1) // COLUMNS
            samples = _packed(kernels.pack, x[start:stop], panels, block * size, block_panels)
            for r in active:
                center, before = centers[r], labels[r, at + start :]
                if screens[r]:
                    left[0] = 0
                    call(
                        kernels.screened,
                        (
                            samples, count, d, center.ctypes.data, len(center),
                            lifted[r].ctypes.data, guards[r:].ctypes.data, before.ctypes.data,
                            new.ctypes.data, different.ctypes.data, left.ctypes.data,
                        ),
                    )  # fmt: skip
                    screens[r] = LEFT * left[0] <= count
                else:
                    call(
                        kernels.short,
                        (
                            samples, count, d, center.ctypes.data, len(center),
                            before.ctypes.data, new.ctypes.data, different.ctypes.data, 0,
                        ),
                    )  # fmt: skip
                apply_assignment_panels(
                    kernels.move, x[start:stop], new, different, before, moves, to, slot, r
                )


@jit()
def _pass_panels(n: int, d: int, slots: int) -> int:
    """Return how many panels of n samples of d features a block of a pass has."""
    panels = (n + COLUMNS - 1) // COLUMNS
    return max(PANELS, min(PASS_BYTES // (4 * COLUMNS * d), panels // (BLOCKS * slots)))


@jit()
def _packed(kernel: int, x: Array, panels: Array, first: int, block_panels: Array) -> Any:
    """Return the address of samples x, packed: in the panels, from `first` on, if there are any."""
    if len(panels):
        return np.int64(panels.ctypes.data) + panels[0].nbytes * first
    pack_panels(kernel, x, block_panels, FIRST, (len(x) + COLUMNS - 1) // COLUMNS)
    return np.int64(block_panels.ctypes.data)


@jit()
def min_sq_distances(
    kernels: Kernels, x: Array, panels: Array, at: int, candidates: Array, nearest: Array,
    potentials: Array, keep: bool, first: int, last: int,
) -> None:  # fmt: skip
    """Write potentials (R, m, blocks) of candidates (R, m, d) for blocks first … last − 1 of x.

    They are sums of the lower of a distance and `nearest` (R, n); `keep`: nearest becomes the lower
    one for candidate 0. Panels and `at` as in a pass: sample 0 of x has number `at`.
    """
    n, d = x.shape
    R, m, _ = candidates.shape
    block_panels = np.empty((0 if len(panels) else PANELS, d, COLUMNS), x.dtype)
    memory = np.empty((m, PANELS * COLUMNS), nearest.dtype)
    for block in range(first, last):
        start, stop = block * PANELS * COLUMNS, min(n, (block + 1) * PANELS * COLUMNS)
        count = (stop - start + COLUMNS - 1) // COLUMNS
        here = _packed(kernels.pack, x[start:stop], panels, block * PANELS, block_panels)
        distances = memory.ravel()[: m * count * COLUMNS].reshape(m, count * COLUMNS)
        for r in range(R):
            call(
                kernels.short_all,
                (here, count, d, candidates[r].ctypes.data, m, distances.ctypes.data),
            )
            limit = nearest[r, at + start : at + stop]
            for c in range(m):
                potentials[r, c, at // (PANELS * COLUMNS) + block] = _sum_of_lower(
                    distances[c], limit
                )
            if keep:
                for i in range(limit.size):
                    limit[i] = np.minimum(distances[0, i], limit[i])


@jit(fastmath={"reassoc"})  # reassoc: partial sums, one a lane
def _sum_of_lower(a: Array, b: Array) -> float:
    total = 0.0
    for i in range(b.size):
        total += np.float64(a[i] if a[i] < b[i] else b[i])
    return total
