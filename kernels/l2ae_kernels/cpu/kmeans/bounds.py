"""A pass over long samples: only the distances that can matter, by kernels whose lanes are centers.

Centers come in groups of 16, the columns of a tile. Each sample i keeps

    u_i      no less than its distance to its own center
    l_ig     no more than its distance to any other center of group g

and when the centers move, by δ_j, the triangle inequality says what is left of that:

    u_i += δ of its own center,   l_ig −= the largest δ of the others in group g

If u_i < l_ig for every g the label cannot change, and the sample is not even read (Hamerly 2010,
who has one bound for all centers; groups are from Ding and others, 2015). Else u_i becomes the
true distance, and only the groups with l_ig <= u_i are compared, by the tiles.

The bounds leave room for the rounding of float32, twice over: a sample that is skipped would have
got the same label, so the labels are those of a pass without bounds, bit for bit.

Reads and writes per sample and restart: 1 + G bounds and a label; d floats unless it is skipped;
and, for a sample that changed its cluster, 2·d sums.
"""

from typing import Any, NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.kmeans.call import call
from l2ae_kernels.cpu.kmeans.library import Kernels
from l2ae_kernels.cpu.kmeans.sums import Differences, apply_assignment
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS, PADDING

MOST_SAMPLES = 512  # in a chunk
CHUNK_BYTES = 1 << 17  # of a chunk that several groups read: it stays in the second cache
TINY = np.float32(1e-19)  # more than a distance whose square is nothing in float32
SHIFT = COLUMNS.bit_length() - 1  # label >> SHIFT is its group
STEP = 2.0**-23  # no less than the relative rounding of one float32 operation, twice


class CenterMoves(NamedTuple):
    """The centers of R runs, packed, and how far they moved since the bounds were made."""

    centers: Array  # (R, k, d)
    packed: Array  # (R, G, d, 16)
    own: Array  # (R, 16 · G), of each center
    most: Array  # (R, G), the largest in a group
    mover: Array  # (R, G) int64, the center that is
    second: Array  # (R, G), the largest of the others


class Bounds(NamedTuple):
    """What R runs remember of their n samples; of label −1 there are no bounds."""

    labels: Array  # (R, n or more) int32
    upper: Array  # (R, n), or of the first samples only
    lower: Array  # (R, n, G), of as many


def moved_centers(centers: Array, before: Array, packed: Array, active: Array) -> CenterMoves:
    """Pack the centers of the runs `active`; `before`, where they were, becomes what they are."""
    R, k, _ = centers.shape
    G = packed.shape[1]
    own = np.zeros((R, G * COLUMNS), np.float32)
    for r in active:
        difference = centers[r].astype(np.float64) - before[r]
        own[r, :k] = np.sqrt((difference**2).sum(axis=1)) * (1 + STEP)  # rounded up
        pack_groups(centers[r], packed[r])
        before[r] = centers[r]
    groups = own.reshape(R, G, COLUMNS).copy()
    mover = groups.argmax(axis=2)
    most = groups.max(axis=2)
    np.put_along_axis(groups, mover[:, :, None], 0, axis=2)
    mover += np.arange(G) * COLUMNS
    return CenterMoves(centers, packed, own, most, mover, groups.max(axis=2))


