"""Sums whose bits depend on the order of the additions: those of `cpu.numba.kmeans.update`.

That rung cuts all samples into blocks and adds up the samples of each one after the other. A block
that goes on in the next chunk is a chain of tasks: what the sums are at the end of a chunk goes to
the task of the next. Blocks are side by side.
"""

from typing import TypeAlias

import dask.array as da
import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.numba.kmeans import add_to, block_count
from l2ae_kernels.dask.chunks import Chunks
from l2ae_kernels.dask.numpy_sums import Piece, piece_of, sum_of_pieces
from l2ae_kernels.dask.passes import Found, Plan
from l2ae_kernels.dask.tasks import Task, compute

Sums: TypeAlias = dict[int, Array]  # block → (A, k, d) float64 of A runs


def sum_tasks(chunks: Chunks, found: list[Task], plan: Plan) -> list[Task]:
    """Return a task for each block whose result holds the sums of that block."""
    begun = chunks.map(begin_blocks, found, plan=plan)
    tasks = []
    for block in range(block_count(plan.n, plan.k)):
        first, last = _range(plan, block)
        at, end = chunks.holding(np.array([first, last - 1])).tolist()
        sums = begun[at]
        for p in range(at + 1, end + 1):
            sums = chunks.task(p, continue_block, found[p], sums, block=block, plan=plan)
        tasks.append(sums)
    return tasks


def begin_blocks(x: Array, first: int, found: Found, *, plan: Plan) -> Sums:
    """Return the sums in a chunk of the blocks that begin there."""
    begun: Sums = {}
    for block in range(block_count(plan.n, plan.k)):
        if first <= _range(plan, block)[0] < first + len(x):
            sums = np.zeros((len(found.labels), plan.k, x.shape[1]))
            begun[block] = _add(x, first, found, sums, block, plan)
    return begun


def continue_block(
    x: Array, first: int, found: Found, before: Sums, *, block: int, plan: Plan
) -> Sums:
    """Return the sums of a block after those of a chunk that it goes on in."""
    return {block: _add(x, first, found, before[block].copy(), block, plan)}


def total(sums: list[Sums]) -> Array:
    """Return the sums (A, k, d) of all blocks: result i holds those of block i."""
    by_block = np.stack([of[block] for block, of in enumerate(sums)], axis=1)  # (A, blocks, k, d)
    return np.stack([blocks.sum(axis=0) for blocks in by_block])


def _add(x: Array, first: int, found: Found, sums: Array, block: int, plan: Plan) -> Array:
    low, high = (min(max(0, end - first), len(x)) for end in _range(plan, block))
    for of_run, labels in zip(sums, found.labels, strict=True):
        add_to(of_run, x[low:high], labels[low:high])
    return sums


def _range(plan: Plan, block: int) -> tuple[int, int]:
    blocks = block_count(plan.n, plan.k)
    return plan.n * block // blocks, plan.n * (block + 1) // blocks


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
