"""Sums whose bits depend on the order of the additions: those of `cpu.numba.kmeans.update`.

That rung cuts all samples into blocks and adds up the samples of each one after the other. A block
that goes on in the next chunk is a chain of tasks: what the sums are at the end of a chunk goes to
the task of the next, which assigns those samples once more. Blocks are side by side.
"""

from typing import NamedTuple, TypeAlias

import dask.array as da
import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.numba.kmeans import add_to, assign, block_count
from l2ae_kernels.dask.chunks import Chunks
from l2ae_kernels.dask.numpy_sums import Piece, piece_of, sum_of_pieces
from l2ae_kernels.dask.tasks import Task, compute

Sums: TypeAlias = dict[int, Array]  # block → (k, d) float64


class Carried(NamedTuple):
    """The sums of a block at the end of a chunk; a pass over a chunk has such blocks, too."""

    blocks: list[Sums]  # of each run


def sum_tasks(
    chunks: Chunks, passed: list[Task], centers: Task | Array, n: int, k: int
) -> list[Task]:
    """Return a task for each block whose result holds the sums of that block.

    passed: of each chunk, the task that began the blocks there.
    """
    tasks = []
    for block in range(block_count(n, k)):
        first, last = _range(n, k, block)
        at, end = chunks.holding(np.array([first, last - 1])).tolist()
        sums = passed[at]
        for p in range(at + 1, end + 1):
            sums = chunks.task(p, continue_block, sums, centers, block=block, n=n)
        tasks.append(sums)
    return tasks


def begin_blocks(x: Array, first: int, labels: Array, n: int, k: int) -> Sums:
    """Return the sums in a chunk of the blocks that begin there, for labels (m,)."""
    begun: Sums = {}
    for block in range(block_count(n, k)):
        low, high = (end - first for end in _range(n, k, block))
        if 0 <= low < len(x):
            begun[block] = np.zeros((k, x.shape[1]))
            add_to(begun[block], x[low:high], labels[low:high])
    return begun


def continue_block(
    x: Array, first: int, before: Carried, centers: Array, *, block: int, n: int
) -> Carried:
    """Return the sums of a block after a chunk that it goes on in, with centers (A, k, d)."""
    after: list[Sums] = []
    rows = x[: max(0, _range(n, centers.shape[1], block)[1] - first)]
    for sums, of_run in zip(before.blocks, centers, strict=True):
        after.append({block: sums[block].copy()})
        add_to(after[-1][block], rows, assign(rows, of_run)[0])
    return Carried(after)


def total(sums: list[Carried]) -> Array:
    """Return the sums (A, k, d) of all blocks: result i holds those of block i."""
    by_run = zip(*(of.blocks for of in sums), strict=True)
    return np.stack([np.stack([of[i] for i, of in enumerate(run)]).sum(axis=0) for run in by_run])


def _range(n: int, k: int, block: int) -> tuple[int, int]:
    blocks = block_count(n, k)
    return n * block // blocks, n * (block + 1) // blocks


def variances(x: da.Array) -> Array:
    """Return x.var(axis=0, dtype=np.float64) of samples x (n, d), to the bit.

    NumPy adds up the rows one after the other: so does a chain of tasks, twice.
    """
    chunks = Chunks(x)
    mean = _sum_of_rows(chunks, x) / len(x)
    return _sum_of_rows(chunks, x, mean) / len(x)


def _sum_of_rows(chunks: Chunks, x: da.Array, mean: Array | None = None) -> Array:
    """Return Σ x_i (d,), or with a mean Σ (x_i − mean)²."""
    if x.shape[1] == 1:  # NumPy adds up numbers that lie side by side as numpy_sums.py says
        dtype = x.dtype if mean is None else np.dtype(np.float64)
        pieces = compute(chunks.map(_piece_of_rows, mean=mean, n=len(x)))
        return np.array([sum_of_pieces(pieces, len(x), dtype)])
    total: Task | None = None
    for p in range(len(chunks)):
        total = chunks.task(p, _add_rows, total, mean=mean)
    assert total is not None  # there is a chunk
    found: Array = compute([total])[0]
    return found


def _add_rows(x: Array, first: int, total: Array | None, *, mean: Array | None) -> Array:
    rows = _terms(x, mean).astype(np.float64, copy=False)
    found: Array = np.add.reduce(rows if total is None else np.vstack([total, rows]), axis=0)
    return found


def _piece_of_rows(x: Array, first: int, *, mean: Array | None, n: int) -> Piece:
    return piece_of(_terms(x, mean)[:, 0], first, n)


def _terms(x: Array, mean: Array | None) -> Array:
    return x if mean is None else np.square(x - mean)