def group_count(k: int) -> int:
    """Groups that k centers make."""
    return -(-k // COLUMNS)


def pack_groups(centers: Array, packed: Array) -> None:
    """Write centers (k, d) to packed (G, d, 16); a center that does not exist is far away."""
    G, d, _ = packed.shape
    padded = np.full((G * COLUMNS, d), PADDING, centers.dtype)
    padded[: len(centers)] = centers
    packed[:] = padded.reshape(G, COLUMNS, d).transpose(0, 2, 1)


def chunk_samples(d: int, groups: int, rows: int) -> int:
    """Samples in a chunk, a multiple of the rows of a tile.

    One group reads a sample once: then chunks are large, for each may end in a tile half full.
    """
    most = MOST_SAMPLES if groups == 1 else min(MOST_SAMPLES, CHUNK_BYTES // (4 * d))
    return max(1, most // rows) * rows


@jit()
def assign_long(
    kernel: int, rows: int, chunk: int, x: Array, packed: Array,
    labels: Array, distances: Array, first: int, last: int,
) -> None:  # fmt: skip
    """Assign chunks first … last − 1 of x (n, d) to packed centers (G, d, 16)."""
    lists, sizes, nearest, second, columns = _workspace(chunk, rows, len(packed))
    for c in range(first, last):
        start, stop = c * chunk, min(len(x), (c + 1) * chunk)
        for g in range(len(packed)):
            for p in range(stop - start):
                lists[g, p] = p
            sizes[g] = stop - start
        _compare(kernel, rows, x[start:stop], packed, lists, sizes, nearest, second, columns)
        for p in range(stop - start):
            label, least = columns[0, p], nearest[0, p]
            for g in range(1, len(packed)):
                if nearest[g, p] < least:  # strictly: equal distances keep the lowest index
                    label, least = np.int32(g * COLUMNS + columns[g, p]), nearest[g, p]
            labels[start + p] = label
            distances[start + p] = least


@jit()
def pass_long(
    kernels: Kernels, chunk: int, x: Array, at: int, active: Array, moved: CenterMoves,
    bounds: Bounds, to: Differences, first: int, last: int,
) -> None:  # fmt: skip
    """Assign the samples of slots first … last − 1 to the centers that moved, of runs `active`.

    The bounds change with the labels, those of number `at` and more. A chunk that not all of the
    bounds reach has none. Slots and differences: as in a pass over short samples.
    """
    n, d = x.shape
    # Of a distance: half the relative rounding of its square, but twice over.
    margin = np.float32(1 + (d + 8) * STEP)
    rows, work = kernels.rows, _workspace(chunk, kernels.rows, moved.packed.shape[1])
    new, moves = np.empty(chunk, np.int32), np.empty((3, chunk), np.int32)
    chunks, slots = (n + chunk - 1) // chunk, len(to.sums)
    scratch = np.empty(chunk, np.float32), np.empty((chunk, moved.packed.shape[1]), np.float32)
    for slot in range(first, last):
        for r in active:
            to.sums[slot, r], to.counts[slot, r], to.changed[slot, r] = 0, 0, 0
        for c in range(chunks * slot // slots, chunks * (slot + 1) // slots):
            start, stop = c * chunk, min(n, (c + 1) * chunk)
            samples = x[start:stop]
            for r in active:
                labels = bounds.labels[r, at + start : at + stop]
                upper, lower = scratch[0][: stop - start], scratch[1][: stop - start]
                known = at + stop <= bounds.upper.shape[1]
                if known:
                    upper = bounds.upper[r, at + start : at + stop]
                    lower = bounds.lower[r, at + start : at + stop]
                here = labels, upper, lower
                _select(samples, moved, r, margin, known, *here, work)
                _compare(kernels.long, rows, samples, moved.packed[r], *work)
                _take_bounds(margin, *here, new, work)
                apply_assignment(kernels.move, samples, new, labels, moves, to, slot, r)


@jit()
def _workspace(chunk: int, rows: int, G: int) -> Any:
    """Return for each group: the list of its samples, its size, and what comes out for them."""
    shape = (G, chunk + rows)
    return (
        np.zeros(shape, np.int32), np.zeros(G, np.int64),
        np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32),
    )  # fmt: skip


@jit(fastmath={"contract", "reassoc"})  # reassoc: partial sums, one a lane
def _distance(a: Array, b: Array) -> Any:
    total = np.float32(0)
    for j in range(a.size):
        difference = a[j] - b[j]
        total += difference * difference
    return np.sqrt(total)


@jit()
def _select(
    x: Array, moved: CenterMoves, r: int, margin: float, known: bool, labels: Array, upper: Array,
    lower: Array, work: Any,
) -> None:  # fmt: skip
    """List for every group the samples of the chunk that have to be compared with its centers."""
    lists, sizes = work[0], work[1]
    sizes[:] = 0
    G = sizes.size
    centers, moves = moved.centers[r], moved.own[r]
    most, mover, second = moved.most[r], moved.mover[r], moved.second[r]
    shrink = np.float32(1 - STEP)
    for i in range(len(x)):
        own = labels[i]
        if own < 0 or not known:
            upper[i], lower[i] = np.inf, -np.inf
        else:
            u, near = (upper[i] + moves[own]) * np.float32(1 + STEP), 0
            for g in range(G):
                low = (lower[i, g] - (second[g] if mover[g] == own else most[g])) * shrink
                lower[i, g] = low
                near |= not u < low
            if near and G > 1:  # for one group a look at x costs as much as a comparison
                u, near = _distance(x[i], centers[own]) * margin + TINY, 0
                for g in range(G):
                    near |= not u < lower[i, g]
            upper[i] = u
            if not near:
                continue
        for g in range(G):  # without a branch: it could not be foretold
            lists[g, sizes[g]] = i
            sizes[g] += (not upper[i] < lower[i, g]) | (g == own >> SHIFT)


@jit()
def _compare(
    kernel: int, rows: int, x: Array, packed: Array,
    lists: Array, sizes: Array, nearest: Array, second: Array, columns: Array,
) -> None:  # fmt: skip
    """Compare the samples of each list with the centers of its group."""
    for g in range(sizes.size):
        size = sizes[g]
        if size == 0:
            continue
        whole = (size + rows - 1) // rows * rows
        lists[g, size:whole] = lists[g, size - 1]  # the last tile is filled up with one sample
        call(
            kernel,
            (
                x.ctypes.data, x.shape[1], lists[g].ctypes.data, whole, packed[g].ctypes.data,
                nearest[g].ctypes.data, second[g].ctypes.data, columns[g].ctypes.data,
            ),
        )  # fmt: skip


@jit()
def _take_bounds(
    margin: float, labels: Array, upper: Array, lower: Array, new: Array, work: Any
) -> None:
    """Write the new labels of the samples of a chunk, and the bounds of those compared."""
    lists, sizes, nearest, second, columns = work
    n = len(labels)
    inverse = np.float32(1) / margin
    best = np.full(n, np.nan, np.float32)
    new[:n] = -1
    for g in range(sizes.size):
        for e in range(sizes[g]):
            i, distance = lists[g, e], nearest[g, e]
            if not distance >= best[i]:  # the first, or nearer: equal ones keep the lowest index
                best[i], new[i] = distance, g * COLUMNS + columns[g, e]
    for g in range(sizes.size):
        for e in range(sizes[g]):  # these run in lanes
            nearest[g, e] = np.sqrt(nearest[g, e]) * inverse
            second[g, e] = np.sqrt(second[g, e]) * inverse
        for e in range(sizes[g]):
            i = lists[g, e]
            lower[i, g] = second[g, e] if new[i] >> SHIFT == g else nearest[g, e]
    for i in range(n):
        if new[i] < 0:
            new[i] = labels[i]
        else:
            upper[i] = np.sqrt(best[i]) * margin + TINY


@jit()
def distances_long(
    kernel: int, chunk: int, x: Array, packed: Array, out: Array, first: int, last: int
) -> None:
    """Write squared distances of chunks first … last − 1 to packed centers: out (m, n)."""
    list_ = np.empty(chunk, np.int32)
    block = np.empty((chunk, COLUMNS), out.dtype)
    for c in range(first, last):
        start, stop = c * chunk, min(len(x), (c + 1) * chunk)
        for p in range(chunk):
            list_[p] = min(p, stop - start - 1)
        samples = x.ctypes.data + start * x.shape[1] * x.itemsize
        for g in range(len(packed)):
            call(
                kernel,
                (
                    samples, x.shape[1], list_.ctypes.data, chunk,
                    packed[g].ctypes.data, block.ctypes.data,
                ),
            )  # fmt: skip
            for column in range(min(COLUMNS, len(out) - g * COLUMNS)):
                for p in range(stop - start):
                    out[g * COLUMNS + column, start + p] = block[p, column]
