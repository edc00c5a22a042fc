"""Criteria for the number of clusters: what they prefer, and what a row holds."""

import math
from typing import Any

import numpy as np
import pytest

from l2ae_core.clustering.kmeans import kmeans
from l2ae_core.clustering.sweep import Preferred, SweepRow, preferred, sweep
from l2ae_core.seeding import rngs
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.threads import MOST, threads

K = 4


def simplex(n: int = 240) -> Array:
    """Samples (n, K + 2) around K centers, each as far from all others: 14 times the spread."""
    noise = np.random.default_rng(0).normal(size=(n, K + 2))
    return 10 * np.eye(K, K + 2)[np.arange(n) % K] + noise


def rows_of(*values: tuple[float, float, float]) -> list[SweepRow]:
    """Rows of 2, 3, … clusters with these inertias, silhouettes and agreements."""
    return [SweepRow(k, *three, smallest=1) for k, three in enumerate(values, start=2)]


def test_all_criteria_prefer_the_number_of_well_separated_groups() -> None:
    rows = sweep(simplex(), range(2, 9), seed=0)
    assert preferred(rows) == Preferred(K, K, K)
    best = next(row for row in rows if row.k == K)
    others = [row for row in rows if row.k != K]
    assert best.silhouette > max(row.silhouette for row in others) + 0.1
    assert best.agreement == pytest.approx(1, abs=1e-9)
    assert max(row.agreement for row in others) < 0.97
    assert best.smallest == 240 / K
    assert (np.diff([row.inertia for row in rows]) < 0).all()


def test_a_row_is_that_of_kmeans_and_does_not_depend_on_the_others() -> None:
    x = simplex()
    rows = sweep(x, [5, 3], seed=7, n_init=2, sample_size=100)
    assert [row.k for row in rows] == [5, 3]
    assert sweep(x, [3], seed=7, n_init=2, sample_size=100) == rows[1:]
    for row in rows:
        found = kmeans(x, row.k, n_init=2, rng=rngs(7).kmeans)
        assert row.inertia == found.inertia
        assert row.smallest == np.bincount(found.labels).min()


def test_the_silhouette_of_all_samples_is_that_of_the_definition() -> None:
    x = simplex(40).astype(np.float32)
    (row,) = sweep(x, [3], seed=0)
    labels = kmeans(x, 3, rng=rngs(0).kmeans).labels
    distances = np.linalg.norm(x[:, None].astype(float) - x.astype(float), axis=2)
    values = []
    for i, own in enumerate(labels):
        means = [distances[i, labels == j].sum() / (labels == j).sum() for j in range(3)]
        size = (labels == own).sum()
        a, b = means[own] * size / (size - 1), min(means[:own] + means[own + 1 :])
        values.append((b - a) / max(a, b))
    assert row.silhouette == pytest.approx(np.mean(values), abs=1e-6)


def test_the_silhouette_of_a_sample_is_about_that_of_all() -> None:
    """Within ten standard errors: that of one sample is below 0.1 here."""
    x = simplex()
    (whole,) = sweep(x, [K], seed=0)
    (part,) = sweep(x, [K], seed=0, sample_size=120)
    assert part.silhouette != whole.silhouette
    assert part.silhouette == pytest.approx(whole.silhouette, abs=10 * 0.1 / np.sqrt(120))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_bits_for_any_number_of_threads(dtype: type) -> None:
    x = simplex(3000).astype(dtype)
    found = []
    for count in (1, MOST):
        with threads(count):
            found.append(sweep(x, [2, 7], seed=3, n_init=2, sample_size=500))
    assert found[0] == found[1]


def test_a_sample_in_one_cluster_has_no_silhouette() -> None:
    x = np.zeros((400, 2))
    x[rngs(0).split.permutation(400)[-1]] = 1  # not in the sample
    with pytest.warns(UserWarning, match="stay empty"):
        rows = sweep(x, [2, 3], seed=0, sample_size=5)
    assert rows[0].smallest == 1
    assert rows[1].smallest == 0
    assert all(math.isnan(row.silhouette) for row in rows)
    assert preferred(rows).silhouette is None


def test_no_criterion_prefers_clusters_that_are_empty() -> None:
    x = np.repeat(np.eye(3), 20, axis=0)
    with pytest.warns(UserWarning, match="stay empty"):
        rows = sweep(x, range(2, 7), seed=0)
    assert preferred(rows) == Preferred(3, 3, 3)


def test_what_is_preferred_among_given_rows() -> None:
    rows = rows_of((100, 0.1, 0.99), (60, 0.3, 0.9), (20, 0.2, 0.98), (15, 0.3, 0.96), (10, 0, 0.5))
    assert preferred(rows) == Preferred(inertia=4, silhouette=3, agreement=4)
    assert preferred(rows[::-1]) == preferred(rows)
    assert preferred(rows[:2]) == Preferred(None, 3, 2)
    assert preferred(rows[:1]) == Preferred(None, None, None)
    straight = rows_of((30, 0.1, 1), (20, 0.2, 1), (10, 0.3, 1))
    assert preferred(straight) == Preferred(None, 4, 4)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"clusters": [1, 2]}, "sweep: clusters is 1 but expected an integer ≥ 2"),
    ({"clusters": [2, 2.5]}, "sweep: clusters is 2.5"),
    ({"clusters": []}, "sweep: clusters is empty"),
    ({"clusters": [2, 30]}, "sweep: clusters is 30 but expected fewer than the 30 images"),
    ({"sample_size": 2}, "sweep: sample_size is 2 but expected an integer ≥ 3"),
    ({"sample_size": 6}, "sweep: clusters is 6 but expected fewer than sample_size, 6"),
    ({"x": np.ones(5)}, r"sweep: x is \(5,\)"),
    ({"x": np.full((30, 2), np.nan)}, "sweep: row 0 of x holds NaN"),
    ({"seed": -1}, "seed is -1"),
    ({"n_init": 0}, "n_init is 0"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_input_is_named(bad: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"x": np.eye(30, 2), "clusters": [3, 6], "seed": 0}
    with pytest.raises(ValueError, match=f"{message}"):
        sweep(**good | bad)
