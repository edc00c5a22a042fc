"""Eq. 5, its orientation, the thresholds and the training part of Section IV-B."""

import numpy as np
import pytest

from l2ae_core.anomaly import (
    auc,
    contaminate,
    cosine_normality,
    large_clusters,
    nearest_center,
    normality,
    reconstruction_error,
    roc,
    threshold_at_contamination,
    threshold_at_fpr,
)
from l2ae_kernels.arrays import Array

ULPS = 4  # u and c/|c| are rounded, and so is each of the D products


def unit(n: int, d: int, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_normality_by_hand() -> None:
    u = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, -1.0]])
    centers = np.array([[0.5, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(normality(u, centers), [1.0, 0.8, 0.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(nearest_center(u, centers), [0, 1, 1, 0])


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("other", ["u1", "i2", "f2", "f4", "f8"])
def test_the_error_of_small_numbers_does_not_wrap_around(dtype: str, other: str) -> None:
    x, x_hat = np.full((2, 300), 0, dtype), np.full((2, 300), 100, other)
    np.testing.assert_array_equal(reconstruction_error(x, x_hat), [300 * 100.0**2] * 2)
    np.testing.assert_array_equal(reconstruction_error(x_hat, x), [300 * 100.0**2] * 2)


def test_the_error_of_black_and_white_images_counts_pixels() -> None:
    x = np.eye(4, dtype=bool)
    np.testing.assert_array_equal(reconstruction_error(x, ~x), [4.0] * 4)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4"])
def test_cosines_of_small_numbers_do_not_overflow(dtype: str) -> None:
    z = np.array([[120, 0], [90, 120]], dtype)
    centers = np.array([[100, 0], [0, 100]], dtype)
    np.testing.assert_allclose(cosine_normality(z, centers), [1, 0.8], rtol=1e-6)
    wide = np.array([[300, 400]], "f2")  # its square is beyond the largest float16
    np.testing.assert_allclose(normality(np.array([[1.0, 0.0]]), wide), [0.6], rtol=1e-12)
    long = np.array([[3e4, 4e4]]).astype("f2" if dtype == "f2" else "f8")
    np.testing.assert_allclose(cosine_normality(long, centers), [0.8], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("D", [10, 37])
def test_one_center_scores_a_sample_alike_wherever_it_lies(D: int, dtype: str) -> None:
    u, center = unit(20_000, D).astype(dtype), unit(1, D, seed=1).astype(dtype)
    expected = normality(u, center)
    for first in (1, 2, 3, 8191, 19_998):
        assert normality(u[first:], center).tobytes() == expected[first:].tobytes()
    assert expected.dtype == dtype
    np.testing.assert_allclose(expected, u.astype("f8") @ center[0].astype("f8"), atol=1e-6)


def test_negative_scores_are_not_clipped() -> None:
    u = np.array([[-1.0, 0.0], [-0.8, -0.6]])
    centers = np.array([[2.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(normality(u, centers), [-0.6, -0.8])
    np.testing.assert_allclose(normality(u, centers[:1]), [-1.0, -0.8])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_range_and_maximum(dtype: type) -> None:
    # centers in one orthant, where the points are not: then no center is near some of them
    u, centers = unit(2000, 10).astype(dtype), np.abs(unit(9, 10, 1)).astype(dtype)
    v = normality(u, centers)
    assert v.dtype == dtype
    assert v.shape == (2000,)
    assert v.min() < 0  # the paper's [0, 1] does not hold
    assert np.abs(v).max() <= 1 + ULPS * np.finfo(dtype).eps
    every = np.stack([normality(u, center[None]) for center in centers])
    np.testing.assert_allclose(v, every.max(axis=0), atol=10 * np.finfo(dtype).eps)
    at_centers = normality(centers, centers)
    np.testing.assert_allclose(at_centers, 1, atol=ULPS * np.finfo(dtype).eps)


def test_length_of_the_centers_does_not_matter_but_direction_does() -> None:
    u, centers = unit(500, 6), unit(4, 6, 1)
    lengths = np.array([[0.01], [1.0], [7.0], [1e6]])
    v = normality(u, centers)
    np.testing.assert_allclose(normality(u, lengths * centers), v, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(nearest_center(u, lengths * centers), nearest_center(u, centers))
    assert (normality(u, -centers) != v).all()


def test_cosine_normality_is_normality_of_unit_rows() -> None:
    u, centers = unit(300, 5), 3 * unit(4, 5, 1)
    z = np.random.default_rng(2).uniform(0.1, 50, size=(300, 1)) * u
    np.testing.assert_allclose(cosine_normality(z, centers), normality(u, centers), rtol=1e-12)
    assert np.abs(normality(z, centers)).max() > 1  # normality takes its rows as they are


def test_normality_errors() -> None:
    u, centers = unit(5, 3), unit(2, 3)
    with pytest.raises(ValueError, match=r"normality: representations are \(5, 3\) and centers"):
        normality(u, centers[:, :2])
    with pytest.raises(ValueError, match="center 1 is zero"):
        normality(u, np.array([[1.0, 0, 0], [0, 0, 0]]))
    with pytest.raises(ValueError, match="representations hold NaN"):
        normality(np.full((5, 3), np.nan), centers)
    with pytest.raises(ValueError, match="cosine_normality: row 2 of z is zero"):
        cosine_normality(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]]), centers)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.3, [1]), (0.5, [1]), (0.51, [1, 3]), (0.9, [1, 3, 4]), (0.91, [0, 1, 3, 4]),
     (1.0, [0, 1, 3, 4, 5])],
)  # fmt: skip
def test_large_clusters_hold_the_share(share: float, expected: list[int]) -> None:
    """Of 100 samples: 50 and two times 20 are 90; equal ones in their order; never an empty one."""
    for dtype in (np.int64, np.uint8):
        large = large_clusters(np.array([5, 50, 0, 20, 20, 5], dtype), share)
        assert np.flatnonzero(large).tolist() == expected


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])
def test_rounding_takes_no_large_cluster_more_and_none_less(percent: int) -> None:
    """0.07 · 100 is more than 7 in floating point, 0.29 · 100 less than 29."""
    assert large_clusters(np.ones(100, int), percent / 100).sum() == percent


def test_large_clusters_errors() -> None:
    for sizes in ([], [0, 0], [3, -1], [0.5, 1.0], [[1, 2]]):
        with pytest.raises(ValueError, match="large_clusters: sizes are .* but expected counts"):
            large_clusters(np.array(sizes), 0.9)
    for share in (0.0, -0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="large_clusters: share is .* but expected"):
            large_clusters(np.array([1, 2]), share)


def test_reconstruction_error_sums_over_the_image() -> None:
    x = np.zeros((2, 2, 2, 1), np.float32)
    x_hat = x.copy()
    x_hat[0, 0, 0, 0], x_hat[0, 1, 1, 0], x_hat[1, 0, 1, 0] = 1, -2, 3
    error = reconstruction_error(x, x_hat)
    np.testing.assert_array_equal(error, [5.0, 9.0])
    assert error.dtype == np.float64
    with pytest.raises(ValueError, match="one shape"):
        reconstruction_error(x, x_hat[:1])


# --- ROC and AUC: anomalies are the positives, a higher score is more anomalous


def pairs_auc(anomalous: Array, score: Array) -> float:
    """The definition: how often an anomaly scores above a normal sample, ties counted half."""
    a, b = score[anomalous][:, None], score[~anomalous][None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def test_auc_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    anomalous = rng.random(300) < 0.2
    for score in (
        rng.normal(size=300),
        anomalous + rng.normal(size=300),
        rng.integers(5, size=300),
    ):
        assert auc(anomalous, score) == pytest.approx(pairs_auc(anomalous, score))
    assert auc(np.array([True, False]), np.array([2.0, 1.0])) == 1.0
    assert auc(np.array([True, False]), np.array([1.0, 2.0])) == 0.0


def test_roc_by_hand() -> None:
    anomalous = np.array([False, True, False, True])
    fpr, tpr, thresholds = roc(anomalous, np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_array_equal(fpr, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_array_equal(tpr, [0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(thresholds, [np.inf, 4, 3, 2, 1])
    assert np.trapezoid(tpr, fpr) == auc(anomalous, np.array([1.0, 2.0, 3.0, 4.0])) == 0.75


def detector_setting(n: int = 2000) -> tuple[Array, Array, Array]:
    """Normal samples around three directions, anomalies around a fourth: u, anomalous, centers."""
    rng = np.random.default_rng(5)
    directions = np.eye(4)
    anomalous = rng.random(n) < 0.1
    kind = np.where(anomalous, 3, rng.integers(3, size=n))
    u = directions[kind] + 0.15 * rng.normal(size=(n, 4))
    return u / np.linalg.norm(u, axis=1, keepdims=True), anomalous, directions[:3]


QUALITY = 0.95  # what a working detector reaches here; chance is 0.5


def test_minus_v_finds_anomalies_and_useless_scores_do_not() -> None:
    u, anomalous, centers = detector_setting()
    v = normality(u, centers)
    assert auc(anomalous, -v) > QUALITY
    assert auc(anomalous, 1 - v) == pytest.approx(auc(anomalous, -v))
    assert auc(anomalous, v) < 1 - QUALITY  # the swapped sign is caught
    assert auc(~anomalous, v) == pytest.approx(auc(anomalous, -v))
    assert auc(anomalous, np.ones(len(u))) == 0.5
    random = auc(anomalous, np.random.default_rng(1).random(len(u)))
    assert abs(random - 0.5) < 0.06  # four standard errors with 200 anomalies


@pytest.mark.parametrize("function", [roc, auc])
def test_roc_and_auc_errors(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="True for 0 of 3 samples but expected both kinds"):
        function(np.zeros(3, bool), np.arange(3.0))
    with pytest.raises(ValueError, match="True for 3 of 3"):
        function(np.ones(3, bool), np.arange(3.0))
    with pytest.raises(ValueError, match="expected bool"):
        function(np.array([0, 1, 1]), np.arange(3.0))
    with pytest.raises(ValueError, match="holds NaN"):
        function(np.array([True, False]), np.array([np.nan, 1.0]))


# --- thresholds: v < τ is called an anomaly


@pytest.mark.parametrize("threshold", [threshold_at_fpr, threshold_at_contamination])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.29, 0.3, 0.5, 0.999])
def test_below_a_threshold_lie_as_many_as_the_share_allows(threshold: object, share: float) -> None:
    assert callable(threshold)
    normal = np.random.default_rng(0).normal(size=100)
    for v in (normal, normal.astype(np.float32), np.arange(100) // 7 / 10 - 0.7, np.ones(100)):
        tau = threshold(v, share)
        assert (v.astype(np.float64) < tau).mean() <= share
        lowest_above = v[v > tau].min()
        assert (v <= lowest_above).mean() > share  # with the next score it would be too many


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3])
def test_a_threshold_is_as_far_from_the_scores_as_can_be(dtype: type, share: float) -> None:
    v = np.random.default_rng(1).permutation(np.linspace(-0.5, 0.999, 150)).astype(dtype)
    gap = 1.499 / 149
    distance = np.abs(v - threshold_at_fpr(v, share)).min()
    expected = gap / 2 if share else 64 * 2**-23  # below all: what rounding can do to a cosine
    assert distance == pytest.approx(expected, rel=0.01)


def test_thresholds_of_scores_without_a_number_between_them() -> None:
    low = np.array([0.5, np.nextafter(0.5, 1)])
    for v in (low, -low[::-1], np.array([-1.7e308, 1.7e308]), np.array([0.0, 5e-324])):
        assert (v < threshold_at_fpr(v, 0.5)).tolist() == [True, False]


def test_thresholds_by_hand_and_orientation() -> None:
    v = np.array([0.9, -0.5, 0.8, 0.7, 0.1])
    assert threshold_at_fpr(v, 0.4) == pytest.approx(0.4)
    assert threshold_at_contamination(v, 0.2) == pytest.approx(-0.2)
    assert -0.5001 < threshold_at_fpr(v, 0.0) < -0.5  # nothing lies below it
    u, anomalous, centers = detector_setting()
    scores = normality(u, centers)
    called = scores < threshold_at_fpr(scores[~anomalous], 0.05)
    assert called[~anomalous].mean() <= 0.05
    assert called[anomalous].mean() > 0.9


def test_threshold_errors() -> None:
    with pytest.raises(ValueError, match=r"threshold_at_fpr: fpr is 1\.0"):
        threshold_at_fpr(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match=r"contamination is -0\.1"):
        threshold_at_contamination(np.zeros(3), -0.1)
    with pytest.raises(ValueError, match=r"scores are \(0,\)"):
        threshold_at_fpr(np.zeros(0), 0.1)


# --- the training part


def test_contaminate_keeps_a_share_of_one_class_and_all_of_the_others() -> None:
    labels = np.arange(1000) % 10
    kept = contaminate(labels, 3, keep=0.1, rng=np.random.default_rng(0))
    counts = np.bincount(labels[kept], minlength=10)
    np.testing.assert_array_equal(counts, [100, 100, 100, 10, 100, 100, 100, 100, 100, 100])
    assert (np.diff(kept) > 0).all()  # sorted, and nothing twice
    again, other = (contaminate(labels, 3, rng=np.random.default_rng(s)) for s in (0, 1))
    np.testing.assert_array_equal(kept, again)
    assert (kept != other).any()


def test_contaminate_borders_and_errors() -> None:
    labels = np.array(["a", "b", "a", "c"])
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(contaminate(labels, "a", keep=0, rng=rng), [1, 3])
    np.testing.assert_array_equal(contaminate(labels, "a", keep=1, rng=rng), [0, 1, 2, 3])
    with pytest.raises(ValueError, match="anomaly_class is 'z'"):
        contaminate(labels, "z", rng=rng)
    with pytest.raises(ValueError, match=r"keep is 1\.5"):
        contaminate(labels, "a", keep=1.5, rng=rng)
