"""Which kernel takes which shape, with which constants, and how much shared memory it asks for."""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device
from l2ae_kernels.cuda.launch import Kernel

SHORT = {4: 32, 8: 16}  # features that fit a thread's registers, by the bytes of a number
KNOWN_CLUSTERS = 16  # up to here the loop over clusters is unrolled, at a compilation for each k
BLOCK, SLOTS = 128, 2  # of rows.cuh: threads of a block and rows of a slot, and slots
TILE_THREADS, TILE = 128, 512  # of tile.cuh: threads and samples of a block
TILE_NUMBERS = 8 * (TILE + 4 + 8)  # of a Tile: the shared memory that a tiled kernel declares
PRIVATE = 64 * 1024  # bytes of shared memory that private sums may take in a tiled kernel
BLOCKS = 8  # of a grid, for each multiprocessor: enough to hide latencies, few sums to flush


def is_short(x: Array) -> bool:
    """Whether the samples x (n, d) lie in registers."""
    return int(x.shape[1]) <= SHORT[x.dtype.itemsize]


def defines(x: Array, k: int | None = None) -> dict[str, int | str]:
    """Return the constants of a module: the type, and for short samples D and perhaps K."""
    named: dict[str, int | str] = {}
    if x.dtype.itemsize == 8:
        named["REAL"] = "double"
    if k is not None and is_short(x):
        named["D"] = x.shape[1]
        if k <= KNOWN_CLUSTERS:
            named["K"] = k
    return named


def kernel_for(device: Device, file_name: str, name: str, x: Array, k: int | None = None) -> Kernel:
    """Return a kernel for samples of x's dtype; with k, one for short samples and k clusters."""
    return device.kernel(file_name, name, defines(x, k))


def padded(count: int, to: int = 4) -> int:
    """Return count, rounded up to a multiple of `to`."""
    return -(-count // to) * to


def rows_bytes(x: Array) -> int:
    """Return the shared memory of the slots of rows (rows.cuh)."""
    return SLOTS * BLOCK * int(x.shape[1]) * x.dtype.itemsize


def center_bytes(x: Array, k: int) -> int:
    """Return the shared memory of k padded centers (pad_centers)."""
    return k * padded(int(x.shape[1])) * x.dtype.itemsize


def halves_bytes(x: Array, k: int) -> int:
    """Return the shared memory of sums in two halves, an odd number from one to the next."""
    return 4 * padded(2 * k * (int(x.shape[1]) | 1))


def run_bytes(x: Array, k: int) -> int:
    """Return the shared memory of a run in lloyd_short (state_of_run)."""
    return center_bytes(x, k) + halves_bytes(x, k) + 4 * (padded(k) + 3 * BLOCK)


def private_bytes(device: Device, x: Array, k: int) -> tuple[int, np.int32]:
    """Return the shared memory of a run in a tiled kernel (carve), and how much is kept there.

    2: sums and counts, 1: counts, 0: nothing. A kernel declares a tile besides.
    """
    room = device.properties.shared_per_block - TILE_NUMBERS * x.dtype.itemsize
    counts, sums = 4 * k, 4 * 2 * k * int(x.shape[1])
    for kept, needed in ((2, counts + sums), (1, counts)):
        if needed <= min(PRIVATE, room):
            return needed, np.int32(kept)
    return 0, np.int32(0)


def grid_of(device: Device, pieces: int, rows: int = 1) -> tuple[int, int]:
    """Return a grid for that many pieces of work in each of `rows` runs."""
    most = max(1, BLOCKS * device.properties.multiprocessors // rows)
    return min(pieces, most), rows
