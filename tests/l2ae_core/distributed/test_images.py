"""The images of a Dask array: those that are asked for, in any order, whatever the chunks are."""

import os
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from l2ae_core.data import Preparation, dask_npy, file_array, to_images
from l2ae_core.images import Images, RemoteImages
from l2ae_core.networks import Architecture, build
from l2ae_kernels.arrays import Array

da = pytest.importorskip("dask.array")

from l2ae_core.distributed import images as module  # noqa: E402
from l2ae_core.distributed.chunks import BATCH, aligned  # noqa: E402
from l2ae_core.distributed.images import dask_images  # noqa: E402

N = 2500
BYTES = np.random.default_rng(0).integers(0, 256, (N, 4, 6), np.uint8)
CHUNKS = {"as they fall": (700, 3, 2), "many": (90, 4, 6), "one": (-1, -1, -1)}
FORMS: dict[str, tuple[Array, Preparation | None, tuple[int, ...] | None]] = {
    "uint8": (BYTES, None, None),
    "colour": (np.stack([BYTES, BYTES[::-1], BYTES], axis=3), None, None),
    "bool": (BYTES > 99, None, None),
    "float64": (BYTES / 255, None, None),
    "rows": (BYTES.reshape(N, 24), None, (4, 6)),
    "resized": (BYTES, Preparation(size=(3, 3), fit="stretch"), None),
    "levels": (BYTES.astype(np.int16) - 50, Preparation(depth="-50:300"), None),
}


PAIRS = [
    (form, chunks) for form in FORMS for chunks in CHUNKS if form != "resized" or chunks == "one"
]


