"""k-means on Dask arrays: the bits of k-means in memory, whoever holds the chunks, and its errors.

The faults of `dask_ml.cluster.KMeans` are tests here: an inertia that was a sum of distances, a
number of restarts that meant nothing, empty clusters whose center became zero.
"""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

da = pytest.importorskip("dask.array")

import dask  # noqa: E402  # only where it is installed

from l2ae_core.clustering import rows  # noqa: E402
from l2ae_core.clustering.kmeans import Clustering, kmeans  # noqa: E402
from l2ae_kernels.arrays import Array  # noqa: E402

from .made_up import blobs, rng  # noqa: E402

SHIFTED = 1e5  # samples that are recentered: float32 has no digits left for their centers


def bits(found: Clustering) -> dict[str, object]:
    """All that was found."""
    assert found.recentered is None or found.recentered.centers.dtype == found.centers.dtype
    return {
        "labels": np.asarray(found.labels).tobytes(),
        "centers": found.centers.tobytes(),
        "inertia": found.inertia,
        "n_iter": found.n_iter,
        "restarts": found.restarts,
    }


def assert_equal_bits(x: Array, chunks: Any, k: int = 6, **named: Any) -> None:
    """In memory, and in chunks."""
    here = kmeans(x, k, rng=rng(3), **named)
    there = kmeans(da.from_array(x, chunks=chunks), k, rng=rng(3), **named)
    assert bits(there) == bits(here)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("d", "chunks"),
    [
        (10, (1700, 10)),  # not at multiples of 1024
        (10, ((1, 3000, 0, 7, 1993), (4, 6))),  # columns, too; an empty chunk
        (10, (5001, 10)),  # one
        (10, (300, 10)),
        (90, (2048, 90)),
        (1, (1024, 1)),
    ],
)
def test_chunks_do_not_change_a_bit(d: int, chunks: Any, dtype: type) -> None:
    assert_equal_bits(blobs(5001, d, 6, spread=1.0).astype(dtype), chunks, n_init=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "named",
    [
        {"spherical": True},
        {"tol": 0.01},
        {"max_iter": 2},
        {"init": np.concatenate([np.zeros((1, 10)), np.full((5, 10), 1e3)])},  # empty clusters
    ],
    ids=lambda named: next(iter(named)),
)
def test_arguments_mean_what_they_mean_in_memory(named: dict[str, Any], dtype: type) -> None:
    x = blobs(4000, 10, 6, spread=1.0).astype(dtype)
    assert_equal_bits(x, (1100, 10), n_init=2, **named)


def test_samples_far_from_zero_are_recentered() -> None:
    x = (blobs(3000, 10, 6) + SHIFTED).astype(np.float32)
    there = kmeans(da.from_array(x, chunks=(1100, 10)), 6, n_init=2, rng=rng(3))
    here = kmeans(x, 6, n_init=2, rng=rng(3))
    assert there.recentered is not None
    assert bits(there) == bits(here)


@pytest.mark.parametrize(
    "named",
    [{}, {"spherical": True}, {"tol": 0.01}, {"offset": SHIFTED}, {"offset": 1e12, "dtype": "f8"}],
    ids=lambda n: str([*n]),
)
@pytest.mark.parametrize("layout", ["F", "F in one", "big-endian"])
def test_the_layout_of_a_chunk_does_not_change_a_bit(layout: str, named: dict[str, Any]) -> None:
    named = dict(named)
    offset, dtype = named.pop("offset", 0), named.pop("dtype", "f4")
    scale = 10.0 ** rng(2).uniform(-3, 2, (4000, 1))
    x = (blobs(4000, 20, 6, spread=1.0) * scale + offset).astype(dtype)
    chunked = da.from_array(x, chunks=(4000 if layout == "F in one" else 1024, 20))
    swapped = layout == "big-endian"
    chunked = chunked.astype(f">{dtype}") if swapped else chunked.map_blocks(np.asfortranarray)
    there = kmeans(chunked, 6, n_init=2, rng=rng(3), **named)
    assert (there.recentered is not None) == (offset != 0)
    assert bits(there) == bits(kmeans(x, 6, n_init=2, rng=rng(3), **named))


