"""Rungs 1 and 2 of the assignment on a GPU, in Python: what the CUDA C++ rungs start from.

They run on a GPU, and without one in Numba's simulator (NUMBA_ENABLE_CUDASIM=1 before Numba is
imported), one Python thread a CUDA thread: keep the sizes small. Numba is asked for when the first
of them runs, and they are compiled for the types that come.
"""

import numpy as np

from l2ae_kernels.arrays import Array, array_module
from l2ae_kernels.reference.kmeans import check_samples

THREADS = 128  # of a block


def assign_naive(x: Array, centers: Array) -> tuple[Array, Array]:
    """Rung 1: a thread a sample. Labels int32 (n,) and squared distances (n,)."""
    return _assign("naive", x, centers)


def assign_shared(x: Array, centers: Array) -> tuple[Array, Array]:
    """Rung 2: the centers pass through shared memory."""
    return _assign("shared", x, centers)


def _assign(impl: str, x: Array, centers: Array) -> tuple[Array, Array]:
    check_samples(x, centers)
    from l2ae_kernels.cuda.kmeans.numba_kernels import kernels, simulated

    if isinstance(x, np.ndarray) and not simulated():
        raise ValueError(f"assign_{impl}: x is no GPU's, and NUMBA_ENABLE_CUDASIM=1 is not set")
    xp, blocks = array_module(x), -(-len(x) // THREADS)
    labels, nearest = xp.empty(len(x), np.int32), xp.empty(len(x), x.dtype)
    if blocks:
        kernels(x.dtype.name)[impl][blocks, THREADS](x, centers, labels, nearest)
    return labels, nearest
