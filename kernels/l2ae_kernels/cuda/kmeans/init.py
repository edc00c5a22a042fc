"""Rung 6: greedy k-means++ on a device (init.cu), from numbers that the host has drawn.

The host draws what a run on the CPU would draw, in its order, so both choose the same samples.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.kmeans import shapes


def greedy_init(x: Array, k: int, first: Array, draws: Array) -> tuple[Array, Array]:
    """Return the centers (R, k, d) of R runs, and where each is stuck, (R,), both of the host.

    first (R,) and draws (R, k − 1, m) as in the reference (`Restarts.init`), which says what a run
    that is stuck means.
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
        potentials = min_sq_distances(x, None, nearest, False, rows)
        choose(device, x, j, potentials, rows, chosen, centers)
        if j + 1 < k:
            potentials = min_sq_distances(x, None, nearest, True, chosen)
            rows = device.empty((R, m), np.int64)
            draw(device, j, steps[j], potentials, nearest, rows, stuck)
    return device.to_host(centers), device.to_host(stuck)


def min_sq_distances(
    x: Array, candidates: Array | None, nearest: Array, keep: bool, rows: Array | None = None
) -> Array:
    """Queue init_min_sq_distances for candidates (R, m, d), or samples rows (R, m) of x.

    Returns potentials (R, m, blocks).
    """
    device, (n, d) = device_of(x), x.shape
    R, m = (candidates if rows is None else rows).shape[:2]  # type: ignore[union-attr]
    blocks = -(-n // shapes.TILE)
    potentials = device.empty((R, m, blocks), np.float64)
    kernel = shapes.kernel_for(device, "init.cu", "init_min_sq_distances", x)
    sizes = np.int64(n), np.int32(d), np.int32(m)
    arguments = x, *sizes, candidates, rows, nearest, potentials, np.int32(keep)
    device.launch(kernel, (blocks, R), (shapes.TILE_THREADS,), arguments)
    return potentials


def choose(
    device: Device, x: Array, j: int, potentials: Array, rows: Array, chosen: Array, centers: Array
) -> None:
    """Queue init_choose: center j of each run is the candidate with the least potential."""
    R, m, blocks = potentials.shape
    kernel = shapes.kernel_for(device, "init.cu", "init_choose", x)
    sizes = np.int32(x.shape[1]), np.int32(centers.shape[1]), np.int32(j), np.int32(m)
    arguments = x, *sizes, potentials, np.int64(blocks), rows, chosen, centers
    device.launch(kernel, (R,), (32,), arguments)


def draw(
    device: Device,
    j: int,
    draws: Array,
    potentials: Array,
    nearest: Array,
    rows: Array,
    stuck: Array,
) -> None:
    """Queue init_draw: the next candidates of each run, rows (R, m)."""
    (R, m), blocks = rows.shape, potentials.shape[2]
    kernel = shapes.kernel_for(device, "init.cu", "init_draw", nearest)
    sizes = np.int64(nearest.shape[1]), np.int32(j), np.int32(m)
    arguments = *sizes, draws, potentials, np.int64(blocks), nearest, rows, stuck
    device.launch(kernel, (m, R), (32,), arguments)
