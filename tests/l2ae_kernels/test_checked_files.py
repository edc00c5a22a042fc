"""Files of caches: whole or not there, and no trace of processes that were killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2ae_kernels import checked_files

CONTENT = b"machine code" * 100


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a" / "b"
    assert checked_files.read(path) is None
    checked_files.write(path, CONTENT)
    assert checked_files.read(path) == CONTENT
    checked_files.write(path, b"")
    assert checked_files.read(path) == b""
    assert [file.name for file in path.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("damage", [
    lambda whole: b"",
    lambda whole: whole[: len(whole) // 2],
    lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    lambda whole: b"\0" * len(whole),
    lambda whole: whole + b"\0",
    lambda whole: whole[:16],
])  # fmt: skip
def test_what_is_damaged_is_not_read(tmp_path, damage):
    path = tmp_path / "a"
    checked_files.write(path, CONTENT)
    path.write_bytes(damage(path.read_bytes()))
    assert checked_files.read(path) is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "a").mkdir(parents=True)
    for path in (tmp_path / "file" / "a", Path(os.devnull) / "a", tmp_path / "folder" / "a"):
        checked_files.write(path, CONTENT)
        assert checked_files.read(path) is None
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["a"]


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checked_files.write(tmp_path / "a", CONTENT)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, sys, pathlib
from l2ae_kernels import checked_files
pathlib.Path.replace = lambda *_: os._exit(9)
checked_files.write(pathlib.Path(sys.argv[1]), b"half")
"""


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a"], check=False)
    (left,) = tmp_path.iterdir()
    checked_files.write(tmp_path / "b", CONTENT)  # it may be at work still
    assert left.exists()
    hours_ago = time.time() - 5 * 3600
    os.utime(left, (hours_ago, hours_ago))
    (tmp_path / "l2ae.csv.tmp").touch()  # of somebody else
    os.utime(tmp_path / "l2ae.csv.tmp", (hours_ago, hours_ago))
    checked_files.write(tmp_path / "b", CONTENT)
    assert {file.name for file in tmp_path.iterdir()} == {"b", "l2ae.csv.tmp"}


def test_a_user_without_a_home_has_no_folder(tmp_path, monkeypatch):
    """`~` stays as it is then; no folder of that name is made where the process runs."""
    monkeypatch.delenv("L2AE_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~/.cache", name))
    monkeypatch.chdir(tmp_path)
    path = checked_files.cache_folder() / "a"
    checked_files.write(path, CONTENT)
    assert checked_files.read(path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root may be another")
def test_what_another_user_left_in_a_shared_folder_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the folders above are root's
    tmp_path.chmod(0o1777)
    (tmp_path / "l2ae-0.tmp").touch()
    os.utime(tmp_path / "l2ae-0.tmp", (0, 0))
    os.seteuid(65534)
    try:
        checked_files.write(Path("a"), CONTENT)
        assert checked_files.read(Path("a")) == CONTENT
    finally:
        os.seteuid(0)
