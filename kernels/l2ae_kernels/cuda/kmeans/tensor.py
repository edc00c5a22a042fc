"""Rung 7: labels by tensor cores, proved or looked at again (tensor.cu).

By how much may rounding bring two values of h = |c|²/2 − ⟨x, c⟩ closer to each other? With
u = 2^-24, d features, and sizes |x| and C = max |c| (Σ |x_f c_f| ≤ |x| C, by Cauchy and Schwarz):

    products    x = big + small is off by 1.25 · 2^-21 |x|, and what is left out, small·small, is at
                most (1.25 · 2^-11)² |x c|: 7 · 2^-22 |x| C in all;
                a tensor core adds 8 products to a sum at once, 3 times for 8 features; each of the
                9 terms may lose a unit (2^-23) of the largest, and so may the result: with no bit
                more than those of float32 that is 3 ⌈d/8⌉ · 10 · 2^-23 |x| C;
                this kernel's last difference and |c|²/2: u (|x| C + C²)
    distances   rung 3 rounds a difference and a sum for each feature: (d + 3) u D of a distance
                D ≤ (|x| + C)², and D = |x|² + 2 h

A label is right if the second lowest h lies farther than twice the first, and once the second
(half a distance, of two clusters): margin = A |x| C + B (|x| + C)². The sizes themselves are
float32 sums, so both get 1 % more.
"""

import numpy as np

from l2ae_kernels.arrays import Array
from l2ae_kernels.cuda.device import Device, device_of
from l2ae_kernels.cuda.kmeans import shapes
from l2ae_kernels.cuda.kmeans.passes import assign_tiled
from l2ae_kernels.cuda.launch import ceil_div, whole_vectors

ROWS, COLUMNS, CHUNK, PITCH, THREADS = 128, 64, 32, 36, 128  # of tensor.cu and label_distances.cu
BESIDES = 1536  # bytes of shared memory of a block: norms, and what every block has besides
LEAST_FEATURES, LEAST_CLUSTERS = 32, 64  # below, a product would multiply padding
U = 2.0**-24


def pays(device: Device, x: Array, k: int) -> bool:
    """Whether tensor cores are faster for samples x (n, d) float32 and k clusters."""
    able = device.properties.compute_capability >= (8, 0)
    long = x.shape[1] >= LEAST_FEATURES and k >= LEAST_CLUSTERS
    return able and long and x.dtype == np.float32


def takes(x: Array, k: int) -> bool:
    """Whether rung 7 is the faster one for samples x (n, d) of a device and k clusters."""
    return pays(device_of(x), x, k)


def margins(d: int) -> tuple[float, float]:
    """Return A and B of the margin, see above."""
    products = 7 * 2.0**-22 + 3 * ceil_div(d, 8) * 10 * 2.0**-23 + U
    distances = (d + 3) * U + 2 * U
    return 1.01 * 2 * products, 1.01 * distances


def assign_tensor(x: Array, centers: Array) -> tuple[Array, Array]:
    """Return labels int32 (n,) and squared distances (n,) of samples x (n, d) float32."""
    device = device_of(x)
    labels, nearest = device.empty(len(x), np.int32), device.empty(len(x), x.dtype)
    decide(device, x, centers, labels, nearest)
    return labels, nearest


def decide(device: Device, x: Array, centers: Array, labels: Array, nearest: Array) -> Array:
    """Write labels and nearest (n,); return how many samples were looked at again, (1,) uint64."""
    (n, d), k = x.shape, len(centers)
    tiles, chunks = ceil_div(k, COLUMNS), ceil_div(d, CHUNK)
    parts = device.empty((tiles, chunks, 2, COLUMNS, CHUNK), np.float32)
    half_norms, largest = device.empty(tiles * COLUMNS, np.float32), device.zeros(1, np.uint32)
    rows, count = device.empty(n, np.int64), device.zeros(1, np.uint64)
    shared, resident = shared_bytes(device, d)
    defines = {"RESIDENT": int(resident), "VECTOR": int(whole_vectors(x))}
    sizes = np.int32(d), np.int32(k)
    kernel = device.kernel("tensor.cu", "split_centers", defines)
    split = centers, *sizes, parts, half_norms, largest
    device.launch(kernel, (tiles * COLUMNS * 32 // THREADS,), (THREADS,), split)

    kernel = device.kernel("tensor.cu", "assign_tensor", defines)
    bounds = tuple(map(np.float32, margins(d)))
    operands = x, parts, half_norms, largest
    grid = shapes.grid_of(device, ceil_div(n, ROWS))
    arguments = (*operands, np.int64(n), *sizes, *bounds, labels, rows, count)
    device.launch(kernel, grid, (THREADS,), arguments, shared)

    whole = whole_vectors(x) and whole_vectors(centers)
    kernel = device.kernel("label_distances.cu", "label_distances", {"VECTOR": int(whole)})
    near = x, centers, np.int64(n), np.int32(d), labels, nearest
    device.launch(kernel, grid, (THREADS,), near)
    assign_tiled(device, x, centers, labels, nearest, rows, count)
    return count


def shared_bytes(device: Device, d: int) -> tuple[int, bool]:
    """Return the shared memory of assign_tensor, and whether the samples stay in it.

    They stay where two blocks fit a multiprocessor all the same.
    """
    row = 4 * PITCH
    stages = 2 * 2 * COLUMNS * row  # two, of two parts of a chunk of centers
    resident = stages + ceil_div(d, CHUNK) * ROWS * row
    if resident + BESIDES <= device.properties.shared_per_block // 2:
        return resident, True
    return stages + 2 * ROWS * row, False
