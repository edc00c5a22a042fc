"""Estimators on Dask arrays: the bits of the same images in memory, lazily."""

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import AutoEncoderClusterer, AutoEncoderDetector, SelfLabelling, load
from l2ae_core.training.loop import NORM_IMAGES
from l2ae_kernels.arrays import Array

da = pytest.importorskip("dask.array")

from l2ae_core.distributed.images import DaskImages  # noqa: E402

N = 2500
FEW: dict[str, Any] = {
    "n_clusters": 3, "model": "dense", "hidden": (24,), "latent_dim": 4, "epochs": 2, "n_init": 2,
    "random_state": 0,
}  # fmt: skip
FITTED = (
    "labels_", "cluster_centers_", "inertia_", "n_iter_", "embedding_", "reconstruction_errors_"
)  # fmt: skip


@pytest.fixture(scope="module")
def bytes8() -> Array:
    """Images (N, 8, 8) uint8 of digits, each a little brighter than the one before it."""
    images = load("digits").images[np.arange(N) % 1000, :, :, 0]
    return np.minimum(images * 200 + np.arange(N)[:, None, None] % 50, 255).astype(np.uint8)


def in_chunks(x: Array, rows: int = 700) -> Any:
    return da.from_array(x, chunks=(rows, *x.shape[1:]))


@pytest.fixture(scope="module")
def detectors(bytes8: Array) -> tuple[AutoEncoderDetector, AutoEncoderDetector]:
    """One that was fitted in memory, one to a Dask array."""
    made = (
        AutoEncoderDetector(criterion="both", **FEW),
        AutoEncoderDetector(criterion="both", **FEW),
    )
    return made[0].fit(bytes8), made[1].fit(in_chunks(bytes8))


def same(found: Any, expected: Any, name: str) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected), err_msg=name)
    assert found.dtype == expected.dtype, name


def test_fit_finds_what_it_finds_in_memory(
    detectors: tuple[AutoEncoderDetector, AutoEncoderDetector],
) -> None:
    here, there = detectors
    assert here.history_[-1]["loss"] == there.history_[-1]["loss"]
    for name, p in here.autoencoder_.params.items():
        np.testing.assert_array_equal(there.autoencoder_.params[name], p, err_msg=name)
    for name in FITTED:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)
    assert (there.offset_, there.error_threshold_) == (here.offset_, here.error_threshold_)
    for name in ("labels_", "embedding_", "reconstruction_errors_"):
        assert isinstance(getattr(there, name), da.Array), name
    assert (there.n_features_in_, there.image_shape_) == (64, (8, 8, 1))


@pytest.mark.parametrize("rows", [300, 1024, 4000])
@pytest.mark.parametrize(
    "name", ["predict", "score_samples", "decision_function", "reasons", "reconstruct"]
)
def test_methods_of_the_detector(
    rows: int, name: str, bytes8: Array,
    detectors: tuple[AutoEncoderDetector, AutoEncoderDetector],
) -> None:  # fmt: skip
    X = in_chunks(bytes8, rows)
    expected = getattr(detectors[0], name)(bytes8)
    for detector in detectors:
        found = getattr(detector, name)(X)
        assert isinstance(found, da.Array)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert found.chunks[0] == X.chunks[0]
        same(found.compute(), expected, name)
        same(getattr(detector, name)(bytes8), expected, name)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.float64])
def test_methods_of_the_clusterer(dtype: Any, bytes8: Array) -> None:
    x: Array = bytes8 > 99 if dtype is np.bool_ else bytes8
    x = x if dtype in (np.uint8, np.bool_) else (x / 255).astype(dtype)
    rows, settings = x.reshape(N, 64), {**FEW, "image_shape": (8, 8)}
    here = AutoEncoderClusterer(**settings).fit(rows)
    there = AutoEncoderClusterer(**settings).fit(in_chunks(rows))
    for name in FITTED:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)
    for name in ("predict", "transform"):
        same(getattr(there, name)(in_chunks(rows, 999)).compute(), getattr(here, name)(rows), name)
    assert there.score(in_chunks(rows, 999)) == here.score(rows)
    same(there.fit_transform(in_chunks(rows)).compute(), here.embedding_, "fit_transform")
    same(there.recluster(2).labels_.compute(), here.recluster(2).labels_, "recluster")


def test_other_ways_to_train(bytes8: Array) -> None:
    """Warps, held-out images, and training with the clusters as labels read the same images."""
    for more in ({"augment": True, "validation": 0.1}, {"self_label": True, "augment": True}):
        here = AutoEncoderClusterer(**FEW, **more).fit(bytes8[:500])
        there = AutoEncoderClusterer(**FEW, **more).fit(in_chunks(bytes8[:500], 80))
        np.testing.assert_array_equal(there.embedding_, here.embedding_)


