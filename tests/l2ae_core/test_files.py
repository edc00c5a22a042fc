"""Where results are written: links, modes, pipes, full disks, leftovers, files of a run."""

import errno
import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2ae_core import files
from l2ae_core.cli import main
from l2ae_core.estimators import AutoEncoderClusterer, storage
from l2ae_core.files import append_json_line, atomic_file, check_out, remove_temporary_files
from l2ae_core.tables import write_table

COLUMNS = {"index": np.arange(2)}
TEXT = "index\n0\n1\n"
posix = pytest.mark.skipif(os.name != "posix", reason="links, modes and pipes of POSIX")
no_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may all")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@posix
def test_the_target_of_a_link_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "a.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to("kept/a.csv")
    write_table(COLUMNS, link)
    assert link.is_symlink()
    assert target.read_text() == TEXT
    target.unlink()  # a link to a file that is not there yet
    write_table(COLUMNS, link)
    assert target.read_text() == TEXT
    assert names(tmp_path) == ["kept", "link.csv"]
    assert names(target.parent) == ["a.csv"]
    loop = tmp_path / "loop.csv"
    loop.symlink_to("loop.csv")
    with pytest.raises(OSError, match=r"loop\.csv"):
        write_table(COLUMNS, loop)
    assert loop.is_symlink()


@posix
@pytest.mark.usefixtures("umask")
def test_a_file_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_table(COLUMNS, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    with atomic_file(path) as file:
        file.write(b"new")
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        assert set(modes.values()) == {0o604}  # of what is being written, too
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@posix
def test_pipes_and_devices_are_written_to(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe.csv", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_table(COLUMNS, pipe)
    reader.join(20)
    assert read == [TEXT]
    assert names(tmp_path) == ["pipe.csv"]
    with atomic_file(Path("/dev/null")) as file:
        np.savez(file, allow_pickle=False, x=np.zeros(3))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_table(COLUMNS, tmp_path / "new" / "folder" / "a.CSV")
    assert (tmp_path / "new" / "folder" / "a.CSV").read_text() == TEXT


@pytest.mark.parametrize("name", ["a[1].csv", "ä b.csv", "*.csv"])
def test_leftovers_of_dead_writers_are_removed_and_those_of_live_ones_are_not(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    (tmp_path / f".{name}.0123abcd.tmp").write_bytes(b"half")
    others = [f".{name}.backup.tmp", ".b.csv.0123abcd.tmp", f".{name}.0123ABCD.tmp"]
    for other in others:
        (tmp_path / other).touch()
    with atomic_file(path) as outer:
        outer.write(b"first")
        write_table(COLUMNS, path)
        assert path.read_text() == TEXT
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == sorted([name, *others])


@pytest.mark.skipif(os.name != "posix", reason="Windows refuses to remove an open file")
def test_a_file_that_was_taken_for_left_behind_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process cleans up in the moment between the making of a file and its lock."""
    hold, calls = files.hold, []

    def late(file: io.FileIO) -> bool:
        if not calls:
            remove_temporary_files(tmp_path, "a.csv")
        calls.append(file)
        return hold(file)

    monkeypatch.setattr(files, "hold", late)
    write_table(COLUMNS, tmp_path / "a.csv")
    assert len(calls) == 2
    assert names(tmp_path) == ["a.csv"]


class Full(io.FileIO):
    """A file on a disk with room for 100 bytes more."""

    def write(self, data: object) -> int:
        free = 100 - self.tell()
        if free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(memoryview(data).cast("B")[:free])


def test_a_full_disk_leaves_the_old_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "FileIO", Full)
    for write in (
        lambda: write_table({"index": np.arange(1000)}, path),
        lambda: save(path),
    ):
        with pytest.raises(OSError, match=r"a\.npy'$") as caught:
            write()
        assert caught.value.errno == errno.ENOSPC
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["a.npy"]


def save(path: Path) -> None:
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, x=np.arange(1000), y=np.arange(1000))


def test_a_line_is_appended_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    append_json_line(path, {"epoch": 1})
    before = path.read_bytes()
    monkeypatch.setattr(files, "FileIO", Full)
    with pytest.raises(OSError, match=r"history\.jsonl'$") as caught:
        append_json_line(path, {"epoch": "x" * 200})
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before == b'{"epoch": 1}\n'


def test_no_object_is_ever_pickled(tmp_path: Path) -> None:
    for write in (np.savez, np.savez_compressed):
        with pytest.raises(ValueError, match="allow_pickle"), atomic_file(tmp_path / "x") as file:
            write(file, allow_pickle=False, x=np.array([{}]))
    assert not names(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What looks like a run directory."""
    path = tmp_path / "run"
    path.mkdir()
    for name in files.RUN_FILES:
        (path / name).touch()
    return path


@pytest.mark.parametrize("name", files.RUN_FILES)
def test_the_files_of_a_run_are_no_outputs(name: str, run: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    if os.name == "posix":
        link.symlink_to(run / name)
    for path in (run / name, run / ".." / "run" / name, *([link] if link.is_symlink() else [])):
        with pytest.raises(ValueError, match=f"{path.name} is a file of the run"):
            check_out(path)
    check_out(run / "labels.csv")
    check_out(tmp_path / name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--out", "{run}"],
        ["report", "{run}", "--out", "{run}/config.json"],
        ["cluster", "{run}", "--data", "nowhere", "--out", "{run}/checkpoint.npz"],
        ["score", "{run}", "--data", "nowhere", "--out", "{run}/x.parquet"],
        ["score", "{run}", "--data", "nowhere", "--out", "{run}"],
        ["score", "{run}", "--data", "nowhere", "--out", "{run}/config.json/x.csv"],
    ],
)
def test_commands_refuse_before_they_work(
    arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.format(run=run) for argument in arguments]
    try:
        status = main(filled)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status in (1, 2)
    error = capsys.readouterr().err
    assert str(filled[-1]) in error
    assert "nowhere" not in error
    assert names(run) == sorted(files.RUN_FILES)


def test_an_estimator_is_not_saved_over_a_file_of_a_run(run: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint.npz is a file of the run"):
        storage.save(run / "checkpoint.npz", AutoEncoderClusterer())


@posix
@no_root
def test_what_may_not_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError, match=r"a\.csv"):
        check_out(path)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"b\.csv: nothing may be written in the folder"):
            check_out(tmp_path / "new" / "b.csv")
    finally:
        tmp_path.chmod(0o700)


@posix
@pytest.mark.parametrize("function", ["open", "fsync"])
def test_a_folder_that_cannot_be_synced_gets_its_file(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be written and not read, or its file system syncs no folders."""
    original = getattr(os, function)

    def refuse(which: Any, *arguments: Any) -> Any:
        folder = which == tmp_path if function == "open" else stat.S_ISDIR(os.fstat(which).st_mode)
        if folder:
            code = errno.EACCES if function == "open" else errno.EINVAL
            raise OSError(code, os.strerror(code))
        return original(which, *arguments)

    monkeypatch.setattr(os, function, refuse)
    monkeypatch.setattr(os, "sync", lambda: None)
    files.write_json(tmp_path / "a.json", [1])
    assert (tmp_path / "a.json").read_text() == "[\n  1\n]\n"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE as Linux has it")
def test_a_limit_of_the_system_leaves_the_old_file(tmp_path: Path) -> None:
    """No replacement of ours: the system refuses to let the file grow."""
    import resource

    path = tmp_path / "a.npz"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.npz'$"):
            save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.npz"]
