"""Rows of the implementations table: Winograd's algorithm, for geometries where it pays.

It pays for kernels of 4 to 6 taps at stride 2 with enough channels and outputs: the large layers of
the paper's network. `takes` decides by geometry alone, so a geometry is always computed in the same
way. Samples are taken CHUNK at a time, whose matrices stay in cache.
"""

from collections.abc import Callable, Iterable

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.microkernels import ops
from l2ae_kernels.cpu.microkernels.library import library
from l2ae_kernels.cpu.microkernels.ops import ONE_AT, bias_or_zeros, run, vectors_here
from l2ae_kernels.cpu.microkernels.program import Call, Program, address
from l2ae_kernels.cpu.microkernels.winograd_calls import Winograd
from l2ae_kernels.cpu.threads import in_ranges
from l2ae_kernels.geometry import Geometry, Images, Padding, Pair

CHUNK = 8  # samples


def takes(_: Array, g: Geometry) -> bool:
    """Whether the transforms exist for a geometry, and save more than they cost."""
    return Winograd.fits(g, vectors_here())


def correlate(
    x: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write y (N, OH, OW, K) for x (N, H, W, C) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(x.shape, out.shape, W.shape[:2], stride, padding)
    work, bias = _Work(g), bias_or_zeros(b, g.K)
    packed = np.empty(work.whole.packed_floats()[0], np.float32)
    run(work.vectors, work.whole.pack_correlate(address(W), address(packed)))

    def chunk(f: Winograd, n: int, x_side: int, y_side: int) -> Iterable[Call]:
        source, target = _images(f, x[n:], out[n:])
        yield from f.transform_x(source, x_side)
        yield from f.correlate(x_side, address(packed), y_side, address(bias), target, slope=ONE_AT)

    in_ranges(work.chunks, work.count(len(x)), len(x) * g.multiply_adds, chunk, 0, len(x))


def correlate_adjoint_x(
    y: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding
) -> None:
    """Write x (N, H, W, C) for y (N, OH, OW, K) and W (kh, kw, C, K) to `out`."""
    g = Geometry.of(out.shape, y.shape, W.shape[:2], stride, padding)
    work, bias = _Work(g), bias_or_zeros(b, g.C)
    packed, workspace = np.empty(work.whole.packed_floats()[1], np.float32), np.empty_like(W)
    run(work.vectors, work.whole.pack_adjoint_x(address(W), address(workspace), address(packed)))

    def chunk(f: Winograd, n: int, x_side: int, y_side: int) -> Iterable[Call]:
        target, source = _images(f, out[n:], y[n:])
        yield from f.adjoint_x(
            source, y_side, address(packed), x_side, address(bias), target, slope=ONE_AT
        )

    in_ranges(work.chunks, work.count(len(y)), len(y) * g.multiply_adds, chunk, 0, len(y))


def correlate_adjoint_W(x: Array, y: Array, out: Array, stride: Pair, padding: Padding) -> None:
    """Write W (kh, kw, C, K) for x (N, H, W, C) and y (N, OH, OW, K) to `out`."""
    g = Geometry.of(x.shape, y.shape, out.shape[:2], stride, padding)
    work, N = _Work(g), len(x)
    shards = ops.shard_count(N)
    partial = np.zeros((shards, *out.shape), np.float32)

    def ranges(first: int, last: int) -> None:
        dU = np.empty(work.whole.sizes()[2], np.float32)

        def chunk(f: Winograd, n: int, x_side: int, y_side: int) -> Iterable[Call]:
            source, target = _images(f, x[n:], y[n:])
            yield from f.transform_x(source, x_side)
            yield from f.adjoint_W(x_side, target, y_side, address(dU))

        for p in range(first, last):
            run(work.vectors, [work.whole.clear(address(dU))])
            begin, end = p * N // shards, (p + 1) * N // shards
            work.chunks(chunk, begin, end, 0, work.count(end - begin))
            run(work.vectors, work.whole.finish_W(address(dU), address(partial[p])))

    in_ranges(ranges, shards, N * g.multiply_adds)
    np.sum(partial, axis=0, out=out)


Chunk = Callable[[Winograd, int, int, int], Iterable[Call]]


class _Work:
    """Goes through samples a chunk at a time."""

    def __init__(self, g: Geometry) -> None:
        self.vectors = vectors_here()
        self.zeros = np.zeros(max(g.W * g.C, g.OW * g.K), np.float32)
        self.g = g
        self.whole = self._winograd(CHUNK)

    def _winograd(self, samples: int) -> Winograd:
        return Winograd(self.g, samples, self.vectors, address(self.zeros), ONE_AT)

    @staticmethod
    def count(samples: int) -> int:
        """Chunks that so many samples make."""
        return -(-samples // CHUNK)

    def chunks(self, chunk: Chunk, begin: int, end: int, first: int, last: int) -> None:
        """Make the calls of chunks first … last − 1 of the samples begin … end − 1.

        Whole chunks are one program, which machine code runs for each of them.
        """
        x_side, y_side = (np.empty(size, np.float32) for size in self.whole.sizes()[:2])
        code, sides = library(self.vectors), (address(x_side), address(y_side))
        whole = min(last, (end - begin) // CHUNK)
        if first < whole:
            Program(code, chunk(self.whole, begin, *sides)).run(first, whole)
        rest = end - begin - whole * CHUNK
        if whole < last and rest:
            f = self._winograd(rest)
            Program(code, chunk(f, begin + whole * CHUNK, *sides)).run(0, 1)


def _images(f: Winograd, x: Array, y: Array) -> tuple[Images, Images]:
    """Where chunk after chunk of x and y lies."""
    at_x, at_y = f.g.x_images(address(x)), f.g.y_images(address(y))
    n = f.samples
    return at_x._replace(batch=n * at_x.sample), at_y._replace(batch=n * at_y.sample)
