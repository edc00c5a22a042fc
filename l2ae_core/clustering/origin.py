"""Samples far from zero, counted from a point in their midst.

A number of size |μ| is stored with an error of ε |μ| / 2. Around the mean μ of the samples, with
spread σ² = mean |x_i − μ|², centers that are rounded so cost up to N (ε |μ| / 2)² of inertia, and
clusters that lie nearer to each other than that cannot be told apart. Counted from a point near μ
centers have size σ. The samples themselves lose nothing: the difference of two numbers that are
within a factor of 2 of each other is exact.

Where ε |μ|² ≤ σ², the rounding of centers costs less than that of one distance, ε σ², and nothing
is changed: no code of unit length with a spread of more than 4e-4 is in float32.
"""

from dataclasses import dataclass

import numpy as np

from l2ae_kernels.arrays import Array, get_place, moved_to, to_host

SAMPLES = 4096  # that tell where the samples lie: any point in their midst will do


@dataclass(frozen=True, eq=False)
class Moved:
    """Centers counted from an origin."""

    origin: Array  # (D,), of the host, in the dtype of the samples
    centers: Array  # (K, D), what is added to it


def origin_of(x: Array) -> Array | None:
    """Return a point (D,) to count x (N, D) from, None where zero does as well.

    None, too, for NaN and infinity, which another check names.
    """
    rows = to_host(x[:: -(-len(x) // SAMPLES) or 1]).view(np.ndarray).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rows.mean(axis=0) if len(rows) else np.zeros(x.shape[1])
        spread = np.square(rows - mean).sum() / max(len(rows), 1)
        far = spread < np.finfo(x.dtype).eps * np.square(mean).sum() < np.inf
    if not far or (rows == rows[0]).all():  # equal rows: there is nothing to tell apart
        return None
    origin: Array = mean.astype(x.dtype)
    return origin


def from_origin(x: Array, origin: Array) -> Array:
    """Return x − origin (N, D), a copy in the dtype and the memory of x."""
    shift = moved_to(x, origin) if get_place(x) == "cuda" else origin
    moved: Array = x - shift
    return moved