@pytest.mark.parametrize(("form", "chunks"), PAIRS)
def test_images_are_those_of_the_array(
    form: str, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, preparation, flat = FORMS[form]
    X = da.from_array(array, chunks=(*CHUNKS[chunks], -1)[: array.ndim])
    images = dask_images("fit", X, preparation, flat)
    rows = Preparation(image_shape=flat) if flat else preparation or Preparation()
    expected = to_images(array, "x", rows)
    assert isinstance(images, Images)
    assert (images.shape, images.dtype, len(images)) == (expected.shape, np.float32, N)
    for index in (slice(1000, 1600), slice(None, None, -400), np.arange(N) % 300 == 0, [4, 4, -1]):
        np.testing.assert_array_equal(images[index], expected[index], strict=True)
    np.testing.assert_array_equal(images[-3], expected[-3], strict=True)
    assert images.crc32() == crc32(np.ascontiguousarray(expected).data)
    monkeypatch.setattr(module, "WINDOW", 4 * 200 * array[0].nbytes)  # three batches at most
    order = np.random.default_rng(1).permutation(N)
    batches = [order[first : first + 200] for first in range(0, N, 200)]
    for batch, found in zip(batches, images.gather(batches), strict=True):
        np.testing.assert_array_equal(found, expected[batch], strict=True)
        assert found.flags.c_contiguous


def test_images_that_are_not_there() -> None:
    images = dask_images("fit", da.from_array(BYTES, chunks=500), None, None)
    assert images[5:5].shape == (0, 4, 6, 1)
    for index in (N, [3, -N - 1], np.ones(N - 1, bool), [0.5], [[1]]):
        with pytest.raises(IndexError, match="fit: index is .* but expected integers below 2500"):
            images[index]


def test_batches_of_a_file_are_read_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image once, and no chunk of the file."""
    np.save(tmp_path / "x.npy", BYTES)
    read = [0]

    def counted(number: int, buffers: Any, at: int) -> int:
        read[0] += sum(len(buffer) for buffer in buffers)
        return os.preadv(number, buffers, at)

    monkeypatch.setattr(file_array, "_preadv", counted)
    monkeypatch.setattr(module, "WINDOW", 4 * 250 * 24)
    order = np.random.default_rng(1).permutation(N)
    batches = [order[first : first + 250] for first in range(0, N, 250)]
    for preparation in (None, Preparation(size=(3, 3), fit="stretch")):
        images = dask_images("fit", dask_npy(tmp_path / "x.npy", 600), preparation, None)
        expected = to_images(BYTES, "x", preparation or Preparation())
        read[0] = 0
        for batch, found in zip(batches, images.gather(batches), strict=True):
            np.testing.assert_array_equal(found, expected[batch], strict=True)
        assert read[0] == BYTES.nbytes
        np.testing.assert_array_equal(images[[7, 3, 7, -1]], expected[[7, 3, 7, -1]])


def test_codes_are_computed_where_the_images_are() -> None:
    model = build(Architecture("dense", (4, 6, 1), hidden=(32,)), np.random.default_rng(0))
    for x in (BYTES, BYTES / 255):
        images = dask_images("fit", da.from_array(x, chunks=(300, 4, 6)), None, None)
        assert isinstance(images, RemoteImages)
        expected = model.encode(images[:])
        np.testing.assert_array_equal(images.encode(model), expected, strict=True)


def test_tasks_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each chunk and window, not one for each image; of a chunk only what is needed."""
    X = da.from_array(BYTES, chunks=(500, 4, 6))
    images, asked = dask_images("fit", X, None, None), []
    pick = module.chunks.pick

    def counted(chunk: Array, rows: Array, first: int, form: Any) -> Array:
        asked.append(len(rows))
        return pick(chunk, rows, first, form)

    monkeypatch.setattr(module.chunks, "pick", counted)
    monkeypatch.setattr(module, "WINDOW", 4 * 250 * 24)
    order = np.random.default_rng(1).permutation(N)
    batches = [order[first : first + 250] for first in range(0, N, 250)]
    assert len(list(images.gather(batches))) == 10
    assert len(asked) == 3 * 5
    assert sum(asked) == N


def test_a_training_that_ends_early_waits_for_no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after Ctrl-C, where the workers are gone: then those under way never come."""
    asked, never = Event(), Event()

    def waits(chunk: Array, rows: Array, first: int, form: Any) -> Array:
        if len(rows) == 5:
            asked.set()
            never.wait()
        return pick(chunk, rows, first, form)

    pick = module.chunks.pick
    monkeypatch.setattr(module.chunks, "pick", waits)
    monkeypatch.setattr(module, "WINDOW", 1)
    images = dask_images("fit", da.from_array(BYTES, chunks=500), None, None)
    coming = images.gather([np.arange(9), np.arange(5), np.arange(7)])
    next(coming)
    assert asked.wait(30)
    try:
        ended = Thread(target=coming.close, daemon=True)
        ended.start()
        ended.join(30)
        assert not ended.is_alive()
        assert all(t.daemon for t in enumerate_threads() if t.name == "l2ae images")
    finally:
        never.set()


@pytest.mark.parametrize(
    "sizes", [(5000,), (100,) * 50, (1024, 1024, 3), (1, 4998, 1), (1535, 1500)]
)
def test_chunks_begin_where_batches_do(sizes: tuple[int, ...]) -> None:
    found = aligned(sizes)
    assert sum(found) == sum(sizes)
    assert all(first % BATCH == 0 for first in np.cumsum((0, *found))[:-1])
    assert min(found) >= min(BATCH, sum(sizes))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_codes_are_those_of_the_array(dtype: Any) -> None:
    """A network that gets all images at once has other bits for the last few of small chunks."""
    x = BYTES if dtype is np.uint8 else (BYTES / 255).astype(dtype)
    images = dask_images("fit", da.from_array(x, chunks=(300, 4, 6)), None, None)
    model = build(Architecture("dense", (4, 6, 1), hidden=(32,)), np.random.default_rng(0))
    network = model.astype(np.float64) if dtype is np.float64 else model
    whole = to_images(x, "x") if dtype is not np.float64 else x[..., None]
    expected = network.encode(whole)
    u = images.over_chunks(
        lambda images, network: network.encode(images),
        dtype=images.code_dtype, shape=(10,), network=network,
    )  # fmt: skip
    np.testing.assert_array_equal(u.compute(), expected, strict=True)
    assert images.as_given(u).chunks == ((300,) * 8 + (100,), (10,))
    again = images.over_chunks(
        lambda images, u, network: (network.decode(u) - images[:]).sum(axis=(1, 2, 3)), u,
        dtype=images.code_dtype, network=network,
    )  # fmt: skip
    np.testing.assert_array_equal(
        again.compute(), (network.decode(expected) - whole).sum(axis=(1, 2, 3))
    )


def test_what_cannot_be_taken_is_named() -> None:
    X = da.from_array(BYTES, chunks=(1000, 4, 6))
    for bad, flat, message in [
        (X[X[:, 0, 0] > 9], None, "fit: X has chunks of unknown sizes .*compute_chunk_sizes"),
        (X.astype(object), None, "fit: X is a Dask array of object but expected uint8, bool"),
        (X.astype(np.int64), None, "fit: X is a Dask array of int64"),
        (X.reshape(N, 24), None, r"fit: X is a Dask array \(2500, 24\) but expected images"),
        (X.reshape(N, 24), (5, 5), r"fit: X is a Dask array \(2500, 24\) but expected images"),
        (X[:0], None, "fit: X is a Dask array .* not empty"),
        (da.zeros((9, 3, 8, 8)), None, r"fit: .* looks like \(N, C, H, W\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            dask_images("fit", bad, None, flat)
    masked = dask_images("fit", X.map_blocks(np.ma.asarray, meta=X._meta), None, None)
    lazy = masked.over_chunks(lambda images: np.zeros(len(images)), dtype=np.float64)
    for met in (lambda: masked[:5], masked.crc32, lazy.compute):
        with pytest.raises(
            ValueError, match="fit: a chunk of X is MaskedArray but expected an arr"
        ):
            met()


@pytest.mark.parametrize(
    ("value", "message"),
    [(1.5, "row 2400 of X has values from .* to 1.5 but"), (np.nan, "row 2400 of X holds NaN")],
)
def test_values_out_of_range_are_named_when_their_chunk_is_met(value: float, message: str) -> None:
    x = BYTES / np.float32(255)
    x[2400:2402, 3, 3] = value
    images = dask_images("score", da.from_array(x, chunks=(300, 4, 6)), None, None)
    np.testing.assert_array_equal(images[:2400], x[:2400, ..., None])
    with pytest.raises(ValueError, match=f"score: {message}"):
        list(images.gather([np.array([5, 2401, 2400, 6])]))
    lazy = images.over_chunks(lambda images: np.zeros(len(images)), dtype=np.float64)
    np.testing.assert_array_equal(lazy[:1000].compute(), np.zeros(1000))
    with pytest.raises(ValueError, match=f"score: {message}"):
        lazy.compute()
