"""Samples around known centers."""

import numpy as np

from l2ae_kernels.arrays import Array


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def blobs(n: int = 600, d: int = 10, k: int = 6, spread: float = 0.5, seed: int = 0) -> Array:
    """Samples around k random centers; the cluster of sample i is i % k."""
    generator = rng(seed)
    centers = generator.normal(size=(k, d))
    return centers[np.arange(n) % k] + spread * generator.normal(size=(n, d))
