"""Affine warps by bilinear interpolation, image by image; the formulas are those of the reference.

The rung above the reference. NumPy writes places, weights and four pixels of every output pixel to
arrays of the size of the batch. Here an image is copied into one with a border of zeros, which
stays in cache, and each of its rows is made in two passes:

    _places   where the row reads, as an offset in the padded image, and weights: no memory but a
              row of each, no branch, so that it runs in lanes
    _blend    the four pixels there, for all channels

Places outside are moved to the border, whose pixels are 0: no pixel is tested for being inside, and
the time does not depend on the maps. Padded image and row are allocated once a range of images.

An image is read once, padded once, and written once; its result depends on that image and its map
alone.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.jit import jit
from l2ae_kernels.cpu.threads import in_ranges

PIXEL_WORK, CHANNEL_WORK = 160, 32  # multiply-adds that cost as much as a pixel, and a value of it


def warp(x: Array, maps: Array, out: Array) -> None:
    """Write the warped images x (N, H, W, C) to `out`; maps (N, 2, 3) are finite."""
    N, H, W, C = x.shape
    work = N * H * W * (PIXEL_WORK + C * CHANNEL_WORK)
    in_ranges(_warp, N, work, x, maps, out)


@jit()
def _warp(x, maps, out, first, last):  # type: ignore[no-untyped-def]
    """The images `first` … `last` − 1."""
    _, H, W, C = x.shape
    padded, M = np.zeros((H + 2) * (W + 2) * C, x.dtype), np.empty((2, 3))
    offsets, a, b = np.empty(W), np.empty(W, x.dtype), np.empty(W, x.dtype)
    images, rows = x.reshape(-1), out.reshape(-1)
    for n in range(first, last):
        start = n * H * W * C
        _pad(images[start : start + H * W * C], padded, W * C, C)
        for p in range(2):
            for q in range(3):
                M[p, q] = maps[n, p, q]
        for i in range(H):
            r, s = M[0, 0] * i + M[0, 2], M[1, 0] * i + M[1, 2]
            _places(r, M[0, 1], s, M[1, 1], (H, W, C), offsets, a, b)
            to = start + i * W * C
            _blend(padded, offsets, a, b, (W + 2) * C, C, rows[to : to + W * C])


@jit()
def _pad(image, padded, run, C):  # type: ignore[no-untyped-def]
    """Copy rows of `run` values between the borders, of C values, of those of `padded`."""
    for i in range(len(image) // run):
        row = image[i * run : (i + 1) * run]
        target = padded[(i + 1) * (run + 2 * C) + C :]
        for p in range(run):
            target[p] = row[p]


@jit()
def _places(r, dr, s, ds, shape, offsets, a, b):  # type: ignore[no-untyped-def]
    """For the places (r + j dr, s + j ds): the offset in the padded image of the pixel above and to
    the left, and how far they are below, a, and to the right of it, b.

    A place outside, or NaN, is moved to the border. Offsets are whole numbers as float64, for which
    every CPU has vectors; they are below 2⁵³.
    """
    height, width = float(shape[0]), float(shape[1])
    run, C = float((shape[1] + 2) * shape[2]), float(shape[2])
    for j in range(len(offsets)):
        row, column = r + dr * j, s + ds * j
        row = (row if row < height else height) + 1.0 if row > -1.0 else 0.0
        column = (column if column < width else width) + 1.0 if column > -1.0 else 0.0
        top, left = np.floor(row), np.floor(column)
        offsets[j] = top * run + left * C
        a[j], b[j] = row - top, column - left


@jit()
def _blend(pixels, offsets, a, b, run, C, out):  # type: ignore[no-untyped-def]
    """A row of outputs; `pixels` are those of the padded image, in rows of `run` values.

    A pixel of weight 0 is not read, since it may be NaN or past the end. Unsigned numbers tell the
    compiler that no index is negative.
    """
    for j in range(len(offsets)):
        p = np.uint64(np.int64(offsets[j]))
        right = np.uint64(C) if b[j] > 0 else np.uint64(0)
        below = np.uint64(run) if a[j] > 0 else np.uint64(0)
        if C == 1:  # a loop of one turn costs as much as all else
            out[j] = _between(pixels, p, right, below, a[j], b[j])
        else:
            for c in range(C):
                k = np.uint64(c)
                out[np.uint64(j * C) + k] = _between(pixels, p + k, right, below, a[j], b[j])


@jit()
def _between(pixels, p, right, below, a, b):  # type: ignore[no-untyped-def]
    """One value, of the pixels p, p + right, and those below."""
    one = pixels.dtype.type(1)
    top = (one - b) * pixels[p] + b * pixels[p + right]
    bottom = (one - b) * pixels[p + below] + b * pixels[p + below + right]
    return (one - a) * top + a * bottom
