"""k-means on the CPU: assign and update with Numba.

What changed against the reference: a block of samples stays in the first-level cache while all
centers pass by, so x is read once and no (n, k) or (n, d) array is ever written. Vector lanes are
samples where a sample is short, and features where it is long.

Reads and writes per sample: assign reads d floats and writes a label and a distance; update reads d
floats and a label and adds d float64 to the sums of its block.

Every result is bit-equal whatever the number of threads: the distances of a sample depend on that
sample and the centers alone, and update adds up fixed blocks of samples in a fixed order.
"""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.reference import restarts as reference

SHORT = 16  # features: up to here lanes that are samples win, measured with k = 10
SAMPLES = 256  # in one block of assign: 16 KB of short float32 samples, in the first-level cache
BLOCK_SAMPLES = 1024  # in one block of update, at least: fewer do not pay for private sums
MAX_BLOCKS = 32  # of private sums; more threads than this do not help update


def assign(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,); see the reference of the same name."""
    labels, distances = np.empty(len(x), np.int32), np.empty(len(x), x.dtype)
    kernel = _assign_short if x.shape[1] <= SHORT else _assign_long
    blocks, work = -(-len(x) // SAMPLES), 2 * x.size * len(centers)
    in_ranges(kernel, blocks, work, read_only(x), read_only(centers), labels, distances)
    return labels, distances


def update(x: Array, labels: Array, k: int) -> tuple[Array, Array]:
    """Return sums float64 (k, d) and counts int64 (k,); see the reference of the same name."""
    sums, counts = private_sums(len(x), x.shape[1], k)
    update_part(x, labels, 0, len(x), sums, counts)
    return sums.sum(axis=0), counts.sum(axis=0)


def block_count(n: int, k: int) -> int:
    """Return into how many blocks `update` cuts n samples of k clusters.

    With at most n / k blocks the private sums hold no more numbers than x does.
    """
    return max(1, min(MAX_BLOCKS, n // BLOCK_SAMPLES, n // k))


def private_sums(n: int, d: int, k: int) -> tuple[Array, Array]:
    """Return zeros: sums (blocks, k, d) and counts (blocks, k) of fixed blocks of n samples."""
    blocks = block_count(n, k)
    return np.zeros((blocks, k, d), np.float64), np.zeros((blocks, k), np.int64)


def update_part(x: Array, labels: Array, at: int, n: int, sums: Array, counts: Array) -> None:
    """Add samples at … at + len(x) − 1 of n to the private sums; after those before them.

    A block adds up its samples one after the other, so the bits are those of all at once.
    """
    labels = read_only(labels.astype(np.int32, copy=False))
    in_ranges(_update, len(sums), 16 * x.size, read_only(x), labels, at, n, sums, counts)


def add_to(sums: Array, x: Array, labels: Array) -> None:
    """Add samples x (m, d) with labels (m,) int32 to sums (k, d), one after the other."""
    counts = np.zeros((1, len(sums)), np.int64)
    _update(read_only(x), read_only(labels), 0, len(x), sums[None], counts, 0, 1)


class Restarts(reference.Restarts):
    """Several Lloyd runs over the same samples, one after the other; see the reference."""

    nearest_centers = staticmethod(assign)
    takes_parts = True
    update = staticmethod(update)


def read_only(x: Array) -> Array:
    """Return a C-contiguous read-only view: one compiled version serves every kind of array."""
    view = np.ascontiguousarray(x).view(np.ndarray)
    view.flags.writeable = False
    return view


@jit(fastmath={"contract"})
def _assign_short(
    x: Array, centers: Array, labels: Array, distances: Array, first: int, last: int
) -> None:
    """Lanes are samples: the block is transposed, and each center passes by all its samples."""
    n, d = x.shape
    for block in range(first, last):
        start, stop = block * SAMPLES, min(n, (block + 1) * SAMPLES)
        samples = stop - start
        features, candidate = np.empty((d, samples), x.dtype), np.empty(samples, x.dtype)
        for p in range(samples):
            for j in range(d):
                features[j, p] = x[start + p, j]
        distances[start:stop] = np.inf
        labels[start:stop] = 0
        for j in range(len(centers)):
            _distances_to(centers[j], features, candidate)
            _keep_nearer(np.int32(j), candidate, labels[start:stop], distances[start:stop])


@jit(fastmath={"contract"})
def _distances_to(center: Array, features: Array, distances: Array) -> None:
    distances[:] = 0
    for j in range(center.size):
        for p in range(distances.size):
            difference = features[j, p] - center[j]
            distances[p] += difference * difference


@jit()
def _keep_nearer(label: np.int32, candidate: Array, labels: Array, distances: Array) -> None:
    for p in range(candidate.size):  # without a branch, so that it runs in lanes
        nearer = candidate[p] < distances[p]  # strictly: equal ones keep the lowest index, NaN none
        labels[p] = label if nearer else labels[p]
        distances[p] = candidate[p] if nearer else distances[p]


@jit(fastmath={"contract"})
def _assign_long(
    x: Array, centers: Array, labels: Array, distances: Array, first: int, last: int
) -> None:
    """Lanes are features: a sample stays in cache, and all centers pass by."""
    for i in range(first * SAMPLES, min(len(x), last * SAMPLES)):
        label = 0
        nearest = x.dtype.type(np.inf)  # no NaN is lower
        for j in range(len(centers)):
            distance = _distance(x[i], centers[j])
            if distance < nearest:  # strictly: equal distances keep the lowest index
                label, nearest = j, distance
        labels[i] = label
        distances[i] = nearest


@jit(fastmath={"contract", "reassoc"})  # reassoc: partial sums, one a lane
def _distance(a: Array, b: Array) -> Any:
    total = a.dtype.type(0)
    for j in range(a.size):
        difference = a[j] - b[j]
        total += difference * difference
    return total


@jit()
def _update(
    x: Array, labels: Array, at: int, n: int, sums: Array, counts: Array, first: int, last: int
) -> None:
    m, d = x.shape
    blocks = len(sums)
    for block in range(first, last):
        start, stop = n * block // blocks - at, n * (block + 1) // blocks - at
        for i in range(max(0, start), min(m, stop)):
            label = labels[i]
            counts[block, label] += 1
            for j in range(d):
                sums[block, label, j] += x[i, j]
