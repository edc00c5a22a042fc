"""Files that anybody may have written: what is no regular file, no strict JSON, no honest .npz."""

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core.array_readers import array_entry, read_npy, read_npz
from l2ae_core.clusters import SavedClusters
from l2ae_core.data import DataError, load
from l2ae_core.estimators import AutoEncoderClusterer
from l2ae_core.gallery import Gallery
from l2ae_core.paper import read_results
from l2ae_core.paper.figure1 import Figure1
from l2ae_core.readers import MAX_DEPTH, MAX_TEXT, parse_json, read_json, read_json_lines
from l2ae_core.seeds.runs import SeedRuns
from l2ae_core.training import checkpoint as checkpoints
from l2ae_core.training.history import read_history
from l2ae_core.training.run import read_config

READERS: dict[str, Callable[[Path], Any]] = {  # name of the file → what reads it
    "config.json": lambda file: read_config(file.parent),
    "history.jsonl": lambda file: read_history(file.parent),
    "checkpoint.npz": checkpoints.load,
    "clusters.npz": lambda file: SavedClusters.load(file.parent),
    "gallery.npz": lambda file: Gallery.load(file.parent),
    "seeds.json": lambda file: SeedRuns.read(file.parent),
    "estimator.npz": AutoEncoderClusterer.load,
    "figure1-usps.npz": Figure1.read,
    "0123456789ab.json": lambda file: read_results(file.parent),
    "images.npz": load,
    "images.npy": load,
}


def refused(read: Callable[[], Any], name: str) -> str:
    """Return the message, which must be one line that names the file."""
    with pytest.raises((ValueError, OSError)) as told:
        read()
    message = str(told.value)
    assert name in message
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("alarm")
@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs there")
@pytest.mark.parametrize("what", ["fifo", "folder", "device"])
@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_opened(tmp_path: Path, name: str, what: str) -> None:
    file = tmp_path / name
    if what == "fifo":
        os.mkfifo(file)  # to open it would wait for a writer
    elif what == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    if what == "folder" and name.startswith("images"):  # a folder of images may be called so
        assert "no image" in refused(lambda: load(file), name)
    else:
        assert "not a regular file" in refused(lambda: READERS[name](file), name)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("name", READERS)
def test_a_link_to_itself_is_as_good_as_missing(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.symlink_to(file)
    if name == "history.jsonl":
        assert read_history(tmp_path) == []
    else:
        refused(lambda: READERS[name](file), name)


BAD_JSON = {
    "empty": b"",
    "cut": b'{"version": 1, "seed": ',
    "nested": b"[" * 100_000,
    "levels": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "NaN": b'{"version": NaN}',
    "infinite": b'{"version": -Infinity}',
    "overflow": b'{"version": 1e999}',
    "digits": b'{"version": ' + b"1" * 5000 + b"}",
    "twice": b'{"version": 1, "version": 1}',
    "UTF-16": '{"version": 1}'.encode("utf-16"),
    "Latin-1": '{"version": "é"}'.encode("latin-1"),
    "NUL": b'{"version": "\0"}',
    "two values": b'{"version": 1}{"version": 1}',
    "comment": b'{"version": 1} // the first',
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_what_is_no_strict_json_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    refused(lambda: read_json(file), str(file))
    refused(lambda: read_config(tmp_path), str(file))


def test_what_json_allows_is_read(tmp_path: Path) -> None:
    value = {"é": [1, 2.5, None, True, "𝄞"], "deep": [[[{}]]], "big": 2**127}
    file = tmp_path / "a.json"
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
        for mark in ("", "\ufeff"):  # editors put one before the text
            file.write_text(mark + text, encoding="utf-8")
            assert read_json(file) == value
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, "here") is not None


def test_a_text_of_any_size_is_not_taken_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with file.open("wb") as sparse:
        sparse.truncate(MAX_TEXT * 1000)
    assert "larger than" in refused(lambda: read_json(file), str(file))


def record(epoch: int, **changes: Any) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 0.5, "seconds": 1, "images_per_second": 9.5,
            "latent_norm_mean": 1.0, "latent_norm_min": 0.5} | changes  # fmt: skip


def lines(*values: Any) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


@pytest.mark.parametrize("cut", [1, 5, 40, -2, 0])
def test_half_a_line_at_the_end_is_left_out(tmp_path: Path, cut: int) -> None:
    last = lines(record(3))
    (tmp_path / "history.jsonl").write_text(lines(record(1), record(2)) + last[:cut])
    assert [r.epoch for r in read_history(tmp_path)] == [1, 2]
    (tmp_path / "history.jsonl").write_text(lines(record(1), record(2)) + last.strip())
    assert [r.epoch for r in read_history(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (lines(record(1))[:-9] + "\n" + lines(record(2)), "line 1"),
        (lines(record(1)) + "\n" + lines(record(2)), "line 2"),
        (lines(record(1), record(3)), "record 2"),
        (lines(record(1, loss="0.5")), "loss"),
        (lines(record(1, loss=True)), "loss"),
        (lines(record(1.5)), "epoch"),
        (lines(record(1, more="1")), "more"),
        (lines(record(1), record(2, more=1)), "more"),
        (lines([1]), "expected an object"),
        (lines(record(1))[:-10] + "\n", "line 1"),
    ],
)
def test_damage_anywhere_else_in_a_history_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "history.jsonl").write_text(text)
    assert told in refused(lambda: read_history(tmp_path), "history.jsonl")


