"""Eq. 6 against brute force, for any label values and any number of clusters."""

import itertools
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from l2ae_core.clustering.metrics import (
    accuracy,
    ari,
    chance_scores,
    clustering_scores,
    confusion,
    matching,
    nmi,
)
from l2ae_kernels.arrays import Array


def brute_force(true: Array, predicted: Array) -> float:
    """The maximum of Eq. 6, over every one-to-one mapping of clusters to classes or to nothing."""
    classes, clusters = list(np.unique(true)), list(np.unique(predicted))
    nothing = [object() for _ in clusters]  # equal to no class
    best = 0
    for images in itertools.permutations(classes + nothing, len(clusters)):
        m = dict(zip(clusters, images, strict=True))
        best = max(best, sum(l == m[c] for l, c in zip(true, predicted, strict=True)))
    return best / len(true)


@pytest.mark.parametrize(("classes", "clusters"), [(1, 1), (3, 3), (4, 2), (2, 4), (3, 4), (4, 3)])
def test_accuracy_is_the_maximum_over_all_mappings(classes: int, clusters: int) -> None:
    rng = np.random.default_rng(classes + 10 * clusters)
    for _ in range(10):
        true, predicted = rng.integers(classes, size=17), rng.integers(clusters, size=17)
        assert accuracy(true, predicted) == brute_force(true, predicted)
        m = matching(true, predicted)
        hits = sum(l == m[c] for l, c in zip(true.tolist(), predicted.tolist(), strict=True))
        assert hits / 17 == accuracy(true, predicted)


def test_by_hand() -> None:
    # counts: class 0: (1, 2), class 1: (0, 3). Rows alone would both take cluster 1.
    true, predicted = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1, 1])
    assert accuracy(true, predicted) == 4 / 6
    assert matching(true, predicted) == {0: 0, 1: 1}


def test_purity_is_something_else() -> None:
    # One sample a cluster: purity would be 1, Eq. 6 lets each class have one cluster.
    assert accuracy(np.array([0, 0, 0, 1, 1, 1]), np.arange(6)) == 2 / 6
    assert accuracy(np.array([0, 1, 2, 3]), np.zeros(4, int)) == 1 / 4


def test_names_of_labels_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(5, size=200), rng.integers(7, size=200)
    predicted[:120] = true[:120]
    scores = clustering_scores(true, predicted)
    for _ in range(5):
        names = rng.choice(np.arange(-50, 1000, 7), size=7, replace=False)
        assert clustering_scores(true, names[predicted]) == pytest.approx(scores)
        assert clustering_scores(np.array(list("vwxyz"))[true], predicted) == pytest.approx(scores)
        order = rng.permutation(200)
        assert clustering_scores(true[order], predicted[order]) == pytest.approx(scores)
    assert clustering_scores(true.astype(float) / 3, predicted) == pytest.approx(scores)


def test_matching_of_strings_and_surplus_clusters() -> None:
    true = np.array(["cat", "cat", "dog", "dog", "dog"])
    assert matching(true, np.array([7, 7, -3, -3, 5])) == {7: "cat", -3: "dog", 5: None}
    assert matching(np.array([0, 1, 2]), np.array(["a", "a", "b"])) in (
        {"a": 0, "b": 2},
        {"a": 1, "b": 2},
    )


class Column:
    """What a column of a table is to NumPy: something with `__array__`."""

    def __init__(self, values: list[object]) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> Array:
        return np.array(self.values, object)

    def __len__(self) -> int:
        return len(self.values)


