"""One part of the samples: what a pass computes from it, with no state in between.

For samples that lie elsewhere, or on several machines. A part holds samples f … f + m − 1 of all
n, f a multiple of BLOCK. What the parts give is, put together, bit for bit what all samples at once
give: a label and a distance depend on one sample, the sums are exact (sums.py), and scatter
and potentials are sums of fixed blocks of samples.

    middle = middle_of(first part)
    max |x|, T   np.max, and np.concatenate(scatters).sum(), of max_abs_and_scatter(part, middle)
    constant     rounding_constant(n, max |x|)
    pass         sums and counts of all parts, added up; then inertia_around, see restarts.py

float32 where kernels are emitted. The sums of the other rungs depend on the order of the additions.
"""

from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.kmeans import bounds, short, sums
from l2ae_kernels.cpu.kmeans.assign import is_short
from l2ae_kernels.cpu.kmeans.library import kernels
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.numba.kmeans import read_only
from l2ae_kernels.cpu.threads import get_threads, in_ranges
from l2ae_kernels.reference import restarts as reference
from l2ae_kernels.samples import BLOCK


class Assigned(NamedTuple):
    """What a pass of R runs makes of a part of m samples."""

    labels: Array  # (R, m) int32
    sums: Array  # (R, k, d) float64, exact: minus those of the labels before, if there were some
    counts: Array  # (R, k) int64, so too
    changed: Array  # (R,) int64, labels that are new


def middle_of(x: Array) -> Array:
    """Return a point (d,) float64 amid the samples, from the first part x (m, d) of them."""
    with np.errstate(over="ignore", invalid="ignore"):  # of x that are not finite
        middle: Array = x[:BLOCK].mean(axis=0, dtype=np.float64)
    return middle


def max_abs_and_scatter(x: Array, middle: Array) -> tuple[float, Array]:
    """Return max |x| of a part x (m, d), and Σ |x_i − middle|² of its blocks (⌈m / BLOCK⌉,).

    max |x| is not finite where x holds NaN or infinity.
    """
    x, blocks = read_only(x), -(-len(x) // BLOCK)
    middles = np.tile(middle, max(1, BLOCK // x.shape[1]))
    max_abs, scatter = np.zeros(blocks, np.int32), np.zeros(blocks)
    arguments = x, x.view(np.int32), middles, max_abs, scatter
    in_ranges(sums.max_abs_blocks, blocks, 4 * x.size, *arguments)
    return float(max_abs.max(initial=0).view(np.float32)), scatter


def assign_part(x: Array, centers: Array, constant: Array, before: Array | None = None) -> Assigned:
    """Assign the samples of a part x (m, d) to the centers (R, k, d) of R runs; ties: the first.

    constant: `rounding_constant` of all n samples. before: labels (R, m) int32 in [0, k) that sums
    and counts are the difference to; None: there were none.
    """
    (m, d), (R, k, _) = x.shape, centers.shape
    x, slots, runs = read_only(x), get_threads(), np.arange(R)
    labels = np.full((R, -(-m // COLUMNS) * COLUMNS), -1, np.int32)  # whole panels
    if before is not None:
        labels[:, :m] = before
    to, work = sums.differences(constant, d, k, R, slots), 2 * x.size * k * R
    if is_short(d, k):
        panels = np.empty((0, d, COLUMNS), x.dtype)
        largest, centers = float(np.abs(x).max(initial=0)), np.ascontiguousarray(centers)
        arguments = kernels(), x, panels, 0, runs, centers, labels, largest, to
        in_ranges(short.pass_short, slots, work, *arguments)
    else:
        G, emitted = bounds.group_count(k), kernels()
        packed = np.empty((R, G, d, COLUMNS), x.dtype)
        moved = bounds.moved_centers(centers, np.zeros_like(centers), packed, runs)
        no_bounds = bounds.Bounds(labels, np.empty((R, 0), x.dtype), np.empty((R, 0, G), x.dtype))
        chunk = bounds.chunk_samples(d, G, emitted.rows)
        in_ranges(bounds.pass_long, slots, work, emitted, chunk, x, 0, runs, moved, no_bounds, to)
    found = np.zeros((R, k, d)), np.zeros((R, k), np.int64), np.zeros(R, np.int64)
    sums.add_up(runs, to, *found)
    return Assigned(labels[:, :m], *found)


def min_sq_distances(x: Array, k: int, candidates: Array, nearest: Array, keep: bool) -> Array:
    """Return the potentials (R, c, ⌈m / 512⌉) of candidates (R, c, d) in a part x (m, d).

    k: centers of a run, which decide on the order of the additions. nearest (R, m), C-contiguous,
    only changes if `keep`; see `Restarts.min_sq_distances` of the reference.
    """
    R, c, d = candidates.shape
    x, candidates = read_only(x), read_only(candidates)
    if not is_short(d, k):
        lower = sq_distances(x, candidates.reshape(R * c, d)).reshape(R, c, -1)
        return reference.potentials_of(lower, nearest, keep)
    potentials = np.empty((R, c, -(-len(x) // reference.BLOCK)))
    panels = np.empty((0, d, COLUMNS), x.dtype)
    arguments = x, panels, 0, candidates, nearest, potentials, keep
    work = 2 * x.size * R * c
    in_ranges(short.min_sq_distances, potentials.shape[2], work, kernels(), *arguments)
    return potentials


def sq_distances(x: Array, candidates: Array) -> Array:
    """Return the squared distances (c, m) of candidates (c, d) to samples x (m, d), in one pass."""
    (m, d), emitted = x.shape, kernels()
    out = np.empty((len(candidates), m), x.dtype)
    packed = np.empty((bounds.group_count(len(out)), d, COLUMNS), x.dtype)
    bounds.pack_groups(candidates, packed)
    chunk = bounds.chunk_samples(d, len(packed), emitted.rows)
    work = 2 * x.size * len(out)
    arguments = emitted.long_all, chunk, x, packed, out
    in_ranges(bounds.distances_long, -(-m // chunk), work, *arguments)
    return out
