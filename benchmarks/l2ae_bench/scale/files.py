"""Samples and images on disk, the same for every contender, written a piece at a time."""

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from l2ae_bench.scale.cells import Cell
from l2ae_kernels.arrays import Array

PIECE = 1 << 16  # rows
SPREAD = 0.3  # of a group around its center, whose features have a deviation of 1
SIDE = 28


def source(folder: Path, cell: Cell) -> Path:
    """Return the `.npy` file of a cell; it is made when it is not there."""
    if cell.work == "k-means":
        path = folder / f"samples-{cell.N}x{cell.d}-k{cell.k}.npy"
        write = _write_samples
    else:
        path = folder / f"images-{cell.N}.npy"
        write = _write_images
    if not path.exists():
        unfinished = path.with_suffix(".part")
        write(unfinished, cell)
        unfinished.rename(path)
    return path


def _write_samples(path: Path, cell: Cell) -> None:
    """Write samples float32 (N, d) in k Gaussian groups."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((cell.k, cell.d), np.float32)
    out = open_memmap(path, mode="w+", dtype=np.float32, shape=(cell.N, cell.d))
    for first in range(0, cell.N, PIECE):
        count = min(PIECE, cell.N - first)
        group = rng.integers(cell.k, size=count)
        noise = rng.standard_normal((count, cell.d), np.float32)
        out[first : first + count] = centers[group] + np.float32(SPREAD) * noise
    out.flush()


def _write_images(path: Path, cell: Cell) -> None:
    """Write images uint8 (N, 28, 28): a bright bar each, of any place and direction."""
    rng = np.random.default_rng(0)
    out = open_memmap(path, mode="w+", dtype=np.uint8, shape=(cell.N, SIDE, SIDE))
    for first in range(0, cell.N, PIECE):
        out[first : first + PIECE] = bars(min(PIECE, cell.N - first), rng)
    out.flush()


def bars(count: int, rng: np.random.Generator) -> Array:
    """Return images uint8 (count, 28, 28) of a bar each."""
    position = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    angle = rng.uniform(0, np.pi, count).astype(np.float32)[:, None, None]
    offset = rng.uniform(-6, 6, count).astype(np.float32)[:, None, None]
    across = position[:, None] * np.cos(angle) + position * np.sin(angle) - offset
    images: Array = (255 * np.exp(-(across**2) / 4)).astype(np.uint8)
    return images
