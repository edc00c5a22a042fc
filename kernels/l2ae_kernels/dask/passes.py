"""What tasks compute from a chunk: functions of their arguments alone.

x (m, d) are samples first … first + m − 1 of n. `Plan` is what all chunks have to know.

Where kernels are emitted for float32, sums are exact (`cpu/kmeans/sums.py`), and those of the
chunks are added up. The sums of the other rungs depend on the order of the additions, which
ordered.py keeps.
"""

from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.kmeans import part
from l2ae_kernels.cpu.kmeans.assign import assign
from l2ae_kernels.cpu.numba import kmeans as blocked
from l2ae_kernels.dask.numpy_sums import Piece, piece_of
from l2ae_kernels.dask.ordered import Sums, begin_blocks
from l2ae_kernels.reference.restarts import BLOCK, draw_in_block, potentials_of

STEP = 1 << 16  # samples, a multiple of all blocks


@dataclass(frozen=True)
class Plan:
    """What is the same for all chunks, and all passes."""

    n: int  # samples
    k: int  # centers of a run
    emitted: bool  # whether kernels are: then sums are exact
    constant: Array | None = None  # (1,), that rounds samples to be summed; see cpu/kmeans/sums.py


class Assigned(NamedTuple):
    """What a pass of A runs finds in a chunk; the labels are not kept."""

    counts: Array  # (A, k) int64
    sums: Array | None  # (A, k, d) float64 of emitted kernels: exact
    blocks: list[Sums]  # of each run, else: those of blocks of samples, see ordered.py
    distances: list[list[Piece]]  # of each run's sum of squared distances, if they were wanted
    farthest: list[tuple[float, int]]  # the largest of them, and the first row that has it


def middle(x: Array, first: int) -> Array:
    """Return a point (d,) float64 amid the samples, of the first chunk."""
    return part.middle_of(x)


def measure(x: Array, first: int, middle: Array, *, plan: Plan) -> tuple[float, Array]:
    """Return max |x|, and Σ |x_i − middle|² of blocks of samples; none where sums are not exact."""
    if plan.emitted:
        return part.max_abs_and_scatter(x, middle)
    return float(np.maximum(x.max(initial=0), -x.min(initial=0))), np.zeros(0)


def assign_chunk(
    x: Array, first: int, centers: Array, *, plan: Plan, with_distances: bool
) -> Assigned:
    """Assign the samples of a chunk to centers (A, k, d) of A runs."""
    if plan.constant is None:
        return _run_by_run(x, first, centers, None, plan)
    counts, sums = np.zeros(centers.shape[:2], np.int64), np.zeros(centers.shape)
    for rows in _steps(x):
        found = part.assign_part(x[rows], centers, plan.constant)
        counts += found.counts
        sums += found.sums
    if with_distances:
        return _run_by_run(x, first, centers, sums, plan)
    return Assigned(counts, sums, [], [], [])


def _run_by_run(x: Array, first: int, centers: Array, sums: Array | None, plan: Plan) -> Assigned:
    """Assign with distances; exact sums, if there are any, are those given."""
    rung = blocked.assign if sums is None else assign
    found = Assigned(np.zeros(centers.shape[:2], np.int64), sums, [], [], [])
    for a, of_run in enumerate(centers):
        labels, distances = rung(x, of_run)
        found.counts[a] = np.bincount(labels, minlength=plan.k)
        if sums is None:
            found.blocks.append(begin_blocks(x, first, labels, plan.n, plan.k))
        found.distances.append([piece_of(distances, first, plan.n)])
        at = int(distances.argmax())
        found.farthest.append((float(distances[at]), first + at))
    return found


def add_up(*found: Assigned) -> Assigned:
    """Return what chunks side by side have together, but for the blocks of samples."""
    exact = [one.sums for one in found if one.sums is not None]
    return Assigned(
        np.sum([one.counts for one in found], axis=0),
        np.sum(exact, axis=0) if exact else None,
        [],
        [[*chain(*pieces)] for pieces in zip(*(one.distances for one in found), strict=True)],
        [
            max(of_run, key=itemgetter(0))  # the first of equals
            for of_run in zip(*(one.farthest for one in found), strict=True)
        ],
    )


def _steps(x: Array) -> list[slice]:
    """Return x in steps of whole blocks: what is computed of one stays small."""
    return [slice(start, start + STEP) for start in range(0, len(x), STEP)]


def potentials(
    x: Array, first: int, nearest: Array | None, candidates: Array, *, plan: Plan
) -> Array:
    """Return the potentials (R, c, blocks) of candidates (R, c, d) beside nearest (R, m)."""
    if nearest is None:
        nearest = _no_center(x, len(candidates))
    return _min_sq_distances(x, candidates, nearest, False, plan)


def nearest_after(
    x: Array, first: int, nearest: Array | None, centers: Array, *, plan: Plan
) -> Array:
    """Return the squared distances (R, m) to the nearest center, with centers (R, 1, d) as well."""
    after = _no_center(x, len(centers)) if nearest is None else nearest.copy()
    _min_sq_distances(x, centers, after, True, plan)
    return after


def _no_center(x: Array, runs: int) -> Array:
    return np.full((runs, len(x)), np.inf, x.dtype)


def _min_sq_distances(x: Array, candidates: Array, nearest: Array, keep: bool, plan: Plan) -> Array:
    found = []
    for rows in _steps(x):
        near = np.ascontiguousarray(nearest[:, rows])
        found.append(_potentials(x[rows], candidates, near, keep, plan))
        if keep:
            nearest[:, rows] = near
    return np.concatenate(found, axis=2)


def _potentials(x: Array, candidates: Array, nearest: Array, keep: bool, plan: Plan) -> Array:
    if plan.emitted:
        return part.min_sq_distances(x, plan.k, candidates, nearest, keep)
    R, c, d = candidates.shape
    lower = np.stack([blocked.assign(x, one[None])[1] for one in candidates.reshape(R * c, d)])
    return potentials_of(lower.reshape(R, c, -1), nearest, keep)


class Hit(NamedTuple):
    """A draw that fell on a block of samples."""

    run: int
    candidate: int
    block: int  # of BLOCK samples, counted over all chunks
    target: float  # in the sum of its weights


def draw(x: Array, first: int, nearest: Array, *, hits: list[Hit]) -> list[tuple[int, int, Array]]:
    """Return the run, the candidate and the sample (d,) of each draw, by weights nearest (R, m)."""
    found = []
    for hit in hits:
        start = hit.block * BLOCK - first
        weights = nearest[hit.run, start : start + BLOCK]
        found.append((hit.run, hit.candidate, x[start + draw_in_block(weights, hit.target)].copy()))
    return found


def rows_of(x: Array, first: int, *, rows: Array) -> Array:
    """Return rows (numbers among all samples) of a chunk."""
    found: Array = x[rows - first]
    return found
