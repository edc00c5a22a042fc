"""Rung 6: the greedy k-means++ start on a device (start.cu), from numbers that the host has drawn.

The host draws what the start on the CPU would draw, in its order, so both choose the same samples.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.kmeans import shapes


def start(x: Array, k: int, first: Array, draws: Array) -> tuple[Array, Array]:
    """Return the starts of R runs, centers (R, k, d), and where each was stuck, (R,); the host's.

    first (R,) int64 is the first row of each run, draws (R, k − 1, m) in [0, 1) are for its
    candidates. Center j + 1 of a run that is stuck at j ≥ 0 cannot be drawn, since all samples lie
    on its centers; those from there on mean nothing. −1: it is not stuck.
    """
    device = device_of(x)
    R, m = len(first), draws.shape[2]
    centers = device.empty((R, k, x.shape[1]), x.dtype)
    stuck = device.full(R, -1, np.int32)
    nearest = device.full((R, len(x)), np.inf, x.dtype)
    chosen = device.empty((R, 1), np.int64)
    rows = device.to_device(first[:, None].astype(np.int64))
    steps = device.to_device(np.ascontiguousarray(draws.transpose(1, 0, 2)))  # (k − 1, R, m)
    for j in range(k):
        left = lower(x, None, nearest, False, rows)
        choose(device, x, j, left, rows, chosen, centers)
        if j + 1 < k:
            left = lower(x, None, nearest, True, chosen)
            rows = device.empty((R, m), np.int64)
            draw(device, j, steps[j], left, nearest, rows, stuck)
    return device.to_host(centers), device.to_host(stuck)


def lower(
    x: Array, points: Array | None, nearest: Array, keep: bool, rows: Array | None = None
) -> Array:
    """Queue start_lower for points (R, m, d), or samples rows (R, m): left (R, m, blocks)."""
    device, (n, d) = device_of(x), x.shape
    R, m = (points if rows is None else rows).shape[:2]  # type: ignore[union-attr]
    blocks = -(-n // shapes.TILE)
    left = device.empty((R, m, blocks), np.float64)
    kernel = shapes.tiled_kernel(device, "start.cu", "start_lower", x)
    sizes = np.int64(n), np.int32(d), np.int32(m)
    arguments = x, *sizes, points, rows, nearest, left, np.int32(keep)
    device.launch(kernel, (blocks, R), (shapes.TILE_THREADS,), arguments)
    return left


def choose(
    device: Device, x: Array, j: int, left: Array, rows: Array, chosen: Array, centers: Array
) -> None:
    """Queue start_choose: center j of each run is the candidate that leaves the least."""
    R, m, blocks = left.shape
    kernel = shapes.tiled_kernel(device, "start.cu", "start_choose", x)
    sizes = np.int32(x.shape[1]), np.int32(centers.shape[1]), np.int32(j), np.int32(m)
    arguments = x, *sizes, left, np.int64(blocks), rows, chosen, centers
    device.launch(kernel, (R,), (32,), arguments)


def draw(
    device: Device, j: int, draws: Array, left: Array, nearest: Array, rows: Array, stuck: Array
) -> None:
    """Queue start_draw: the next candidates of each run, rows (R, m)."""
    (R, m), blocks = rows.shape, left.shape[2]
    kernel = shapes.tiled_kernel(device, "start.cu", "start_draw", nearest)
    sizes = np.int64(nearest.shape[1]), np.int32(j), np.int32(m)
    arguments = *sizes, draws, left, np.int64(blocks), nearest, rows, stuck
    device.launch(kernel, (m, R), (32,), arguments)