def test_codes_of_self_labelling_are_computed_on_the_workers(
    bytes8: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes here are batches: each image once an epoch and once a round."""
    rounds = SelfLabelling(3, rounds=2, tol=0.0, n_init=1)
    here = AutoEncoderClusterer(**FEW, self_label=rounds).fit(bytes8)
    come, fetch = [0], DaskImages._fetch

    def counted(self: DaskImages, rows: Array) -> Array:
        come[0] += len(rows)
        return fetch(self, rows)

    monkeypatch.setattr(DaskImages, "_fetch", counted)
    there = AutoEncoderClusterer(**FEW, self_label=rounds).fit(in_chunks(bytes8))
    np.testing.assert_array_equal(there.embedding_, here.embedding_)
    assert there.self_labelling_history_ is not None
    assert here.self_labelling_history_ is not None
    for found, expected in zip(
        there.self_labelling_history_, here.self_labelling_history_, strict=True
    ):
        assert found["kl"] == expected["kl"]
    latents = min(N, NORM_IMAGES)  # whose lengths a history records
    assert come[0] == (2 + 2) * (N + latents)


def test_nothing_is_read_before_it_is_asked(
    bytes8: Array, detectors: tuple[AutoEncoderDetector, AutoEncoderDetector]
) -> None:
    read: list[int] = []

    def chunk(block_info: Any) -> Array:
        first, last = block_info[None]["array-location"][0]
        read.append(first)
        return bytes8[first:last]

    X = da.map_blocks(chunk, chunks=((1024, 1024, 452), 8, 8), dtype=np.uint8,
                      meta=np.empty((0, 0, 0), np.uint8))  # fmt: skip
    v = detectors[0].score_samples(X)
    assert read == []
    np.testing.assert_array_equal(v[:1024], detectors[0].score_samples(bytes8)[:1024])
    assert read == [0]


def test_thresholds_by_a_dask_array(
    bytes8: Array, detectors: tuple[AutoEncoderDetector, AutoEncoderDetector]
) -> None:
    here, there = (copy(detector) for detector in detectors)
    there.calibrate(in_chunks(bytes8[:1500]), 0.2)
    here.calibrate(bytes8[:1500], 0.2)
    assert (there.offset_, there.error_threshold_) == (here.offset_, here.error_threshold_)


def test_what_was_fitted_is_written(
    bytes8: Array, detectors: tuple[AutoEncoderDetector, AutoEncoderDetector], tmp_path: Path
) -> None:
    here, there = detectors
    there.save(tmp_path / "saved.npz")
    loaded = AutoEncoderDetector.load(tmp_path / "saved.npz")
    np.testing.assert_array_equal(loaded.embedding_, here.embedding_)
    np.testing.assert_array_equal(loaded.labels_, here.labels_)
    there.save_run(tmp_path / "run")
    again = AutoEncoderClusterer.from_run(tmp_path / "run", in_chunks(bytes8))
    np.testing.assert_array_equal(again.embedding_, here.embedding_)


def test_grey_chunks_go_where_colour_was_trained_on(bytes8: Array) -> None:
    colour = AutoEncoderClusterer(**FEW).fit(np.repeat(bytes8[..., None], 3, axis=3))
    np.testing.assert_array_equal(colour.predict(in_chunks(bytes8)), colour.labels_)


def test_what_does_not_fit_is_named_at_once(
    bytes8: Array, detectors: tuple[AutoEncoderDetector, AutoEncoderDetector], tmp_path: Path
) -> None:
    X = in_chunks(bytes8)
    for settings, message in [
        ({"run_dir": tmp_path}, "run_dir is .* but X is a Dask array: fit without, then save_run"),
        ({"scale": "standard"}, "scale is 'standard' but X is a Dask array, taken with"),
        ({"n_clusters": 2501}, "n_clusters is 2501 but X has only n_samples=2500"),
        ({"image_shape": (4, 16)}, r"image_shape is \(4, 16, 1\) but the images of X"),
    ]:
        with pytest.raises(ValueError, match=f"fit: .*{message}"):
            AutoEncoderClusterer(**{**FEW, **settings}).fit(X)
    with pytest.raises(ValueError, match=r"predict: X is .* fitted to images of shape \(8, 8, 1\)"):
        detectors[0].predict(X[:, :7])
    with pytest.raises(ValueError, match="one image; write X"):
        detectors[0].predict(X[0])
    x = bytes8 / np.float32(255)
    x[2100] *= 3
    with pytest.raises(ValueError, match="fit: row 2100 of X has values from 0.0 to"):
        AutoEncoderClusterer(**FEW).fit(in_chunks(x))
    with pytest.raises(ValueError, match="transform: row 2100 of X has values from 0.0 to"):
        AutoEncoderClusterer(**FEW).fit(bytes8).transform(in_chunks(x)).compute()
