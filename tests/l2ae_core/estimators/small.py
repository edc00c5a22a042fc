"""Small networks and a small table for the tests of the estimators."""

from typing import Any

import numpy as np

from l2ae_kernels.arrays import Array

TINY: dict[str, Any] = {"hidden": (32,), "epochs": 20, "n_init": 2, "latent_dim": 4}
ONE_EPOCH: dict[str, Any] = {**TINY, "epochs": 1, "random_state": 0}


def table(n: int = 60, features: int = 5, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(n, features))
