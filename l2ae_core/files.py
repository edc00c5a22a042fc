"""Files that are the old one or the new one, never half of it."""

import json
import os
import shutil
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ELOOP, ENOSPC, ENOTSUP
from glob import escape
from io import BufferedWriter, BytesIO, FileIO
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE
from typing import Any, BinaryIO

from l2ae_core.locks import hold, locked, naming, remove_unless_held

CONFIG = "config.json"
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint.npz"
METRICS = "metrics.json"
CLUSTERS = "clusters.npz"
GALLERY = "gallery.npz"
SEEDS = "seeds.json"  # of a folder of runs that differ in their seed
TOKEN = 8  # hexadecimal digits in the name of a temporary file
TOKENS = "[0-9a-f]" * TOKEN
SELF_LABELLING = "self-labelling"  # the folder of that training, in a run directory
RUN_FILES = (CONFIG, HISTORY, CHECKPOINT, CLUSTERS, GALLERY, METRICS)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; it takes the name `path` at the end.

    Whatever is raised inside, Ctrl-C included, leaves the old file as it was and removes the
    temporary one. The data are on the disk before the name is: a power cut leaves one of the two.
    What a killed process leaves is removed by the next one that writes `path`.

    Missing folders are made. Behind a symbolic link it is the target that is replaced; its mode is
    kept. A pipe or a device gets all at the end. Raises OSError that names `path`.
    """
    target = writable_target(path)
    if is_stream(target):  # in which whoever writes here could not go back
        content = BytesIO()
        yield content
        with open_stream(path) as stream:
            stream.write(content.getvalue())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(target.parent, target.name)
    with _temporary_file(path, target) as (temporary, file):
        yield file
        file.flush()
        os.fsync(file.fileno())
        if os.name == "nt":
            file.close()  # Windows renames no open file
        os.replace(temporary, target)  # noqa: PTH105 - the module function is what tests replace
    with naming(path, target.parent):
        sync_folder(target.parent)


def is_stream(path: Path) -> bool:
    """Whether what is written to `path` goes on at once: a pipe or a device, as behind >(gzip)."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a pipe or a device for writing, of which nothing can be taken back.

    A pipe waits for its reader. BrokenPipeError when that goes away, and OSError, name `path`.
    """
    with naming(path, path), path.open("wb") as stream:
        yield stream


@contextmanager
def _temporary_file(path: Path, target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside `target`, held while it is open, and removed unless it was renamed."""
    while True:
        temporary = target.with_name(f".{target.name}.{token_hex(TOKEN // 2)}.tmp")
        with naming(path, temporary):
            is_ours = not temporary.exists()  # known before it is made: an interrupt may follow
            try:
                raw = FileIO(temporary, "x")
                if hold(raw):
                    with BufferedWriter(raw) as file:
                        # before the first byte: a private file has no public copy
                        if target.exists():
                            temporary.chmod(S_IMODE(target.stat().st_mode))
                        yield temporary, file
                    return
                raw.close()
            finally:
                if is_ours:
                    temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that takes the name `path` at the end: all of it is there, or nothing.

    Nothing is at `path`, or an empty folder. Whatever is raised inside, Ctrl-C included, removes
    what was made; what a killed process leaves is removed by the next one that makes `path`.
    BlockingIOError while another process makes it; OSError names `path`.
    """
    target = Path(os.path.realpath(path))
    with naming(path, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
    with locked(target):
        for left in target.parent.glob(f".{escape(target.name)}.{TOKENS}.tmp"):
            if left.is_dir():
                shutil.rmtree(left)
        temporary = target.with_name(f".{target.name}.{token_hex(TOKEN // 2)}.tmp")
        try:
            with naming(path, temporary):
                temporary.mkdir()
                yield temporary
                os.replace(temporary, target)  # noqa: PTH105 - tests replace it
        except OSError as error:
            if error.errno is None or not str(error.filename or "").startswith(str(temporary)):
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        with naming(path, target.parent):
            sync_folder(target.parent)


def require_no_content(path: Path, argument: str) -> None:
    """Raise ValueError, naming `argument`, unless `path` is not there or an empty folder."""
    if path.is_dir():
        if any(path.iterdir()):
            raise ValueError(f"{argument}: {path} is a folder that is not empty; choose another")
    elif path.exists():
        raise ValueError(f"{argument}: {path} is a file, but expected a new or empty folder")


def writable_target(path: Path) -> Path:
    """Return `path`, or the file that it is a link to; OSError when no file can be written there.

    Nothing is made or changed: call it before the work whose result shall be written.
    """
    stream = is_stream(path)  # /dev/stdout is a link, but not to a name that a pipe has
    target = Path(os.path.realpath(path)) if path.is_symlink() and not stream else path
    if target.is_symlink() and not stream:
        raise OSError(ELOOP, os.strerror(ELOOP), str(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: a folder, but expected the name of a file")
    if target.exists():
        if not os.access(target, os.W_OK):
            raise PermissionError(f"{path}: a file that may not be written to")
        if stream:
            return target
    folder = target.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{path}: {folder} is a file, but expected a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: nothing may be written in the folder {folder}")
    return target


def check_out(path: Path, *suffixes: str, argument: str = "out") -> None:
    """Raise ValueError or OSError unless `path` can be the name of a result that is to be written.

    It ends in one of `suffixes`, if any are given, is no file of a run directory, and can be
    written. The error names `argument`. Call it before the work.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"{argument}: {path} ends in {path.suffix!r} but expected {' or '.join(suffixes)}"
        )
    target = writable_target(path)
    if target.name in RUN_FILES and (target.parent / CONFIG).exists():
        raise ValueError(
            f"{argument}: {path} is a file of the run {target.parent}: choose another name"
        )


def sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not read
        os.sync()
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (EINVAL, ENOTSUP):  # what file systems say that sync no folders
            raise
    finally:
        os.close(descriptor)


def remove_temporary_files(folder: Path, *names: str) -> None:
    """Remove what killed processes left of the files `names`, by default those of a run."""
    for name in names or RUN_FILES:
        for leftover in folder.glob(f".{escape(name)}.{TOKENS}.tmp"):
            remove_unless_held(leftover)


def given_path(text: str) -> Path:
    """Return a path given on the command line; ArgumentTypeError for "", which Path makes "."."""
    if not text:
        raise ArgumentTypeError("the path is empty")
    return Path(text)


def given_folder(text: str) -> Path:
    """Return the path of a folder that is there or can be made; ArgumentTypeError for a file."""
    path = given_path(text)
    if path.is_file():
        raise ArgumentTypeError(f"{path} is a file, but expected a folder")
    return path


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities raise ValueError.

    A byte of a path that is no UTF-8, a lone surrogate in Python, is written as JSON's "\\udce9".
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as file:
        file.write(f"{text}\n".encode("utf-8", "backslashreplace"))


def write_json_lines(path: Path, values: list[dict[str, Any]]) -> None:
    """Write one JSON value a line, atomically."""
    with atomic_file(path) as file:
        file.writelines(f"{json.dumps(value)}\n".encode() for value in values)


def append_json_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line to a file of JSON lines: all of it at once, or OSError and nothing."""
    line = f"{json.dumps(value)}\n".encode()
    with naming(path, path), FileIO(path, "a") as file:
        before = os.fstat(file.fileno()).st_size
        if file.write(line) < len(line):  # the disk is full
            file.truncate(before)
            raise OSError(ENOSPC, os.strerror(ENOSPC))