def test_integers() -> None:
    assert_equal_bits(rng().integers(0, 9, (2000, 3)).astype(np.uint8), (700, 3), n_init=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fewer_distinct_rows_than_clusters(dtype: type) -> None:
    x = np.repeat(np.array([[0.1, 0.7], [1 / 3, 0.9], [-0.3, 1e3]], dtype), [1, 300, 2777], axis=0)
    with pytest.warns(UserWarning, match="kmeans: 3 of 6 clusters stay empty, because x has fewer"):
        assert_equal_bits(x, (1024, 2), n_init=2)


def test_the_inertia_is_that_of_the_labels() -> None:
    """With a tol that ends a restart after one step, long before it converges."""
    x = blobs(3000, 5, 8, spread=1.0)
    found = kmeans(da.from_array(x, chunks=(1100, 5)), 8, n_init=2, rng=rng(), tol=10)
    assert found.n_iter == 1
    labels = found.labels.compute()
    np.testing.assert_allclose(found.inertia, ((x - found.centers[labels]) ** 2).sum())


def test_every_restart_is_a_run() -> None:
    found = kmeans(da.from_array(blobs(2000, 3, 9), chunks=(1024, 3)), 9, n_init=5, rng=rng())
    assert len(found.restarts) == 5
    assert len({history[0] for history in found.restarts}) == 5
    assert found.inertia == min(history[-1] for history in found.restarts)


def test_labels_are_lazy_and_in_the_chunks_of_x() -> None:
    x = blobs(3000, 5, 4)
    chunked = da.from_array(x, chunks=((700, 1000, 1300), (2, 3)))
    found = kmeans(chunked, 4, n_init=1, rng=rng())
    assert isinstance(found.labels, da.Array)
    assert found.labels.dtype == np.int32
    assert found.labels.chunks == ((700, 1000, 1300),)


@pytest.mark.parametrize("spherical", [False, True])
def test_predict(spherical: bool) -> None:
    x = blobs(3000, 5, 4)
    found = kmeans(x, 4, n_init=1, rng=rng(), spherical=spherical)
    new = blobs(999, 5, 4, seed=9).astype(np.float32)
    lazy = found.predict(da.from_array(new, chunks=(100, 3)))
    assert lazy.chunks == ((100,) * 9 + (99,),)
    np.testing.assert_array_equal(lazy.compute(), found.predict(new))
    unknown = da.from_array(new, chunks=(100, 5))
    unknown = unknown[unknown[:, 0] > 0]  # how many rows, a chunk knows when it is computed
    np.testing.assert_array_equal(
        found.predict(unknown).compute(), found.predict(new[new[:, 0] > 0])
    )


def test_no_chunk_is_made_before_it_has_to_be() -> None:
    made = []

    def make(block_id: tuple[int, int]) -> Array:
        made.append(block_id)
        return blobs(1024, 3, 4, seed=block_id[0])

    with dask.config.set(scheduler="synchronous"):
        x = da.map_blocks(make, chunks=((1024, 1024), (3,)), dtype=float, meta=np.empty((0, 0)))
        found = kmeans(x, 4, rng=rng(), init=blobs(4, 3, 4), max_iter=1)
        passes = len(made)
        # Where zero lies, a row amid the samples, how large they are, and two assignments.
        assert passes == 2 + 1 + 2 + 2 * 2
        lazy = found.predict(x)
        assert len(made) == passes
        lazy[:5].compute()
        assert made[passes:] == [(0, 0)]


@pytest.mark.parametrize("persist", [False, True])
def test_what_is_made_of_chunks_is_kept_where_they_are(
    persist: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def unit_rows(function: str, x: Array, first: int = 0) -> Array:
        calls.append(type(x))
        return original(function, x, first)

    original = rows.unit_rows
    monkeypatch.setattr(rows, "unit_rows", unit_rows)
    x = da.from_array(blobs(2048, 5, 4), chunks=(1024, 5)) + 1
    kmeans(x.persist() if persist else x, 4, n_init=1, rng=rng(), spherical=True)
    made = calls.count(np.ndarray)
    assert made == 2 if persist else made > 20


def replaced(x: Array, row: int, by: Any) -> Array:
    x[row] = by
    return x


def first_rows(x: Array) -> Array:
    return x[:5]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (da.zeros((4000, 3, 2)), r"x is \(4000, 3, 2\) float64 but expected real \(N, D\)"),
        (da.zeros((4000, 2), chunks=-1, dtype=object), r"x is \(4000, 2\) object but"),
        (da.zeros((4000, 2), dtype=complex), "complex128"),
        (da.zeros((4, 2)), "x has 4 rows but expected at least 5"),
        (da.zeros((4000, 0)), r"x is \(4000, 0\) but expected at least one feature"),
        (da.ones((4000, 2))[da.ones(4000) > 0], "x has chunks of unknown sizes"),
        (da.from_array(replaced(blobs(4000, 2, 5), 3000, np.nan), chunks=(700, 2)),
         "row 3000 of x holds NaN or infinity"),
        (da.ones((4000, 2), chunks=(700, 2)).map_blocks(np.ma.asarray), "x is MaskedArray in chun"),
        (da.ones((4000, 2), chunks=(1024, 2)).map_blocks(first_rows, dtype=float),
         r"a chunk of x is \(5, 2\) float64 but x says \(1024, 2\) float64"),
    ],
)  # fmt: skip
def test_errors(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"kmeans: .*{message}"):
        kmeans(x, 5, n_init=1, rng=rng())


