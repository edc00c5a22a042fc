"""Correlation and its adjoints by im2col and GEMM: two rungs that differ in the size of a tile.

im2col writes each window as a row, so that a correlation becomes a matrix product

    columns (samples·OH·OW, kh·kw·C)  @  W (kh·kw·C, K)

Rung `im2col` unrolls all samples of a thread at once, as most frameworks began: a matrix product of
full speed, but the columns are up to 25 times the images and go through main memory twice.

Rung `tiled` unrolls a few samples, multiplies and forgets them while they are in the L2 cache. A
tile reads its images once, writes its outputs once, and W stays in cache too. Threads take tiles;
nothing that they write overlaps.

The sum over samples in `correlate_adjoint_W` runs over PARTIAL_SUMS fixed ranges that are added in
order, so that the result is equal, bit for bit, for every number of threads.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.blas import single_threaded_blas
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import get_threads, in_ranges
from l2ae_kernels.geometry import Padding, Pair

TILE_BYTES = 1 << 19  # of columns: half of a 1 MiB L2 cache, the rest is for W and the outputs
LEAST_TILES = 4  # something for the threads to share where images are small
PARTIAL_SUMS = 8  # most ranges of samples in the gradient of W, and so most threads there


def tile_samples(N: int, floats_per_sample: int, itemsize: int, *, tiled: bool) -> int:
    """Samples a tile: as many as fit in TILE_BYTES, but at least LEAST_TILES tiles, if N allows.

    Not `tiled`: the whole share of a thread.
    """
    if not tiled:
        return max(1, -(-N // get_threads()))
    return max(1, min(-(-N // LEAST_TILES), TILE_BYTES // (floats_per_sample * itemsize)))


@jit()
def _zero(values):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        values[i] = 0


@jit()
def im2col(x, columns, sh, sw, top, left):  # type: ignore[no-untyped-def]
    """Unroll the windows of x (T, H, W, C) into columns (T, OH, OW, kh, kw·C).

    The kw·C values that one kernel row sees lie side by side in NHWC: each is one run to copy. The
    flat slices tell the compiler that indices are not negative; without them it is 10 times slower.
    """
    T, H, W, C = x.shape
    _, OH, OW, kh, run = columns.shape
    pixels, taps = x.reshape(-1), columns.reshape(-1)
    for t in range(T):
        for i in range(OH):
            for j in range(OW):
                first = j * sw - left  # column of x under the first tap
                r0, r1 = max(0, -first * C), min(run, (W - first) * C)  # part of the run inside x
                for p in range(kh):
                    h = i * sh + p - top
                    at = (((t * OH + i) * OW + j) * kh + p) * run
                    if h < 0 or h >= H or r1 <= r0:
                        _zero(taps[at : at + run])
                        continue
                    start = ((t * H + h) * W + first) * C
                    _zero(taps[at : at + r0])
                    target, source = taps[at + r0 : at + r1], pixels[start + r0 : start + r1]
                    for r in range(r1 - r0):
                        target[r] = source[r]
                    _zero(taps[at + r1 : at + run])


@jit()
def col2im(columns, x, sh, sw, top, left):  # type: ignore[no-untyped-def]
    """Add columns (T, OH, OW, kh, kw·C) back to the pixels of x (T, H, W, C) that they saw."""
    T, H, W, C = x.shape
    _, OH, OW, kh, run = columns.shape
    pixels, taps = x.reshape(-1), columns.reshape(-1)
    for t in range(T):
        for i in range(OH):
            for j in range(OW):
                first = j * sw - left
                r0, r1 = max(0, -first * C), min(run, (W - first) * C)
                for p in range(kh):
                    h = i * sh + p - top
                    if 0 <= h < H and r0 < r1:
                        at = (((t * OH + i) * OW + j) * kh + p) * run
                        start = ((t * H + h) * W + first) * C
                        source, target = taps[at + r0 : at + r1], pixels[start + r0 : start + r1]
                        for r in range(r1 - r0):
                            target[r] += source[r]


@jit()
def _correlate(x, W, b, out, kh, kw, sh, sw, top, left, T, first, last):  # type: ignore[no-untyped-def]
    """Tiles `first` to `last` of T samples: y = columns @ W + b."""
    N, OH, OW, K = out.shape
    scratch = np.empty((T, OH, OW, kh, kw * x.shape[3]), x.dtype)
    for n0 in range(first * T, min(N, last * T), T):
        n1 = min(N, n0 + T)
        rows = (n1 - n0) * OH * OW
        columns = scratch[: n1 - n0]
        im2col(x[n0:n1], columns, sh, sw, top, left)
        y = out[n0:n1].reshape(rows, K)
        np.dot(columns.reshape(rows, len(W)), W, y)
        if b.size:
            for r in range(rows):
                for k in range(K):
                    y[r, k] += b[k]


@jit()
def _correlate_adjoint_x(y, W, b, out, kh, kw, sh, sw, top, left, T, first, last):  # type: ignore[no-untyped-def]
    """Tiles `first` to `last` of T samples: columns = y @ Wᵀ, added up where they overlap."""
    N, OH, OW, K = y.shape
    C = out.shape[3]
    scratch = np.empty((T, OH, OW, kh, kw * C), y.dtype)
    for n0 in range(first * T, min(N, last * T), T):
        n1 = min(N, n0 + T)
        rows = (n1 - n0) * OH * OW
        columns = scratch[: n1 - n0]
        np.dot(y[n0:n1].reshape(rows, K), W.T, columns.reshape(rows, len(W)))
        x = out[n0:n1]
        pixels = x.reshape(x.size // C, C)
        for r in range(len(pixels)):
            for c in range(C):
                pixels[r, c] = b[c] if b.size else 0
        col2im(columns, x, sh, sw, top, left)


@jit()
def _correlate_adjoint_W(x, y, partial, kh, kw, sh, sw, top, left, T, first, last):  # type: ignore[no-untyped-def]
    """Partial sums `first` to `last` over samples: columnsᵀ @ y, a tile of T samples at a time."""
    N, OH, OW, K = y.shape
    shards, R, _ = partial.shape
    scratch = np.empty((T, OH, OW, kh, kw * x.shape[3]), x.dtype)
    product = np.empty((R, K), x.dtype)
    for shard in range(first, last):
        partial[shard] = 0
        end = (shard + 1) * N // shards
        for n0 in range(shard * N // shards, end, T):
            n1 = min(end, n0 + T)
            rows = (n1 - n0) * OH * OW
            columns = scratch[: n1 - n0]
            im2col(x[n0:n1], columns, sh, sw, top, left)
            np.dot(columns.reshape(rows, R).T, y[n0:n1].reshape(rows, K), product)
            partial[shard] += product


def _bias(b: Array | None, like: Array) -> Array:
    """An empty bias, read-only as a given one, stands for none: Numba compiles one version."""
    if b is None:
        b = np.empty(0, like.dtype)
        b.setflags(write=False)
    return b


def correlate(
    x: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding,
    *, tiled: bool = True,
) -> None:  # fmt: skip
    """Write y (N, OH, OW, K) for x (N, H, W, C) and W (kh, kw, C, K) to `out`."""
    kh, kw, C, K = W.shape
    N, OH, OW, _ = out.shape
    T = tile_samples(N, OH * OW * kh * kw * C, x.itemsize, tiled=tiled)
    geometry = (kh, kw, *stride, padding[0][0], padding[1][0])
    W2, work = W.reshape(kh * kw * C, K), out.size * kh * kw * C
    with single_threaded_blas():
        in_ranges(_correlate, -(-N // T), work, x, W2, _bias(b, x), out, *geometry, T)


def correlate_adjoint_x(
    y: Array, W: Array, b: Array | None, out: Array, stride: Pair, padding: Padding,
    *, tiled: bool = True,
) -> None:  # fmt: skip
    """Write x (N, H, W, C) for y (N, OH, OW, K) and W (kh, kw, C, K) to `out`."""
    kh, kw, C, K = W.shape
    N, OH, OW, _ = y.shape
    T = tile_samples(N, OH * OW * kh * kw * C, y.itemsize, tiled=tiled)
    geometry = (kh, kw, *stride, padding[0][0], padding[1][0])
    W2, work = W.reshape(kh * kw * C, K), y.size * kh * kw * C
    with single_threaded_blas():
        in_ranges(_correlate_adjoint_x, -(-N // T), work, y, W2, _bias(b, y), out, *geometry, T)


def correlate_adjoint_W(
    x: Array, y: Array, out: Array, stride: Pair, padding: Padding, *, tiled: bool = True
) -> None:
    """Write W (kh, kw, C, K) for x (N, H, W, C) and y (N, OH, OW, K) to `out`."""
    kh, kw, C, K = out.shape
    N, OH, OW, _ = y.shape
    T = tile_samples(N, OH * OW * kh * kw * C, x.itemsize, tiled=tiled)
    geometry = (kh, kw, *stride, padding[0][0], padding[1][0])
    shards = max(1, min(PARTIAL_SUMS, N // T if tiled else N))
    partial, work = np.empty((shards, kh * kw * C, K), x.dtype), y.size * kh * kw * C
    with single_threaded_blas():
        in_ranges(_correlate_adjoint_W, shards, work, x, y, partial, *geometry, T)
    np.sum(partial, axis=0, out=out.reshape(kh * kw * C, K))
