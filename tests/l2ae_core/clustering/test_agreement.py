"""Agreement between runs: which stands apart, and which is in the middle."""

import numpy as np
import pytest

from l2ae_core.clustering.agreement import agreement_between_runs
from l2ae_core.clustering.metrics import nmi
from l2ae_kernels.arrays import Array

N, K = 5000, 10


def runs(*shares: float, seed: int = 0) -> Array:
    """Labels (R, N): of one clustering, with a share of random ones in each run."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(K, size=N)
    drawn = rng.integers(K, size=(len(shares), N))
    return np.where(rng.random(drawn.shape) < np.array(shares)[:, None], drawn, labels)


def cut_and_merged(labels: Array) -> Array:
    """One cluster cut in two, two others made one: how a network of the paper fails on USPS."""
    found = labels.copy()
    found[(labels == 0) & (np.arange(N) % 2 == 0)] = K
    found[labels == 3] = 4
    return found


@pytest.mark.parametrize("R", [3, 4, 8])
@pytest.mark.parametrize("failing", ["shuffled", "cut and merged"])
@pytest.mark.parametrize("position", [0, -1])
def test_a_run_that_fails_stands_apart(R: int, failing: str, position: int) -> None:
    labels = runs(*[0.02] * R)
    if failing == "shuffled":
        np.random.default_rng(1).shuffle(labels[position])
    else:
        labels[position] = cut_and_merged(labels[position])
    found = agreement_between_runs(labels)
    assert found.apart is not None
    assert np.flatnonzero(found.apart).tolist() == [position % R]
    assert found.medoid != position % R


def test_two_of_ten_stand_apart() -> None:
    labels = runs(*[0.02] * 10)
    for i in (2, 7):
        labels[i] = cut_and_merged(labels[i])
    found = agreement_between_runs(labels)
    assert found.apart is not None
    assert np.flatnonzero(found.apart).tolist() == [2, 7]


@pytest.mark.parametrize("R", [3, 6])
@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 1])
def test_runs_that_differ_alike_do_not_stand_apart(R: int, share: float) -> None:
    apart = agreement_between_runs(runs(*[share] * R)).apart
    assert apart is not None
    assert not apart.any()


def test_runs_that_all_differ_do_not_stand_apart() -> None:
    apart = agreement_between_runs(runs(0, 0.1, 0.2, 0.3, 0.4)).apart
    assert apart is not None
    assert not apart.any()


def test_the_medoid_agrees_most_with_the_others() -> None:
    labels = runs(0.2, 0.15, 0.02, 0.3)
    found = agreement_between_runs(labels)
    assert found.medoid == 2
    for a in range(4):
        others = [nmi(labels[a], labels[b]) for b in range(4) if b != a]
        np.testing.assert_allclose(found.nmi[a], [*others[:a], 1, *others[a:]])
        assert found.mean[a] == pytest.approx(np.mean(others))


def test_the_numbers_of_clusters_do_not_matter() -> None:
    labels = runs(0.05, 0.05, 0.05, 0.05, 0.3)
    named = [labels[0] * 7 - 3, np.array(list("abcdefghij"))[labels[1]], labels[2] / 8, *labels[3:]]
    for row in range(3, 5):
        named[row] = np.random.default_rng(row).permutation(K)[labels[row]]
    found, expected = agreement_between_runs(named), agreement_between_runs(labels)
    np.testing.assert_allclose(found.nmi, expected.nmi, atol=1e-12)
    assert found.medoid == expected.medoid
    np.testing.assert_array_equal(found.apart, expected.apart)


@pytest.mark.parametrize("seed", range(8))
def test_of_equal_runs_the_first_is_the_medoid(seed: int) -> None:
    """However the sums over clusters of other numbers are rounded."""
    rng = np.random.default_rng(seed)
    labels = runs(0.1, 0.3, seed=seed)
    found = agreement_between_runs([labels[0], rng.permutation(K)[labels[0]], labels[1]])
    assert found.medoid == 0
    assert found.nmi[0, 1] == pytest.approx(1)


def test_two_runs_have_one_number() -> None:
    labels = runs(0.1, 0.6)
    found = agreement_between_runs(labels)
    assert found.apart is None
    assert found.medoid == 0
    np.testing.assert_allclose(found.mean, nmi(*labels))


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([], "labels is of 0 runs"),
        ([[0, 1]], "labels is of 1 runs"),
        ([[0, 1], [0, 1], [0, 1, 1]], r"labels\[2\] is \(3,\) and labels\[0\] is \(2,\)"),
        ([[], []], r"labels\[0\] is \(0,\)"),
        (np.zeros((2, 3, 4)), r"labels\[0\] is \(3, 4\)"),
        ([[0, 1], [0, np.nan]], r"labels\[1\] holds NaN"),
        ([[0, 1], [0, None]], r"labels\[1\] holds None"),
    ],
)
def test_bad_labels_are_named(labels: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        agreement_between_runs(labels)