def test_errors_of_spherical_rows_and_of_predict() -> None:
    x = blobs(4000, 2, 5)
    zero = da.from_array(replaced(x.copy(), 3000, 0), chunks=(700, 2))
    with pytest.raises(ValueError, match="kmeans: row 3000 of x is zero"):
        kmeans(zero, 5, n_init=1, rng=rng(), spherical=True)
    found = kmeans(x, 5, n_init=1, rng=rng())
    with pytest.raises(ValueError, match="predict: .* 2 features"):
        found.predict(da.zeros((10, 3)))
    with pytest.raises(ValueError, match="predict: x is MaskedArray"):
        found.predict(da.ones((4000, 2)).map_blocks(np.ma.asarray))
    hidden = da.ones((4000, 2)).map_blocks(np.ma.asarray, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match="predict: a chunk of x is MaskedArray"):
        found.predict(hidden).compute()
    with pytest.raises(ValueError, match="kmeans: a chunk of x is MaskedArray"):
        kmeans(hidden, 5, n_init=1, rng=rng(), spherical=True)


def test_predict_names_the_row_of_all() -> None:
    x = blobs(4000, 2, 5)
    found = kmeans(x, 5, n_init=1, rng=rng(), spherical=True)
    for value, message in ((np.nan, "holds NaN"), (0, "is zero")):
        bad = da.from_array(replaced(x.copy(), 3000, value), chunks=(700, 2))
        with pytest.raises(ValueError, match=f"predict: row 3000 of x {message}"):
            found.predict(bad).compute()
        unknown = bad[bad[:, 0] != np.inf]  # the sizes of its chunks are
        with pytest.raises(ValueError, match=f"predict: chunk 4: row 200 of x {message}"):
            found.predict(unknown).compute()


@pytest.mark.slow
def test_dask_is_not_imported_for_other_arrays() -> None:
    script = """if True:
        import sys
        import numpy as np
        sys.modules["dask"] = None
        from l2ae_core.clustering.kmeans import kmeans
        found = kmeans(np.eye(5), 2, n_init=1, rng=np.random.default_rng(0))
        found.predict(np.eye(5))
    """
    subprocess.run([sys.executable, "-c", script], check=True)
