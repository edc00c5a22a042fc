"""The three readings of Eq. 5, for codes of any length and for unit codes."""

from typing import Any

import numpy as np
import pytest

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.paper.methods.network import cluster_scores


def codes(unit: bool) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    u = rng.standard_normal((200, 10)) + 0.5
    if unit:
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    return u, kmeans(u, 9, n_init=2, rng=rng).centers


def test_three_readings_of_eq_5() -> None:
    u, c = codes(unit=False)
    found = cluster_scores(u, c)
    for i in range(0, 200, 19):
        dots = [u[i] @ cj / np.sqrt(cj @ cj) for cj in c]
        assert found["dot"][i] == pytest.approx(-max(dots))
        assert found["cosine"][i] == pytest.approx(1 - max(dots) / np.sqrt(u[i] @ u[i]))
        assert found["euclidean"][i] == pytest.approx(min(np.linalg.norm(u[i] - cj) for cj in c))


def test_for_unit_codes_cosine_and_dot_rank_alike() -> None:
    order = {name: list(np.argsort(s)) for name, s in cluster_scores(*codes(unit=True)).items()}
    assert order["cosine"] == order["dot"]
    assert order["cosine"] != order["euclidean"]  # centers are shorter than 1, each by its own
    order = {name: list(np.argsort(s)) for name, s in cluster_scores(*codes(unit=False)).items()}
    assert order["cosine"] != order["dot"]
