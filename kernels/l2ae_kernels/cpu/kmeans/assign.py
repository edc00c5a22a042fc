"""assign, rung `register`: emitted tiles of distances, the running minimum in registers.

What changed against the Numba rung: five centers (samples) by sixteen samples (centers) are summed
up at a time, so a number that is loaded is used five or sixteen times, and the sums never leave
their registers; there each step loads two numbers for one multiply-add.

Reads and writes per sample: d floats, which are transposed in cache where samples are short; a
label and a distance. The centers stay in cache; where samples are long they are packed once a call.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.kmeans.bounds import assign_long, chunk_samples, group_count, pack_groups
from l2ae_kernels.cpu.kmeans.library import kernels
from l2ae_kernels.cpu.kmeans.short import PANELS, assign_short
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.numba.kmeans import read_only
from l2ae_kernels.cpu.threads import in_ranges

SHORT = 16  # features: up to here lanes that are samples always win
FEW = 1024  # features × centers: up to here a pass over all distances is cheaper than bounds


def is_short(d: int, k: int) -> bool:
    """Whether lanes are samples for k centers of d features."""
    return d <= SHORT or d * k <= FEW


def assign(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,); see the reference of the same name."""
    labels, distances = np.empty(len(x), np.int32), np.empty(len(x), x.dtype)
    k, d = centers.shape
    work, emitted = 2 * x.size * k, kernels()
    x, centers = read_only(x), read_only(_infinite_where_nan(centers))
    if is_short(d, k):
        blocks = -(-len(x) // (PANELS * COLUMNS))
        in_ranges(assign_short, blocks, work, emitted, x, centers, labels, distances)
    else:
        packed = np.empty((group_count(k), d, COLUMNS), x.dtype)
        pack_groups(centers, packed)
        chunk = chunk_samples(d, len(packed), emitted.rows)
        arguments = emitted.long, emitted.rows, chunk, x, packed, labels, distances
        in_ranges(assign_long, -(-len(x) // chunk), work, *arguments)
    return labels, distances


def _infinite_where_nan(centers: Array) -> Array:
    """Return the centers with NaN replaced by infinity: they are nearest to no sample."""
    none = np.isnan(centers)
    return np.where(none, centers.dtype.type(np.inf), centers) if none.any() else centers
