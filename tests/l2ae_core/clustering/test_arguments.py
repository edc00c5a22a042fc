"""Arguments of k-means that are of another kind than they must be."""

from typing import Any

import numpy as np
import pytest

from l2ae_core.clustering.kmeans import kmeans

BAD: dict[str, list[Any]] = {
    "x": [None, [[1.0, 2.0]], "x", 1.0, np.ma.ones((5, 2))],
    "n_clusters": ["2", 2.0, None, True, np.ones(2), 2**40, 0, -1],
    "n_init": ["2", 2.5, None, (1,), 0],
    "max_iter": ["2", np.nan, None, [], 0],
    "tol": ["0", None, (1, 2), np.nan, np.inf, -1e-9, 1j],
    "init": [None, 3, 1.5, ((0, 0), (1, 1)), np.array([["a", "b"]] * 2), np.ones((2, 2), complex)],
    "spherical": [None, 1, "yes", np.ones(2)],
    "rng": [None, 0, np.random.RandomState(0)],
}


@pytest.mark.parametrize("name", BAD)
def test_the_argument_is_named(name: str) -> None:
    good = {"x": np.eye(5, 2), "n_clusters": 2, "rng": np.random.default_rng(0)}
    for bad in BAD[name]:
        with pytest.raises(ValueError, match=f"^kmeans: {name} "):
            kmeans(**good | {name: bad})


@pytest.mark.parametrize("settings", [{}, {"tol": 0.1}, {"spherical": True}], ids=str)
def test_samples_without_features_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^kmeans: x is \(5, 0\) but expected at least one"):
        kmeans(np.ones((5, 0), np.float32), 2, rng=np.random.default_rng(0), **settings)
