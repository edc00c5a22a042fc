"""k-means: by hand, against scikit-learn from equal starts, and where it usually goes wrong."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from l2ae_core.clustering.init import kmeans_plus_plus
from l2ae_core.clustering.kmeans import Clustering, fill_empty, kmeans
from l2ae_kernels import ops
from l2ae_kernels.arrays import Array
from l2ae_kernels.cpu.codegen.vectors import SETS, vectors
from l2ae_kernels.cpu.threads import MOST, threads

from .made_up import blobs, rng

ROUNDING = 1e-6  # relative, of an inertia whose distances are float32


def belongs_together(x: Array, found: Clustering, rtol: float = 1e-12) -> None:
    """Labels are nearest centers, and the inertia is theirs, by the definition in float64."""
    exact = ((x[:, None, :].astype(np.float64) - found.centers[None]) ** 2).sum(axis=2)
    chosen = exact[np.arange(len(x)), found.labels]
    np.testing.assert_allclose(chosen, exact.min(axis=1), rtol=rtol, atol=1e-25)
    np.testing.assert_allclose(found.inertia, chosen.sum(), rtol=rtol, atol=1e-25)


def test_by_hand() -> None:
    # From 0 and 1: {0} {1, 10, 12} -> 0, 23/3; {0, 1} {10, 12} -> 0.5, 11; no label changes.
    x = np.array([[0.0], [1.0], [10.0], [12.0]])
    found = kmeans(x, 2, rng=rng(), init=np.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(found.centers, [[0.5], [11.0]])
    assert found.inertia == 0.25 + 0.25 + 1 + 1
    first = 81 + 121
    second = 0 + 1 + (10 - 23 / 3) ** 2 + (12 - 23 / 3) ** 2
    np.testing.assert_allclose(found.restarts, [[first, second, 2.5]])
    assert found.n_iter == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("d", "k"), [(2, 3), (10, 10), (40, 5)])
def test_equals_scikit_learn_from_equal_starts(dtype: type, d: int, k: int) -> None:
    x = blobs(2000, d, k, spread=1.0).astype(dtype)
    start = x[rng(1).choice(len(x), k, replace=False)]
    ours = kmeans(x, k, rng=rng(), init=start)
    theirs = KMeans(k, init=start, n_init=1, tol=0, algorithm="lloyd", max_iter=300).fit(x)
    exact, of_theirs = (
        ((x[:, None, :].astype(np.float64) - centers[None]) ** 2).sum(axis=2)
        for centers in (ours.centers, theirs.cluster_centers_)
    )
    # theirs.inertia_ is a float32 sum whose rounding grows with the samples that a thread adds up
    np.testing.assert_allclose(ours.inertia, of_theirs.min(axis=1).sum(), rtol=ROUNDING)
    i = np.flatnonzero(ours.labels != theirs.labels_)  # only ties may differ
    np.testing.assert_allclose(exact[i, ours.labels[i]], exact[i, theirs.labels_[i]], rtol=ROUNDING)
    belongs_together(x, ours, rtol=1e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("stop", [{"max_iter": 1}, {"max_iter": 3}, {"tol": 0.1}, {}])
@pytest.mark.parametrize("spherical", [False, True])
def test_labels_centers_and_inertia_belong_together(
    stop: dict[str, float], spherical: bool
) -> None:
    x = blobs(500, 4, 8, spread=1.0)
    found = kmeans(x, 8, n_init=3, rng=rng(), spherical=spherical, **stop)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    belongs_together(unit if spherical else x, found)
    np.testing.assert_array_equal(found.predict(x), found.labels)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inertia_never_rises_and_the_best_restart_wins(dtype: type, spherical: bool) -> None:
    x = blobs(800, 5, 9, spread=0.8).astype(dtype)
    found = kmeans(x, 9, n_init=8, rng=rng(), spherical=spherical)
    assert len(found.restarts) == 8
    for history in found.restarts:
        assert (np.diff(history) <= 1e-6 * history[0]).all()
    finals = [history[-1] for history in found.restarts]
    assert len(set(finals)) > 1  # otherwise this test could not see a wrong choice
    assert found.inertia == min(finals)
    assert found.n_iter == len(found.restarts[int(np.argmin(finals))]) - 1


def test_restart_r_does_not_depend_on_the_number_of_restarts() -> None:
    x = blobs()
    three, five = (kmeans(x, 6, n_init=n, rng=rng(4)).restarts for n in (3, 5))
    assert five[:3] == three


def test_a_seed_gives_the_same_bits() -> None:
    x = blobs().astype(np.float32)
    one, two = (kmeans(x, 6, n_init=2, rng=rng(3)) for _ in range(2))
    assert one.centers.tobytes() == two.centers.tobytes()
    assert one.labels.tobytes() == two.labels.tobytes()
    assert one.restarts == two.restarts


@pytest.mark.skipif(MOST < 2, reason="one thread only")
@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("d", [10, 120])  # short and long samples of the emitted kernels
def test_the_number_of_threads_does_not_change_a_bit(d: int, spherical: bool) -> None:
    x = blobs(20_001, d, 12, spread=1.0).astype(np.float32)
    found = []
    for count in (1, 2):
        with threads(count):
            found.append(kmeans(x, 12, n_init=2, max_iter=12, rng=rng(3), spherical=spherical))
    one, two = found
    assert one.centers.tobytes() == two.centers.tobytes()
    assert one.labels.tobytes() == two.labels.tobytes()
    assert one.restarts == two.restarts


@pytest.mark.parametrize(("d", "k"), [(3, 40), (10, 10), (120, 5), (90, 40)])
def test_every_path_finds_the_same_clusters(d: int, k: int) -> None:
    x = blobs(1500, d, k, spread=1.0).astype(np.float32)
    slow = kmeans(x.astype(np.float64), k, n_init=1, rng=rng(), init=x[:k])
    for instructions in (*SETS, "none"):
        with vectors(instructions):
            fast = kmeans(x, k, n_init=1, rng=rng(), init=x[:k])
        np.testing.assert_allclose(fast.inertia, slow.inertia, rtol=1e-5)
        assert (fast.labels == slow.labels).mean() > 0.999  # float32 means move a few samples
        belongs_together(x, fast, rtol=1e-5)


def test_restarts_side_by_side_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(400, 5, 6).astype(np.float32)
    together = kmeans(x, 6, n_init=5, rng=rng(2))
    monkeypatch.setattr("l2ae_kernels.reference.restarts.MEMORY", 0)
    apart = kmeans(x, 6, n_init=5, rng=rng(2))
    assert apart.restarts == together.restarts
    assert apart.centers.tobytes() == together.centers.tobytes()
    assert apart.labels.tobytes() == together.labels.tobytes()


def test_tol_is_relative_to_the_variance_and_stops_sooner() -> None:
    x = blobs(2000, 10, 10, spread=1.5)
    exact = kmeans(x, 10, n_init=1, rng=rng())
    loose, scaled = (kmeans(s * x, 10, n_init=1, rng=rng(), tol=1e-2) for s in (1.0, 1e3))
    assert loose.n_iter < exact.n_iter
    assert loose.n_iter == scaled.n_iter
    assert len(kmeans(x, 10, n_init=1, rng=rng(), max_iter=2).restarts[0]) == 3


# --- empty clusters and duplicates


def test_an_empty_cluster_moves_to_the_farthest_sample() -> None:
    x = np.array([[0.0], [1.0], [2.0], [9.0]])
    found = kmeans(x, 2, rng=rng(), init=np.array([[1.0], [1e6]]), max_iter=1)
    # Cluster 1 is empty; 9 is the farthest, 64 away: the first inertia is 1 + 0 + 1 + 0.
    assert found.restarts[0][0] == 2.0
    np.testing.assert_array_equal(found.labels, [0, 0, 0, 1])
    np.testing.assert_array_equal(found.centers, [[1.0], [9.0]])


@pytest.mark.parametrize(
    ("start", "labels"), [([[0.0], [1e6]], [0, 0, 1]), ([[1e6], [0.0]], [1, 0, 0])]
)
def test_ties_with_a_moved_cluster_go_to_the_lowest_index(
    start: list[list[float]], labels: list[int]
) -> None:
    restarts = ops.restarts(np.array([[0.0], [2.0], [4.0]]), 2, 1)
    restarts.centers[0] = start
    restarts.assign([0])
    fill_empty(restarts, [0])  # 4 lies farthest from its center
    np.testing.assert_array_equal(restarts.labels[0], labels)
    assert restarts.inertia[0] == 4.0


def test_several_empty_clusters_do_not_move_to_copies_of_one_sample() -> None:
    # The two farthest rows are equal: moving both clusters there would leave one empty.
    x = np.array([[0.0], [0.2], [5.0], [9.0], [9.0], [9.0]])
    found = kmeans(x, 3, rng=rng(), init=np.array([[0.0], [1e6], [2e6]]))
    np.testing.assert_array_equal(found.labels, [0, 0, 2, 1, 1, 1])
    np.testing.assert_allclose(found.inertia, 0.02)


@pytest.mark.parametrize("seed", range(5))
def test_starts_far_outside_leave_no_cluster_empty(seed: int) -> None:
    x = np.repeat(blobs(60, 3, 6, seed=seed), 5, axis=0)  # with duplicates
    start = 1e3 + rng(seed).normal(size=(12, 3))
    start[0] = 0
    found = kmeans(x, 12, rng=rng(), init=start)
    assert (np.bincount(found.labels, minlength=12) > 0).all()
    assert (np.diff(found.restarts[0]) <= 1e-12 * found.restarts[0][0]).all()
    belongs_together(x, found)
    np.testing.assert_array_equal(found.predict(x), found.labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("init", ["k-means++", np.full((5, 2), 7.0)])
def test_fewer_distinct_rows_than_clusters(init: str | Array, dtype: type) -> None:
    rows = np.array([[0.1, 0.7], [1 / 3, 0.9], [-0.3, 1e3]], dtype)
    x = np.repeat(rows, [1, 300, 7777], axis=0)
    with pytest.warns(UserWarning, match="kmeans: 2 of 5 clusters stay empty"):
        found = kmeans(x, 5, n_init=2, rng=rng(), init=init)
    assert len(np.unique(found.labels)) == 3
    assert found.inertia < 1e-12
    assert found.n_iter < 10  # rounding of the means must not move clusters back and forth
    assert np.isfinite(found.centers).all()


def test_as_many_clusters_as_samples_and_one_cluster() -> None:
    x = blobs(9, 2, 3)
    assert kmeans(x, 9, n_init=1, rng=rng()).inertia == 0
    one = kmeans(x, 1, n_init=1, rng=rng())
    np.testing.assert_allclose(one.centers[0], x.mean(axis=0))


# --- the interface


def test_dtype_is_kept_integers_become_float64_and_x_is_not_changed() -> None:
    x = blobs(50, 3, 2)
    assert kmeans(x.astype(np.float32), 2, n_init=1, rng=rng()).centers.dtype == np.float32
    integers = rng().integers(0, 9, (50, 3))
    assert kmeans(integers, 2, n_init=1, rng=rng()).centers.dtype == np.float64
    before, start = x.copy(), x[:2].copy()
    x.flags.writeable = start.flags.writeable = False
    kmeans(x, 2, rng=rng(), init=start, spherical=True)
    np.testing.assert_array_equal(x, before)


def test_predict_new_samples_and_single_rows() -> None:
    x = blobs(400, 5, 4)
    found = kmeans(x, 4, n_init=2, rng=rng())
    new = blobs(100, 5, 4, seed=9)
    labels = found.predict(new)
    nearest = ((new[:, None] - found.centers) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(labels, nearest)
    np.testing.assert_array_equal([found.predict(row[None])[0] for row in new[:9]], labels[:9])
    np.testing.assert_array_equal(found.predict(new.astype(np.float32)), labels)


@pytest.mark.usefixtures("terminal")
def test_progress_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    kmeans(blobs(50, 2, 2), 2, n_init=3, rng=rng(), progress=True)
    assert "3/3" in capsys.readouterr().err
    kmeans(blobs(50, 2, 2), 2, n_init=3, rng=rng())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros(5)}, r"x is \(5,\)"),
        ({"x": np.zeros((5, 2), complex)}, "complex128"),
        ({"x": np.array([[0.0, 1.0], [2.0, np.nan], [3.0, 4.0]])}, "row 1 of x holds NaN"),
        ({"x": np.array([[0.0, 1.0], [2.0, 3.0], [-np.inf, 4.0]])}, "row 2 of x holds NaN or inf"),
        ({"n_clusters": 6}, "x has 5 rows but expected at least 6"),
        ({"x": np.ones((1, 2))}, "x has 1 row but expected at least 2"),
        ({"init": "random"}, "init is 'random'"),
        ({"init": np.zeros((2, 3))}, r"init is \(2, 3\) but expected finite \(2, 2\)"),
        ({"init": np.full((2, 2), np.nan)}, "init is"),
        ({"spherical": True, "x": np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 2.0]])}, "row 1 of x is"),
    ],
)
def test_errors(change: dict[str, object], message: str) -> None:
    arguments = {"x": blobs(5, 2, 2), "n_clusters": 2, "rng": rng()} | change
    with pytest.raises(ValueError, match=message):
        kmeans(**arguments)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4"])
def test_the_order_of_bytes_does_not_change_a_bit(dtype: str) -> None:
    x = (10 * blobs(500, 4, 3)).astype(dtype)
    native = x.astype(x.dtype.newbyteorder("="))
    found, expected = (kmeans(a, 3, n_init=2, rng=rng(1)) for a in (x, native))
    assert found.centers.tobytes() == expected.centers.tobytes()
    assert found.restarts == expected.restarts
    np.testing.assert_array_equal(found.predict(x), expected.labels)
    np.testing.assert_array_equal(
        kmeans_plus_plus(x, 3, rng(1)), kmeans_plus_plus(native, 3, rng(1))
    )


def test_predict_errors() -> None:
    found = kmeans(blobs(50, 3, 2), 2, n_init=1, rng=rng())
    with pytest.raises(ValueError, match="predict: row 0 of x holds NaN"):
        found.predict(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match=r"predict: x is \(1, 4\) but expected 3 features"):
        found.predict(np.zeros((1, 4)))
    for bad, message in (
        ([[1.0, 2.0, 3.0]], "predict: x is list but expected an array"),
        (np.ma.masked_less(np.ones((4, 3)), 2), "predict: x is a masked array"),
        (np.array([["a", "b", "c"]]), "predict: x is .* but expected real"),
    ):
        with pytest.raises(ValueError, match=message):
            found.predict(bad)  # type: ignore[arg-type]
    spherical = kmeans(blobs(50, 3, 2), 2, n_init=1, rng=rng(), spherical=True)
    with pytest.raises(ValueError, match="predict: row 0 of x is zero"):
        spherical.predict(np.zeros((1, 3)))
