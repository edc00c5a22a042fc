"""Arrays in files: the rows of the array in memory, and errors where a file is not what it was."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.data import DataError, Preparation, StoredImages, file_array, load, to_images
from l2ae_core.data.file_array import FileArray

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (30, 4, 5, 1), np.uint8)
ARRAYS = {
    "uint8": BYTES,
    "grey": BYTES[..., 0],
    "bool": BYTES > 100,
    "big-endian": RNG.random((30, 4, 5, 3)).astype(">f4"),
    "float32": RNG.random((30, 4, 5, 3), np.float32),
    "vector": np.arange(30),
    "vector in Fortran order": np.asfortranarray(np.arange(30)),
}
INDICES = [slice(None), slice(3, 9), slice(9, 3), slice(None, None, -2), [4, 5, 6, 29, 0, 0], [-1],
           [], np.arange(30) % 3 == 0, np.array([7, 6], np.uint8), 5, -30]  # fmt: skip


def opened(path: Path, array: np.ndarray) -> FileArray:
    np.save(path, array)
    found = FileArray.open(path)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("preadv", [True, False])
def test_rows_are_those_of_the_array(
    name: str, preadv: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not preadv:
        monkeypatch.setattr(file_array, "_preadv", None)
    array = opened(tmp_path / "a.npy", ARRAYS[name])
    for index in INDICES:
        np.testing.assert_array_equal(array[index], ARRAYS[name][index], strict=True)
    np.testing.assert_array_equal(np.asarray(array), ARRAYS[name], strict=True)
    assert (array.shape, array.dtype, len(array)) == (ARRAYS[name].shape, ARRAYS[name].dtype, 30)


@pytest.mark.parametrize("index", [30, -31, [0, 30], [-31], [True] * 29, [0.0], (0, 0), None])
def test_other_rows_are_refused(index: object, tmp_path: Path) -> None:
    with pytest.raises(IndexError, match=r"a\.npy"):
        opened(tmp_path / "a.npy", BYTES)[index]


def test_a_file_that_is_cut_off_or_replaced_is_an_error_and_no_signal(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, BYTES)
    before = path.stat()
    opened_one, cut, same_time = (load(path).images for _ in range(3))
    np.testing.assert_array_equal(opened_one[:3], to_images(BYTES[:3], ""))
    os.truncate(path, before.st_size - 30)
    for stored in (opened_one, cut):
        with pytest.raises(DataError, match=r"a\.npy: was (changed|cut off) since it was opened"):
            stored[28:]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="load it again"):
        same_time[0]
    np.save(path, BYTES[::-1])
    with pytest.raises(DataError, match="load it again"):
        opened_one[[1, 2]]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        same_time[0]
    batches = [np.array([0]), np.array([1])]
    for use in (lambda: same_time.stored.status(), lambda: next(same_time.gather(batches))):
        with pytest.raises(DataError, match="cannot be read"):
            use()


def test_a_file_that_another_takes_the_place_of_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = opened(path, BYTES)
    assert array[0].shape == (4, 5, 1)
    np.save(tmp_path / "b.npy", BYTES[::-1])
    (tmp_path / "b.npy").replace(path)
    np.testing.assert_array_equal(array[:], BYTES)
    with pytest.raises(DataError, match="load it again"):  # which opens what is there now
        pickle.loads(pickle.dumps(array))[0]  # noqa: S301


def test_it_travels_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened(Path("a.npy"), np.zeros((1000, 28, 28), np.uint8))
    images = load("./a.npy").images
    assert isinstance(images, StoredImages)
    assert images[3].sum() == 0  # the file is open
    sent = pickle.dumps(images)
    assert len(sent) < 2000
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(pickle.loads(sent)[:], images[:])  # noqa: S301


def test_open_files_are_closed_with_their_array(tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no list of open files")
    array = opened(tmp_path / "a.npy", BYTES)
    before = len(list(folder.iterdir()))
    array[0]
    assert len(list(folder.iterdir())) == before + 1
    del array
    assert len(list(folder.iterdir())) == before


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_large_file_takes_the_memory_of_a_piece(tmp_path: Path, dtype: type) -> None:
    shape = (40_000, 28, 28)
    with (tmp_path / "a.npy").open("wb") as file:  # of zeros that take no place on the disk
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 40_000 * 784 * np.dtype(dtype).itemsize)
    load(tmp_path / "a.npy").images[:1]  # what is imported stays
    tracemalloc.start()
    try:
        dataset = load(tmp_path / "a.npy")
        assert dataset.digest
        assert dataset.images[np.arange(0, 40_000, 200)].shape == (200, 28, 28, 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6, f"{peak:,} bytes at most, of {np.prod(shape):,} values"


def test_what_the_preparation_leaves_alone_stays_in_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BYTES)
    same = Preparation(size=(4, 5), grey=True, background="white")
    images = load(tmp_path / "a.npy", preparation=same).images
    assert isinstance(images, StoredImages)
    assert isinstance(images.stored, FileArray)
    np.testing.assert_array_equal(np.asarray(images), to_images(BYTES, "x", same))
    smaller = Preparation(size=(3, 3))
    found = load(tmp_path / "a.npy", preparation=smaller).images
    assert found.shape == (30, 3, 3, 1)
    np.testing.assert_array_equal(found, to_images(BYTES, "x", smaller), strict=True)
