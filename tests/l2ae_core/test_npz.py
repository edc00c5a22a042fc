"""Files with a kind: what comes back, what files of before lack, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from l2ae_core.array_readers import read_npz
from l2ae_core.npz import Kind

KIND = Kind("l2ae-things", "a file of things", version=2, detail="red")
PLAIN = Kind("l2ae-plain", "a plain file")
ARRAYS = {"x": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "group": {"a.b": np.arange(3)}}


@pytest.mark.parametrize("compress", [False, True])
def test_what_was_written_comes_back(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.npz"
    KIND.write(path, ARRAYS, {"text": {"list": np.arange(2)}}, compress=compress)
    found = KIND.read(path)
    assert set(found) == {"format", "entries", "x", "group/a.b", "text"}
    np.testing.assert_array_equal(found["x"], ARRAYS["x"])
    assert str(found["text"]) == '{"list": [0, 1]}'
    assert not any(a.dtype.hasobject for a in found.values())


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (replace(KIND, version=1), "written in format 2, newer than 1"),
        (replace(KIND, detail="blue"), "holds 'red' but expected 'blue'"),
        (replace(KIND, detail=""), "but not a file of things"),
        (PLAIN, "but not a plain file of this library"),
    ],
)
def test_another_kind_is_refused_by_name(tmp_path: Path, reader: Kind, message: str) -> None:
    KIND.write(tmp_path / "a.npz", ARRAYS, {})
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}"):
        reader.read(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["format", "entries"])
def test_files_of_before_may_lack_what_is_optional(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    PLAIN.write(path, ARRAYS, {})
    entries = read_npz(path)
    del entries[name]
    np.savez(path, **entries)
    with pytest.raises(ValueError, match="not a plain file|lacks 'entries'"):
        PLAIN.read(path)
    older = Kind(PLAIN.name, PLAIN.what, optional=("format", "entries"))
    if name == "format":
        with pytest.raises(ValueError, match="lacks 'format'"):
            older.read(path)
    else:
        assert older.read(path).keys() == entries.keys()


def test_a_hidden_entry_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    PLAIN.write(path, ARRAYS, {})
    entries = read_npz(path)
    del entries["group/a.b"]
    np.savez(path, **entries)
    for optional in ((), ("entries",)):
        with pytest.raises(ValueError, match=r"a\.npz: lacks 'group/a\.b'"):
            Kind(PLAIN.name, PLAIN.what, optional=optional).read(path)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("entries", '["' + "x" * 5000 + '"]'),
        ("format", ["l2ae-things", "2", "y" * 5000]),
        ("format", ["l2ae-things", "9" * 5000, "red"]),
    ],
)
def test_what_a_damaged_file_says_is_quoted_in_short(
    tmp_path: Path, entry: str, value: str | list[str]
) -> None:
    path = tmp_path / "a.npz"
    KIND.write(path, ARRAYS, {})
    np.savez(path, **read_npz(path) | {entry: np.array(value)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.npz: ") as caught:
        KIND.read(path)
    assert len(str(caught.value)) < 600
