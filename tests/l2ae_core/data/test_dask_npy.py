"""A .npy file as a Dask array: the path travels, and a chunk is read where it is needed."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dask.array")

from l2ae_core.data import DataError, dask_npy  # Dask first


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32))
    return tmp_path / "x.npy"


def test_rows_are_those_of_the_file(path: Path) -> None:
    expected = np.load(path)
    x = dask_npy(path, 1024)
    assert x.chunks == ((1024,) * 4 + (904,), (3,))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.compute(), expected)
    assert dask_npy(path).numblocks == (1, 1)
    np.testing.assert_array_equal(dask_npy(str(path), 7)[3000:3020].compute(), expected[3000:3020])


def test_chunks_of_large_rows_hold_whole_blocks(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (9000, 28, 28, 1))  # sparse
    assert dask_npy(tmp_path / "x.npy", 4000).chunks[0] == (4000, 4000, 1000)
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (300_000, 28, 28, 1))
    rows = dask_npy(tmp_path / "x.npy").chunks[0][0]
    assert rows % 1024 == 0
    assert 2**25 < rows * 784 <= 2**26


def test_the_path_travels_and_not_the_rows(path: Path) -> None:
    assert len(pickle.dumps(dask_npy(path, 1024))) < path.stat().st_size / 4
    assert isinstance(dask_npy(path, 1024).blocks[1].compute(scheduler="sync"), np.memmap)


def test_another_working_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    x = dask_npy("x.npy", 1024)
    monkeypatch.chdir("/")
    assert len(x.compute()) == 5000


def test_a_file_that_changes_is_named(path: Path) -> None:
    x = dask_npy(path, 1024)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=r"x\.npy: has changed since it was opened"):
        x.compute()
    assert dask_npy(path, 1024).name != x.name
    path.unlink()
    with pytest.raises(DataError, match=r"x\.npy: is gone"):
        x.compute()


def test_errors(tmp_path: Path) -> None:
    np.save(tmp_path / "scalar.npy", np.float32(1))
    np.savez(tmp_path / "two.npz", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("1, 2")
    with pytest.raises(DataError, match=r"scalar\.npy: holds a single number"):
        dask_npy(tmp_path / "scalar.npy")
    for name in ("two.npz", "text.npy", "objects.npy", "none.npy"):
        with pytest.raises(DataError, match=f"{name}: "):
            dask_npy(tmp_path / name)
    for rows in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"dask_npy: chunk_rows is {rows}"):
            dask_npy(tmp_path / "scalar.npy", rows)  # type: ignore[arg-type]
