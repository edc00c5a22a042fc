"""Rungs 1 and 2 of the assignment on a GPU, in Python: what the CUDA C++ rungs start from.

They run on a GPU, and without one in Numba's simulator (NUMBA_ENABLE_CUDASIM=1 before Numba is
imported), one Python thread a CUDA thread: keep the sizes small. They are compiled for the types
that come: with a signature `cuda.jit` would compile, and fail, where there is no GPU.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import config, cuda

from l2ae_kernels.arrays import Array, array_module

SHARED = 1024  # numbers of shared memory a block
THREADS = 128  # of a block


def assign_naive(x: Array, centers: Array) -> tuple[Array, Array]:
    """Rung 1: a thread a sample. Labels int32 (n,) and squared distances (n,)."""
    return _assign("naive", x, centers)


def assign_shared(x: Array, centers: Array) -> tuple[Array, Array]:
    """Rung 2: the centers pass through shared memory."""
    return _assign("shared", x, centers)


def _assign(impl: str, x: Array, centers: Array) -> tuple[Array, Array]:
    if isinstance(x, np.ndarray) and not config.ENABLE_CUDASIM:
        raise ValueError(f"assign_{impl}: x is no GPU's, and NUMBA_ENABLE_CUDASIM=1 is not set")
    xp, blocks = array_module(x), -(-len(x) // THREADS)
    labels, nearest = xp.empty(len(x), np.int32), xp.empty(len(x), x.dtype)
    if blocks:
        _kernels(x.dtype.name)[impl][blocks, THREADS](x, centers, labels, nearest)
    return labels, nearest


@functools.cache
def _kernels(dtype: str) -> dict[str, Any]:
    """Return the kernels of both rungs for a type of numbers."""
    return {"naive": cuda.jit(_naive()), "shared": cuda.jit(_shared(getattr(numba, dtype)))}


def _naive() -> Callable[..., None]:
    """A thread reads d features of its sample k times, and all k·d of the centers; it writes 2.

    Neighbours read samples that lie d numbers apart, so a read of a warp takes d times the memory
    traffic that it needs, as far as the first-level cache does not help.
    """

    def kernel(x: Any, centers: Any, labels: Any, nearest: Any) -> None:
        sample = cuda.grid(1)
        if sample >= x.shape[0]:
            return
        label, lowest = 0, x.dtype.type(np.inf)
        for cluster in range(centers.shape[0]):
            distance = x.dtype.type(0)
            for feature in range(x.shape[1]):
                difference = x[sample, feature] - centers[cluster, feature]
                distance += difference * difference
            if distance < lowest:  # strictly: equal distances keep the lowest index
                label, lowest = cluster, distance
        labels[sample] = label
        nearest[sample] = lowest

    return kernel


def _shared(kind: Any) -> Callable[..., None]:
    """What changed: a block copies as many centers as fit to shared memory, for all its threads.

    Why faster: a center is read from global memory once a block, not once a thread, and all threads
    of a warp want the same number at the same time, which shared memory delivers at once. A
    thread still reads its sample k times. Features of a center that do not fit are read as before.
    """

    def kernel(x: Any, centers: Any, labels: Any, nearest: Any) -> None:
        tile = cuda.shared.array(SHARED, kind)
        d, k = x.shape[1], centers.shape[0]
        held = SHARED // d if d < SHARED else 1  # centers at a time
        width = d if d < SHARED else SHARED  # features of each
        sample = cuda.grid(1)
        label, lowest = 0, x.dtype.type(np.inf)
        for first in range(0, k, held):
            count = held if first + held < k else k - first
            cuda.syncthreads()  # the centers before have been read
            for e in range(cuda.threadIdx.x, count * width, cuda.blockDim.x):
                tile[e] = centers[first + e // width, e % width]
            cuda.syncthreads()
            if sample < x.shape[0]:
                for cluster in range(count):
                    distance = x.dtype.type(0)
                    for feature in range(d):
                        if feature < width:
                            center = tile[cluster * width + feature]
                        else:
                            center = centers[first + cluster, feature]
                        difference = x[sample, feature] - center
                        distance += difference * difference
                    if distance < lowest:
                        label, lowest = first + cluster, distance
        if sample < x.shape[0]:
            labels[sample] = label
            nearest[sample] = lowest

    return kernel
