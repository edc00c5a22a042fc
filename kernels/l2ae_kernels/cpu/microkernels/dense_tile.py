"""The register tile of the dense products, in the shape that is fastest on this processor.

    L2AE_DENSE_TILE=12x2 l2ae fit …    rows × vectors, for a process; default: nothing is timed

A tile of 6 × 4 vectors loads least for its multiply-adds; one of 12 × 2 takes half the bytes of
packed weights from the caches. What a processor is short of differs, so the shapes are timed side
by side (dense_tile_times.py), once for a processor, and the choice is kept beside the compiled
kernels. Where the file is damaged or cannot be written, they are timed anew. The default is left
only for one that is clearly faster.

**No bit depends on the shape**: a sum takes its products in their order, one after the other, and
where a block of them ends is not a matter of the tile (`Vectors.block`).
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from l2ae_kernels import checked_files
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen import cache
from l2ae_kernels.cpu.codegen.vectors import Vectors
from l2ae_kernels.cpu.sources import digest

ENVIRONMENT = "L2AE_DENSE_TILE"
# Rows and vectors of tiles of as many sums, the default first. One of 4 × 3 vectors takes 7 loads
# for 12 multiply-adds, one of 6 × 2 takes 8: alone on a core of Zen 3 they are equally fast, beside
# another program's thread on the same core 4 × 3 is 1.25 times as fast.
SHAPES = {
    "avx512": ((6, 4), (8, 3), (12, 2)),
    "avx2": ((4, 3), (6, 2)),
    "neon": ((6, 4), (8, 3)),
}
MARGIN = 1.02  # by which a shape must be faster than the default


def shapes(vectors: Vectors) -> list[Vectors]:
    """Return the vectors with each of the shapes, the default first."""
    return [replace(vectors, rows=r, columns=c) for r, c in SHAPES[vectors.name]]


def name_of(vectors: Vectors) -> str:
    """Return the shape as the environment has it: "6x4"."""
    return f"{vectors.rows}x{vectors.columns}"


def forced(vectors: Vectors) -> Vectors | None:
    """Return what the environment variable says, None where it says nothing.

    Raises ValueError for a shape that is none of these vectors.
    """
    name = os.environ.get(ENVIRONMENT)
    if not name:
        return None
    every = shapes(vectors)
    known = {"default": every[0]} | {name_of(shape): shape for shape in every}
    if name not in known:
        raise ValueError(
            f"{ENVIRONMENT}: {name!r} is not one of {[*known]}, the dense tiles of {vectors.name}"
        )
    return known[name]


def known(vectors: Vectors) -> Vectors | None:
    """Return the vectors with the shape that is forced, else kept; None where none was chosen.

    Raises ValueError as `forced`.
    """
    return forced(vectors) or kept(vectors)


def kept(vectors: Vectors) -> Vectors | None:
    """Return what was chosen on this processor; None where nothing was, or the file is damaged."""
    content = checked_files.read(_path(vectors))
    return next((s for s in shapes(vectors) if name_of(s).encode() == content), None)


def keep(vectors: Vectors, shape: Vectors) -> None:
    """Keep what was chosen, if the folder can be written."""
    checked_files.write(_path(vectors), name_of(shape).encode())


def fastest(seconds: Array) -> int:
    """Return which shape to take, of seconds (shapes, repeats) in turn: 0 is the default.

    Another must gain MARGIN in its fastest repeat as in the median of a repeat: one of them alone
    may be noise.
    """
    fewest = seconds.min(axis=1)
    gains = np.minimum(fewest[0] / fewest, np.median(seconds[0] / seconds, axis=1))
    best = int(gains.argmax())
    return best if gains[best] >= MARGIN else 0


def _path(vectors: Vectors) -> Path:
    origin = repr((shapes(vectors), cache.processor(), digest()))
    return cache.path_of(origin, ".tile")
