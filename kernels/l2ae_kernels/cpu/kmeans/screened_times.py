"""Whether products or differences assign short samples faster on this processor: both do, in turn.

Samples of as many features as there are centers, ten, in clusters, none of which needs a second
look. It takes some milliseconds, once for a processor: the choice is kept beside the compiled
kernels. Where the file is damaged or cannot be written, both are timed anew.
"""

from time import perf_counter

import numpy as np

from l2ae_kernels import checked_files
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen import cache
from l2ae_kernels.cpu.codegen.machine_code import Library
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.kmeans.screened import lift
from l2ae_kernels.cpu.kmeans.tiles import COLUMNS
from l2ae_kernels.cpu.microkernels.dense_tile import fastest
from l2ae_kernels.cpu.sources import digest

PANELS, CENTERS = 400, 10
REPEATS, WARM_UP = 60, 5
WAYS = (b"short", b"screened")


def screening_is_faster(vectors: Vectors, library: Library) -> bool:
    """Return what was found on this processor, now or before."""
    path = cache.path_of(repr((WAYS, vectors, cache.processor(), digest())), ".way")
    content = checked_files.read(path)
    if content not in WAYS:
        content = WAYS[fastest(times(library))]
        checked_files.write(path, content)
    return content == WAYS[1]


def times(library: Library) -> Array:
    """Return seconds (2, repeats) of `short` and of `screened`, in turn."""
    rng, k = np.random.default_rng(0), CENTERS
    centers = rng.standard_normal((k, k), dtype=np.float32)
    own = centers[rng.integers(k, size=(PANELS, COLUMNS))]
    x = own + 0.1 * rng.standard_normal(own.shape, dtype=np.float32)
    panels = np.ascontiguousarray(x.transpose(0, 2, 1))
    lifted, guard = np.empty((k + 1, k), np.float32), np.empty(1, np.float32)
    guard[0] = lift(centers, float(np.abs(x).max()), lifted)
    before, labels = np.zeros((2, PANELS * COLUMNS), np.int32)
    different, left = np.zeros(PANELS, np.int32), np.zeros(1, np.int64)

    def at(*arrays: Array) -> list[int]:
        return [a.ctypes.data for a in arrays]

    same = [panels.ctypes.data, PANELS, k, centers.ctypes.data, k]
    ways = (
        (library.function("short", 9), [*same, *at(before, labels, different), 0]),
        (
            library.function("screened", 11),
            [*same, *at(lifted, guard, before, labels, different, left)],
        ),
    )
    seconds = np.empty((2, WARM_UP + REPEATS))
    for repeat in range(seconds.shape[1]):
        for way, (kernel, arguments) in enumerate(ways):
            started = perf_counter()
            kernel(*arguments)
            seconds[way, repeat] = perf_counter() - started
    return seconds[:, WARM_UP:]
