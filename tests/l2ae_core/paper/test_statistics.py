"""Spread, paired differences and correlation, beside SciPy's; the worst pair of classes."""

import numpy as np
import pytest
from scipy import stats

from l2ae_core.paper.statistics import (
    correlation,
    paired_difference,
    summarize,
    worst_pair,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_the_interval_is_that_of_a_paired_t_test(count: int) -> None:
    a, b = RNG.normal(0.9, 0.02, count), RNG.normal(0.8, 0.05, count)
    found = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found is not None
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.mean == pytest.approx((a - b).mean(), rel=1e-12)
    assert found.count == count


def test_only_seeds_that_both_have_are_paired() -> None:
    found = paired_difference({0: 5.0, 1: 0.5, 7: 0.75, 9: 9.0}, {7: 0.25, 3: 8.0, 1: 0.25})
    assert found is not None
    assert (found.mean, found.count) == (0.375, 2)


def test_one_pair_has_no_interval_and_none_no_difference() -> None:
    one = paired_difference({4: 0.75}, {4: 0.25, 5: 0.0})
    assert one is not None
    assert (one.mean, one.interval, one.count) == (0.5, None, 1)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({}, {}) is None


def test_equal_differences_have_an_interval_of_no_width() -> None:
    found = paired_difference({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5})
    assert found is not None
    assert found.interval == (0.5, 0.5)


@pytest.mark.parametrize("count", [3, 12])
def test_correlation_is_pearsons(count: int) -> None:
    x = RNG.normal(size=count)
    y = RNG.normal(size=count) - x
    assert correlation(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-12)
    assert correlation(x, -2 * x + 1) == pytest.approx(-1)


def test_there_is_no_correlation_without_three_pairs_or_spread() -> None:
    assert correlation([], []) is None
    assert correlation([1.0, 2.0], [3.0, 5.0]) is None
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert correlation([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]) is None
    with pytest.raises(ValueError, match="x has 3 values but y has 2"):
        correlation([1.0, 2.0, 3.0], [1.0, 2.0])


def test_a_summary_has_the_sample_standard_deviation() -> None:
    x = RNG.normal(size=7)
    found = summarize(list(x))
    assert found.sd == pytest.approx(stats.tstd(x), rel=1e-12)
    assert (found.mean, found.least, found.most) == pytest.approx((x.mean(), x.min(), x.max()))
    assert found.count == 7


def test_one_value_has_no_spread_and_none_no_summary() -> None:
    one = summarize([0.5])
    assert (one.mean, one.sd, one.least, one.most, one.count) == (0.5, 0.0, 0.5, 0.5, 1)
    with pytest.raises(ValueError, match="values is empty"):
        summarize([])


CLEAN = np.diag([50, 40, 30, 20])


def mixed(i: int, j: int, count: int) -> np.ndarray:
    """CLEAN with `count` images of class i in the cluster of class j."""
    c = CLEAN.copy()
    c[i, i] -= count
    c[i, j] += count
    return c


def test_the_worst_pair_is_the_one_that_is_mixed_whichever_class_loses() -> None:
    assert worst_pair([mixed(1, 3, 20)]) == (1, 3, pytest.approx(40 / 60))
    assert worst_pair([mixed(3, 1, 10)]) == (1, 3, pytest.approx(50 / 60))
    assert worst_pair([mixed(3, 1, 10) + mixed(0, 2, 25)]) == (0, 2, pytest.approx(135 / 160))


def test_the_worst_pair_is_that_of_the_lowest_mean_over_seeds() -> None:
    seeds = [mixed(0, 1, 45), mixed(2, 3, 20), mixed(2, 3, 25)]  # shares 1/2, 3/5, 1/2
    assert worst_pair(seeds) == (2, 3, pytest.approx((1 + 3 / 5 + 1 / 2) / 3))


def test_clusters_without_a_class_do_not_count_and_none_are_not_enough() -> None:
    more = np.hstack([mixed(1, 3, 20), [[0], [0], [99], [0]]])
    assert worst_pair([more]) == worst_pair([mixed(1, 3, 20)])
    assert worst_pair([]) is None
    assert worst_pair([CLEAN, CLEAN[:, :3]]) is None


def test_two_classes_with_no_image_in_their_clusters_are_told_apart_by_nothing() -> None:
    c = CLEAN.copy()
    c[:2] = [[0, 0, 50, 0], [0, 0, 40, 0]]
    assert worst_pair([c]) == (0, 1, 0.0)
