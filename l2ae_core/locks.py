"""Locks on files: one thread of one process at a time, and a dead process holds none.

The kernel ties a lock of `flock` to the open file and drops it with the process, whatever ended it:
SIGKILL or a power cut leaves nothing that a user must remove. Linux extends this to the machines
that share a folder over NFS. The file says who holds the lock.
(The filelock package locks in the same way, but names no holder and leaves its file behind.)
"""

import os
import platform
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from weakref import WeakSet

if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30  # a byte that the text of the file does not reach: Windows locks bytes

    def _take(file: FileIO, wait: bool) -> bool:
        file.seek(FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _take(file: FileIO, wait: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError):
            return False
        return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder that exists, or of a file that need not, inside the block.

    The lock is the file `.lock` in the folder, or `.NAME.lock` beside the file; it is removed at
    the end. A thread that holds the lock may take it again; a forked child does not inherit it.
    BlockingIOError, naming `path` and the holder, where another thread or process has it. On a file
    system without locks there is a warning, and no lock.
    """
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    me = f"process {os.getpid()} on {platform.node()}, thread {threading.get_ident()}"
    file = _open_locked(lock, path)
    if file is None:
        holder = _read(lock)
        if holder != me:
            raise BlockingIOError(f"{path}: in use by {holder or 'another process'}")
        yield
        return
    try:
        with naming(path, lock):
            file.truncate(0)
            file.write(me.encode())
        yield
    finally:
        _release(file, lock)


@contextmanager
def naming(path: Path, beside: Path) -> Iterator[None]:
    """Let an OSError of the file `beside`, or of no named file, name `path` instead."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(beside), beside):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def hold(file: FileIO) -> bool:
    """Keep a new file from `remove_unless_held` until it is closed; False when it came first."""
    if sys.platform == "win32":  # where no open file can be removed
        return True
    try:
        _take(file, wait=True)
    except OSError:  # a file system without locks, on which nothing is removed either
        return True
    return os.fstat(file.fileno()).st_nlink > 0


def remove_unless_held(path: Path) -> None:
    """Remove a file that a dead process left; one that a live process may hold stays."""
    try:
        if sys.platform == "win32":
            path.unlink()  # refused while it is open
            return
        with FileIO(path, "r+") as file:
            if _take(file, wait=False):
                path.unlink()
    except OSError:  # gone, held, not ours, or on a file system without locks
        return


def _open_locked(lock: Path, path: Path) -> FileIO | None:
    """Return the lock file, locked; None where another has it."""
    while True:
        try:
            with naming(path, lock):
                file = FileIO(lock, "a+")
        except PermissionError:
            if not lock.exists() or not os.access(lock.parent, os.W_OK):
                raise
            if not _remove_of_another_user(lock):
                return None
            continue
        try:
            if not _take(file, wait=False):
                file.close()
                return None
        except OSError as error:
            warnings.warn(
                f"{path}: its file system has no locks ({error.strerror}): let one process at a "
                "time use it",
                stacklevel=4,
            )
        if os.fstat(file.fileno()).st_nlink:  # else its holder removed it since it was opened
            _held.add(file)
            return file
        file.close()


def _remove_of_another_user(lock: Path) -> bool:
    """Remove a file that may only be read, left by a dead process; False when a live one has it."""
    try:
        with FileIO(lock) as file:
            if not _take(file, wait=False):
                return False
            lock.unlink()
    except FileNotFoundError:
        pass  # its holder removed it
    except OSError as error:
        raise PermissionError(f"{lock}: of another user, who has to remove it") from error
    return True


def _release(file: FileIO, lock: Path) -> None:
    """Remove and unlock the file; in a forked child it is closed already, and not the child's."""
    if file.closed:
        return
    try:
        lock.unlink()  # while it is locked: nobody else can have taken it
    except OSError:  # Windows removes no open file; one that is left names nobody
        file.truncate(0)
    finally:
        file.close()


def _read(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8")
    except OSError:
        return ""


_held: WeakSet[FileIO] = WeakSet()  # a forked child closes its copies, which would hold the locks


def _close_all() -> None:
    for file in _held:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)
