"""One process and one thread at a time, and no lock outlives its process."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from l2ae_core.locks import locked

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, fork and flock of POSIX")
fcntl = pytest.importorskip("fcntl")
HEAD = (
    "import os, signal, sys, time\nfrom pathlib import Path\nfrom l2ae_core.locks import locked\n"
)
HOLD = """
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
FORK = """
with locked(Path(sys.argv[1])):
    begun, begin = os.pipe()
    if os.fork() == 0:
        os.write(begin, b"1")
        sys.stdin.read()
        os._exit(0)
    os.read(begun, 1)  # the child has closed its copies of files
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
LEAVE = """
with locked(Path(sys.argv[1])):
    if os.fork() != 0:
        os.wait()
        print("held", flush=True)
        sys.stdin.read()
"""
COUNT = """
folder, rounds = Path(sys.argv[1]), 40
while rounds:
    try:
        with locked(folder):
            count = folder / "count"
            count.write_text(str(int(count.read_text()) + 1))
        rounds -= 1
    except BlockingIOError:
        pass
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a script on a folder; it has ended, or is killed, at the end of the test."""
    with ExitStack() as stack:

        def run(script: str, folder: Path, first: str = "") -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, "-c", HEAD + script, str(folder)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert not first or process.stdout.readline().strip() == first
            return process

        yield run


def test_another_process_is_named_and_a_dead_one_holds_nothing(
    start: Start, tmp_path: Path
) -> None:
    holder = start(HOLD, tmp_path, "held")
    with pytest.raises(BlockingIOError, match=f"{tmp_path}: in use by process {holder.pid} on "):
        locked(tmp_path).__enter__()
    holder.kill()
    holder.wait(timeout=20)
    assert (tmp_path / ".lock").exists()  # what a killed process leaves does no harm
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_thread_may_take_its_lock_again_and_another_may_not(tmp_path: Path) -> None:
    def take() -> None:
        with locked(tmp_path):
            pass

    with ThreadPoolExecutor(1) as other:
        with locked(tmp_path):
            take()
            with pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()} on"):
                other.submit(take).result(timeout=20)
            take()
        other.submit(take).result(timeout=20)


def test_a_forked_child_does_not_keep_the_lock_of_a_dead_parent(
    start: Start, tmp_path: Path
) -> None:
    start(FORK, tmp_path, "held").wait(timeout=20)
    with locked(tmp_path):
        pass


def test_a_forked_child_does_not_end_the_lock_of_its_parent(start: Start, tmp_path: Path) -> None:
    start(LEAVE, tmp_path, "held")
    with pytest.raises(BlockingIOError):
        locked(tmp_path).__enter__()


def test_processes_that_take_turns_never_meet(start: Start, tmp_path: Path) -> None:
    """The file of the lock is removed and made again all the time."""
    (tmp_path / "count").write_text("0")
    processes = [start(COUNT, tmp_path) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "120"


def test_the_lock_of_a_file_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with locked(path):
        assert [p.name for p in tmp_path.iterdir()] == [".result.json.lock"]
        with locked(tmp_path):
            pass


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/run'$"):
        locked(tmp_path / "nowhere" / "run").__enter__()


def test_a_file_system_without_locks_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(file: object, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with pytest.warns(UserWarning, match=f"{tmp_path}: its file system has no locks"):
        locked(tmp_path).__enter__()


def test_a_lock_that_is_over_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file may stay, and another process may have locked it and not written its name yet."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with locked(tmp_path):
            pass
    with (tmp_path / ".lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="in use by another process"):
            locked(tmp_path).__enter__()


@pytest.fixture
def another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for all, in which root left its lock; the test runs as somebody else."""
    if os.geteuid() != 0:
        pytest.skip("root alone may be another")
    monkeypatch.chdir(tmp_path)  # the folders above are root's
    tmp_path.chmod(0o755)
    folder = Path("run")
    folder.mkdir()
    folder.chmod(0o777)
    (folder / ".lock").write_text("process 1 on gone, thread 5")
    (folder / ".lock").chmod(0o644)
    os.seteuid(65534)
    yield folder
    os.seteuid(0)


def test_what_a_dead_process_of_another_user_left_does_no_harm(another_user: Path) -> None:
    with locked(another_user):
        assert (another_user / ".lock").read_text().startswith(f"process {os.getpid()} on")
    assert not list(another_user.iterdir())


def test_a_live_process_of_another_user_holds_its_lock(another_user: Path) -> None:
    with (another_user / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="run: in use by process 1 on gone"):
            locked(another_user).__enter__()


def test_a_lock_that_only_another_user_can_remove_is_named(another_user: Path) -> None:
    os.seteuid(0)
    another_user.chmod(0o1777)  # as /tmp
    os.seteuid(65534)
    with pytest.raises(PermissionError, match=r"run/\.lock: of another user"):
        locked(another_user).__enter__()
