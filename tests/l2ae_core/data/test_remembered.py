"""Digests of files are remembered, and forgotten as soon as anything about the file is another."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.data import DataError, Preparation, StoredImages, load, remembered, to_images

X = np.random.default_rng(0).random((20, 4, 5, 1), np.float32)


class Passes:
    """How often all images were looked at, and by what."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def taken(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Every file is large, every time was long ago, and the cache is empty."""
    from l2ae_core.data import dataset, stored, values

    found, pieces = Passes(), values.pieces

    def counted(shape: tuple[int, ...], what: str, *, progress: bool = False) -> Iterator[slice]:
        found.seen.append(what)
        return pieces(shape, what, progress=progress)

    for module in (dataset, stored, values):
        monkeypatch.setattr(module, "pieces", counted)
    monkeypatch.setattr(remembered, "LARGE", 0)
    monkeypatch.setattr(remembered, "SETTLED", -1e9)
    monkeypatch.setenv("L2AE_CACHE_DIR", str(tmp_path / "cache"))
    return found


def all_of(path: Path, **how: object) -> tuple[str, int]:
    dataset = load(path, **how)
    assert isinstance(dataset.images, StoredImages)
    return dataset.digest, dataset.images.crc32()


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "digests").glob("*.json"))


def test_a_second_start_reads_nothing(tmp_path: Path, passes: Passes) -> None:
    np.save(tmp_path / "a.npy", X)
    first = all_of(tmp_path / "a.npy")
    assert passes.taken() == ["check", "digest", "checksum"]
    assert len(entries(tmp_path)) == 3
    assert all_of(tmp_path / "a.npy") == first
    assert passes.taken() == []
    assert first[0] == load(X).digest


def rewritten(path: Path) -> None:
    """Other bytes in the same file, of equal size, and the time put back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x3e")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    np.save(path.with_suffix(".tmp.npy"), X[::-1])
    path.with_suffix(".tmp.npy").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewritten, replaced, lambda path: np.save(path, X[1:])])
def test_another_file_is_read(
    change: Callable[[Path], None], tmp_path: Path, passes: Passes
) -> None:
    np.save(tmp_path / "a.npy", X)
    first = all_of(tmp_path / "a.npy")
    passes.taken()
    change(tmp_path / "a.npy")
    found = all_of(tmp_path / "a.npy")
    assert passes.taken() == ["check", "digest", "checksum"]
    assert found != first
    assert found[0] == load(np.load(tmp_path / "a.npy")).digest


def test_other_numbers_of_a_file_have_their_own(tmp_path: Path, passes: Passes) -> None:
    x = np.arange(20 * 4 * 5, dtype=np.uint16).reshape(20, 4, 5)
    np.save(tmp_path / "a.npy", x)
    path = tmp_path / "a.npy"
    for depth in ("auto", "0:4095", "0:4096"):
        for _ in range(2):
            preparation = Preparation(depth=depth)
            dataset = load(path, preparation=preparation)
            assert dataset.digest == load(to_images(x, "", preparation)).digest
            for rows in ([1, 5], [1, 6]):
                some = load(to_images(x[rows], "", preparation))
                assert dataset.subset(rows).digest == some.digest
    flat = tmp_path / "flat.npy"
    np.save(flat, X.reshape(20, 20))
    shapes = [(4, 5), (5, 4), (20, 1)]
    found = {load(flat, preparation=Preparation(image_shape=s)).digest for s in shapes * 2}
    assert len(found) == 3


def test_a_file_that_was_just_written_is_not_remembered(
    tmp_path: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "SETTLED", 60.0)
    np.save(tmp_path / "a.npy", X)
    for _ in range(2):
        all_of(tmp_path / "a.npy")
        assert passes.taken() == ["check", "digest", "checksum"]
    assert not entries(tmp_path)


def damaged_value(content: dict[str, object]) -> None:
    content["value"] = "0" * len(str(content["value"]))


def damaged_key(content: dict[str, object]) -> None:
    content["key"] = {}


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff", b"[]", b"{", b"null", b'{"key": 1, "value": "x"}', b"x" * 100_000,
     damaged_value, damaged_key],
)  # fmt: skip
def test_a_damaged_entry_is_no_entry(
    damage: bytes | Callable[[dict[str, object]], None], tmp_path: Path, passes: Passes
) -> None:
    np.save(tmp_path / "a.npy", X)
    first = all_of(tmp_path / "a.npy")
    for path in entries(tmp_path):
        if isinstance(damage, bytes):
            path.write_bytes(damage)
        else:
            content = json.loads(path.read_text())
            damage(content)
            path.write_text(json.dumps(content))
    passes.taken()
    assert all_of(tmp_path / "a.npy") == first
    assert passes.taken() == ["check", "digest", "checksum"]
    all_of(tmp_path / "a.npy")
    assert passes.taken() == []  # it was written again


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L2AE_CACHE_DIR", "/dev/null")
    np.save(tmp_path / "a.npy", X)
    assert all_of(tmp_path / "a.npy") == all_of(tmp_path / "a.npy")
    assert passes.taken() == ["check", "digest", "checksum"] * 2


def test_there_are_so_many_entries_and_no_more(
    tmp_path: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST", 4)
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", X)
        all_of(tmp_path / f"{name}.npy")
    assert len(entries(tmp_path)) == 4
    passes.taken()
    all_of(tmp_path / "c.npy")
    assert passes.taken() == []


def test_a_value_that_is_refused_is_refused_again(tmp_path: Path, passes: Passes) -> None:
    np.save(tmp_path / "a.npy", X * 3)
    for _ in range(2):
        with pytest.raises(DataError, match="scale with x / 255"):
            load(tmp_path / "a.npy")
    nan = X.copy()
    nan[2, 0, 1, 0] = np.nan
    np.save(tmp_path / "a.npy", nan)
    for _ in range(2):
        with pytest.raises(DataError, match=r"nan at index \(2, 0, 1, 0\)"):
            load(tmp_path / "a.npy")