def test_lines_are_read_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": "\u2028"}\n[1]\n', encoding="utf-8")  # no end of line of JSON lines
    assert read_json_lines(file) == [{"a": "\u2028"}, [1]]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def headed(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


BAD_ARRAYS = {
    "huge": headed("(99999, 99999, 99999)", bytes(64)),
    "overflow": headed("(" + "9" * 40 + ",)", bytes(64)),
    "empty but huge": headed("(0, " + "9" * 40 + ")"),
    "empty but large": headed("(0, 2**40, 2**40)".replace("2**40", str(2**40))),
    "negative": headed("(-4, -4)", bytes(64)),
    "short": headed("(17,)", bytes(64)),
    "long": headed("(15,)", bytes(64)),
    "no tuple": headed("4", bytes(16)),
    "many axes": headed("(" + "1, " * 70 + ")", bytes(4)),
    "objects": npy(np.array([None, {}], object)),
    "structures": npy(np.zeros(3, "i4,f8")),
    "pieces": headed("(4,)", bytes(32), "('<f4', (2,))"),
    "no size": headed("(9999999999999,)", b"", "'<U0'"),
    "no type": headed("(4,)", bytes(16), "'<q9'"),
    "no character": headed("(2,)", b"\xff" * 8, "'<U1'"),
    "code": headed("(4,)", bytes(16), "__import__('os').getcwd()"),
    "nested": headed("(4,)", bytes(16), "(" * 300 + ")" * 300),
    "no header": b"\x93NUMPY\x01\x00\xff\xff{}",
    "magic": b"\x93NUMPY\x09\x00\x01\x00{",
    "nothing": b"",
}


@pytest.mark.parametrize("content", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_arrays_that_are_not_what_they_say(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    refused(lambda: read_npy(tmp_path / "a.npy"), "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("good.npy", npy(np.zeros(3)))
        archive.writestr("bad.npy", content)
    assert "bad" in refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz")


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "|b1", "<U3", "|S2", "<c8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_good_arrays_are_read_bit_by_bit(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], save: Callable[..., None]
) -> None:
    a = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    save(tmp_path / "a.npz", a=a, f=np.array(a, order="F"))
    np.save(tmp_path / "a.npy", np.array(a, order="F"))
    found = read_npz(tmp_path / "a.npz")
    assert sorted(found) == ["a", "f"]
    for b in (*found.values(), read_npy(tmp_path / "a.npy")):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)


def archive(tmp_path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return tmp_path / "a.npz"


def test_members_of_other_kinds_are_refused(tmp_path: Path) -> None:
    good = npy(np.zeros(1000))
    for members in ({"a.npy": good, "readme.txt": b"hello"}, {"a.npy": good, "a": good}):
        refused(lambda m=members: read_npz(archive(tmp_path, m)), "a.npz")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = archive(tmp_path, {"a.npy": good}, method)
        assert "compressed by method" in refused(lambda p=path: read_npz(p), "a.npz")
    path = archive(tmp_path, {"a.npy": good})
    raw = bytearray(path.read_bytes())
    for at in (raw.index(b"PK\x03\x04") + 6, raw.index(b"PK\x01\x02") + 8):
        raw[at] |= 1  # encrypted
    path.write_bytes(raw)
    assert "encrypted" in refused(lambda: read_npz(path), "a.npz")


def test_a_size_that_no_file_of_this_size_can_hold_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.npy": headed("(1000000000,)", bytes(100))}, zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    size = (4_000_000_000 + len(headed("(1000000000,)"))).to_bytes(4, "little")
    for at in (raw.index(b"PK\x03\x04") + 22, raw.index(b"PK\x01\x02") + 24):
        raw[at : at + 4] = size
    path.write_bytes(raw)
    assert "cannot be in" in refused(lambda: read_npz(path), "a.npz")


def test_every_checksum_is_compared(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.npy": npy(np.full(1000, 1.5)), "b.npy": npy(np.zeros(3))})
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.full(3, 1.5).tobytes()) + 4000] ^= 1
    path.write_bytes(raw)
    assert "a.npy" in refused(lambda: read_npz(path), "a.npz")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, "i4"), np.zeros((3, 1)), np.array("x"), np.array([0.0, np.nan, 1.0]), None,
     np.zeros(3, "f2"), np.zeros(3, "longdouble")],
)  # fmt: skip
def test_entries_have_a_kind_and_a_number_of_axes(array: Any) -> None:
    entries = {} if array is None else {"centers": array}
    assert "'centers'" in refused(lambda: array_entry(entries, "centers", 1, "f", "a.npz"), "a.npz")


def test_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    images = np.zeros((2, 4, 4), np.uint8)
    for labels in (np.array([b"\xff", b"a"]), np.array([0, 2**63], np.uint64)):
        np.savez(tmp_path / "a.npz", X=images, y=labels)
        with pytest.raises(DataError, match=r"a\.npz\['y'\]: labels"):
            load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", X=images, y=np.array([0, 2**63 - 1], np.uint64))
    labels = load(tmp_path / "a.npz").labels
    assert labels is not None
    assert labels.tolist() == [0, 2**63 - 1]
