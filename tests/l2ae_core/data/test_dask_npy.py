"""A .npy file as a Dask array: the path travels, and a chunk is read where it is needed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dask.array")

from l2ae_core.data import DataError, dask_npy, file_array  # Dask first
from l2ae_core.data.chunked import rows_behind


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


def test_of_a_chunk_that_is_sliced_only_those_rows_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, read = np.load(path), [0]

    def counted(number: int, buffers: Any, at: int) -> int:
        read[0] += sum(len(buffer) for buffer in buffers)
        return os.preadv(number, buffers, at)

    monkeypatch.setattr(file_array, "_preadv", counted)
    x = dask_npy(path, 1024)
    for index, rows in ((slice(3000, 3020), 20), (slice(0, None, 1000), 5), (4000, 1)):
        read[0] = 0
        np.testing.assert_array_equal(x[index].compute(scheduler="sync"), expected[index])
        assert read[0] == 12 * rows


@pytest.mark.parametrize("shape", [(50, 3), (50, 4, 5), (50,), (50, 0), (0, 3)])
def test_fortran_order(shape: tuple[int, ...], tmp_path: Path) -> None:
    expected = np.arange(float(np.prod(shape))).reshape(shape)
    np.save(tmp_path / "x.npy", np.asfortranarray(expected))
    x = dask_npy(tmp_path / "x.npy", 7)
    for index in (slice(None), slice(5, 22, 3), slice(9, 9)):
        found = x[index].compute(scheduler="sync")
        np.testing.assert_array_equal(found, expected[index], strict=True)
    if shape == (50, 4, 5):
        np.testing.assert_array_equal(x[8, 1:3].compute(), expected[8, 1:3])


@pytest.mark.slow
def test_a_file_that_is_cut_off_while_it_is_read_ends_no_process(path: Path) -> None:
    """A memory map does: by SIGBUS."""
    script = f"""if True:
        import os
        import numpy as np
        import dask.array
        from l2ae_core.data import DataError, dask_npy

        def cut_off(rows):
            os.truncate({str(path)!r}, 200)
            return rows + 1

        x = dask_npy({str(path)!r}, 2500).map_blocks(cut_off, meta=np.empty((0, 0), np.float32))
        try:
            x.compute(scheduler="sync")
        except DataError as error:
            assert "x.npy: was cut off since it was opened" in str(error) or "changed" in str(error)
            print("named")
    """
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert found.stdout == b"named\n"


def test_the_rows_behind_an_array(path: Path) -> None:
    x = dask_npy(path, 1024)
    rows = rows_behind(x)
    assert rows is not None
    np.testing.assert_array_equal(rows[[4999, 3]], np.load(path)[[4999, 3]])
    for other in (x + 1, x[:100], x.rechunk((700, 3)), x.persist()):
        assert rows_behind(other) is None


def test_another_working_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    x = dask_npy("x.npy", 1024)
    monkeypatch.chdir("/")
    assert len(x.compute()) == 5000


def test_a_file_that_changes_is_named(path: Path) -> None:
    x = dask_npy(path, 1024)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=r"x\.npy: was changed since it was opened"):
        x.compute()
    assert dask_npy(path, 1024).name != x.name
    path.unlink()
    with pytest.raises(DataError, match=r"x\.npy: cannot be read: No such file"):
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