ODD_LABELS: dict[str, object] = {
    "objects": np.array(["a", "a", "b", "c"], object),
    "column": Column(["a", "a", "b", "c"]),
    "StringDType": np.array(["a", "a", "b", "c"], np.dtypes.StringDType()),
    "list": ["a", "a", "b", "c"],
    "mixed": np.array([1, 1, "1", (2, 3)], object),
    "mixed list": [1, 1, "1", 2.5],
    "pairs": np.fromiter([(1, 2), (1, 2), (2, 1), (0, 0)], object, 4),
    "bytes": np.array([b"a", b"a", b"b", b"c"]),
    "dates": np.array(["2020-01-01", "2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[D]"),
    "bool objects": np.array([True, True, False, "x"], object),
    "fractions": np.array([Fraction(1, 3), Fraction(1, 3), Fraction(1, 2), 7], object),
}


@pytest.mark.parametrize("name", ODD_LABELS)
def test_labels_may_be_any_values(name: str) -> None:
    odd, plain = ODD_LABELS[name], np.array([5, 5, 6, 7])
    other = np.array([2, 2, 0, 0])
    assert clustering_scores(odd, other) == clustering_scores(plain, other)
    assert clustering_scores(other, odd) == clustering_scores(other, plain)
    first, _, third, fourth = np.asarray(odd, None if name == "dates" else object).tolist()
    m = matching(odd, other)
    assert m in ({2: first, 0: third}, {2: first, 0: fourth})
    assert all(type(m[c]) in (type(first), type(third), type(fourth)) for c in m)
    back = matching(other, odd)
    assert back in ({first: 2, third: 0, fourth: None}, {first: 2, third: None, fourth: 0})
    table = confusion(odd, other)
    assert sorted(table.counts.sum(axis=1).tolist()) == [1, 1, 2]
    assert set(table.classes.tolist()) == {first, third, fourth}


MISSING: dict[str, object] = {
    "NaN": np.array([np.nan, 1.0, 1.0]),
    "NaN in a list": [np.nan, 1.0, 1.0],
    "NaN among strings": ["a", np.nan, "b"],
    "NaN as an object": np.array([np.nan, 1.0, 1.0], object),
    "None": np.array(["a", None, "b"], object),
    "None in a list": ["a", None, "b"],
    "complex": np.array([1j, complex(np.nan, 0), 1]),
    "no date": np.array(["2020", "NaT", "2021"], "datetime64[Y]"),
    "masked": np.ma.masked_array([1, 2, 3], [False, True, False]),
    "Decimal": np.array([Decimal("NaN"), 1, 2], object),
    "StringDType": np.array(["a", None, "b"], np.dtypes.StringDType(na_object=None)),
    "a list": np.fromiter([[1], [2], [1]], object, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("measure", [accuracy, nmi, ari, matching, confusion])
def test_what_is_no_label_is_an_error(name: str, measure: Callable[..., object]) -> None:
    good = np.array([0, 1, 1])
    with pytest.raises(ValueError, match="true holds"):
        measure(MISSING[name], good)
    with pytest.raises(ValueError, match="predicted holds"):
        measure(good, MISSING[name])


@pytest.mark.parametrize(("classes", "clusters"), [(4, 4), (3, 5), (5, 3)])
def test_confusion_has_the_matched_samples_on_its_diagonal(classes: int, clusters: int) -> None:
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(classes, size=300), rng.integers(clusters, size=300)
    predicted[:100] = (true[:100] + 1) % clusters
    table = confusion(true, predicted)
    assert table.counts.shape == (classes, clusters)
    assert sorted(table.clusters) == list(range(clusters))
    for (row, l), (column, c) in itertools.product(
        enumerate(table.classes), enumerate(table.clusters)
    ):
        assert table.counts[row, column] == ((true == l) & (predicted == c)).sum()
    m = matching(true, predicted)
    if clusters >= classes:
        assert table.counts.diagonal().sum() == accuracy(true, predicted) * 300
        assert [m[c] for c in table.clusters.tolist()][:classes] == table.classes.tolist()
        assert all(m[c] is None for c in table.clusters.tolist()[classes:])
    else:
        matched = [m[c] for c in table.clusters.tolist()]
        assert matched == sorted(matched)


def test_nmi_and_ari_by_hand() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    # H(true) = ln 2, H(predicted) = H(3/4), mutual information = H(predicted) − 1/2 · ln 2.
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    mutual = entropy - 0.5 * math.log(2)
    assert nmi(true, predicted) == pytest.approx(mutual / ((math.log(2) + entropy) / 2))
    # Pairs: 1 together in both, 2 in true, 3 in predicted, 6 in all: expected 1, mean 2.5.
    assert ari(true, predicted) == pytest.approx((1 - 1) / (2.5 - 1))
    assert clustering_scores(true, 1 - true) == {"acc": 1.0, "nmi": 1.0, "ari": 1.0}


def test_chance_is_low_but_above_one_over_k() -> None:
    true = np.arange(1000) % 10
    chance = chance_scores(true, 10, np.random.default_rng(0))
    assert 0.1 < chance["acc"] < 0.2
    assert chance["nmi"] < 0.05
    assert abs(chance["ari"]) < 0.005
    assert chance == chance_scores(true, 10, np.random.default_rng(0))
    # All in one cluster: exactly the share of the largest class.
    one = chance_scores(np.array([0, 0, 0, 1]), 1, np.random.default_rng(0))
    assert one == {"acc": 0.75, "nmi": 0.0, "ari": 0.0}


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"true is \(3,\) and predicted is \(2,\)"):
        accuracy(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="N >= 1"):
        nmi(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="predicted holds NaN"):
        ari(np.zeros(2), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="n_clusters is 0"):
        chance_scores(np.zeros(3), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="repeats is 0"):
        chance_scores(np.zeros(3), 2, np.random.default_rng(0), repeats=0)
