"""Rung 7: labels by tensor cores, proved or looked at again (tensor.cu).

By how much may rounding bring two values of h = |c|²/2 − ⟨x, c⟩ closer to each other? With
u = 2^-24, d features, and sizes |x| and C = max |c| (Σ |x_f c_f| ≤ |x| C, by Cauchy and Schwarz):

    products    x = hi + lo in TF32 leaves lo·lo and the rounding of both lo: 3 · 2^-22 |x| C;
                3 d products are added, each addition cut to 23 bits: 3 d · 2^-23 |x| C;
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

ROWS, COLUMNS, CHUNK, PITCH, THREADS = 128, 64, 32, 36, 128  # of tensor.cu
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
    products = 3 * 2.0**-22 + 3 * d * 2.0**-23 + U
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
    half_norms, largest = device.empty(k, np.float32), device.zeros(1, np.uint32)
    rows, count = device.empty(n, np.int64), device.zeros(1, np.uint64)
    kernel = device.kernel("tensor.cu", "center_norms")
    norms = centers, np.int32(d), np.int32(k), half_norms, largest
    device.launch(kernel, (-(-k // 4),), (128,), norms)

    shared, resident = shared_bytes(device, d)
    kernel = device.kernel("tensor.cu", "assign_tensor")
    sizes = np.int64(n), np.int32(d), np.int32(k), np.int32(resident)
    bounds = tuple(map(np.float32, margins(d)))
    operands = x, centers, half_norms, largest
    grid = shapes.grid_of(device, -(-n // ROWS))
    arguments = (*operands, *sizes, *bounds, labels, rows, count)
    device.launch(kernel, grid, (THREADS,), arguments, shared)

    kernel = device.kernel("tensor.cu", "label_distances")
    grid = shapes.grid_of(device, -(-n // shapes.TILE))
    near = x, centers, np.int64(n), np.int32(d), labels, nearest
    device.launch(kernel, grid, (shapes.TILE_THREADS,), near)
    assign_tiled(device, x, centers, labels, nearest, rows, count)
    return count


def shared_bytes(device: Device, d: int) -> tuple[int, bool]:
    """Return the shared memory of assign_tensor, and whether the samples stay in it.

    They stay where two blocks fit a multiprocessor all the same.
    """
    chunks = -(-d // CHUNK)
    all_chunks = 4 * PITCH * (COLUMNS + chunks * ROWS)
    if all_chunks <= device.properties.shared_per_block // 2:
        return all_chunks, True
    return 4 * PITCH * (COLUMNS + ROWS), False
