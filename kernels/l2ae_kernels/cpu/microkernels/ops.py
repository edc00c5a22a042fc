"""Rows of the implementations table: float32, C-contiguous arrays, any geometry.

Weights are packed anew in every call; a training step packs them once for all its micro-batches.
Threads take ranges of samples, and sums over samples are cut as everywhere (PARTIAL_SUMS ranges, in
order), so no result depends on the number of threads.
"""

from collections.abc import Iterable

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import SETS, Vectors, best, get_vectors
from l2ae_kernels.cpu.microkernels import calls
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.pack import packed_size
from l2ae_kernels.cpu.microkernels.program import Call, Program, address
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Geometry, Padding, Pair

PARTIAL_SUMS = 8
ONE = np.ones(1, np.float32)
ONE_AT = ONE.ctypes.data


def correlate(
    x: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write y (N, OH, OW, K) for x (N, H, W, C) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(x.shape, out.shape, W.shape[:2], stride, padding)
    vectors = vectors_here()
    packed = np.empty(calls.packed_floats(g, vectors)[0], np.float32)
    bias = bias_or_zeros(b, g.K)
    run(vectors, calls.pack_correlate(g, address(W), address(packed), vectors))

    def samples(first: int, last: int) -> None:
        source, target = g.x_images(address(x[first:])), g.y_images(address(out[first:]))
        run(vectors, calls.correlate(
            g, last - first, source, address(packed), address(bias), target, vectors, slope=ONE_AT
        ))  # fmt: skip

    in_ranges(samples, len(x), len(x) * g.multiply_adds)


def correlate_adjoint_x(
    y: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write x (N, H, W, C) for y (N, OH, OW, K) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(out.shape, y.shape, W.shape[:2], stride, padding)
    vectors = vectors_here()
    packed = np.empty(calls.packed_floats(g, vectors)[1], np.float32)
    bias = bias_or_zeros(b, g.C)
    run(vectors, calls.pack_adjoint_x(g, address(W), address(packed), vectors))

    def samples(first: int, last: int) -> None:
        source, target = g.y_images(address(y[first:])), g.x_images(address(out[first:]))
        run(vectors, calls.adjoint_x(
            g, last - first, source, address(packed), address(bias), target, vectors, slope=ONE_AT
        ))  # fmt: skip

    in_ranges(samples, len(y), len(y) * g.multiply_adds)


def correlate_adjoint_W(x: Array, y: Array, out: Array, stride: Pair, padding: Padding) -> None:
    """Write W (kh, kw, C, K) for x (N, H, W, C) and y (N, OH, OW, K) to `out`."""
    g = Geometry.of(x.shape, y.shape, out.shape[:2], stride, padding)
    vectors, N, shards = vectors_here(), len(x), shard_count(len(x))
    partial = np.zeros((shards, *out.shape), np.float32)
    most = -(-N // shards) * g.OH * g.OW  # positions of a shard

    def ranges(first: int, last: int) -> None:
        packed = np.empty(packed_size(most, g.K, vectors.lanes), np.float32)
        for p in range(first, last):
            n, end = p * N // shards, (p + 1) * N // shards
            source, target = g.x_images(address(x[n:])), g.y_images(address(y[n:]))
            sums = address(partial[p])
            run(vectors, calls.adjoint_W(g, end - n, source, target, address(packed), sums))

    in_ranges(ranges, shards, N * g.multiply_adds)
    np.sum(partial, axis=0, out=out)


def run(vectors: Vectors, todo: Iterable[Call]) -> None:
    """Call kernels one after the other."""
    Program(library(vectors), todo).run(0, 1)


def shard_count(samples: int) -> int:
    """Return the number of ranges of samples whose gradients are added up: not that of threads."""
    return max(1, min(PARTIAL_SUMS, samples // 8))


def vectors_here() -> Vectors:
    """The vectors to emit for; where none were chosen, those of this machine."""
    return get_vectors() or SETS[best()]


def bias_or_zeros(b: Array | None, size: int) -> Array:
    """Return b, or zeros where there is none."""
    return np.zeros(size, np.float32) if b is None else b
