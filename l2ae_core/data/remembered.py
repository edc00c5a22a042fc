"""What was computed from a whole file, remembered for as long as the file is the same.

An entry counts where all of this agrees: the path, size, times and inode of the file, what was
computed, from which of its values, and by which version of this library's formats. The time of the
last change of the inode is among them, which no program can set. What was changed within two
seconds before the reading began is not remembered: a later change could have the same time.

Entries are small JSON files in the folder `digests` of the cache, L2AE_CACHE_DIR or the user's.
Where that cannot be read or written, or is damaged, everything is computed again:
L2AE_CACHE_DIR=/dev/null remembers nothing. A wrong entry could make a training refuse its own
images on a resume, or take others for them, and no more.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from l2ae_core.data.file_array import FileArray
from l2ae_core.readers import entry, parse_json, read_bytes
from l2ae_kernels import checked_files

VERSION = 1
LARGE = 1 << 24  # bytes of a file; a smaller one is read again at once
SETTLED = 2.0  # seconds; FAT has times of two seconds
MOST = 256  # entries
LIMIT = 1 << 16  # bytes of an entry

_log = logging.getLogger(__name__)


def remembered(
    array: object, what: str, of: Mapping[str, Any], form: str, compute: Callable[[], str]
) -> str:
    """Return what `compute` returns, from an entry where the array is in a file with one.

    `of` are JSON values that say from which values of the file it is computed, and `form` is a
    regular expression of the whole text. DataError where the file has changed since it was opened.
    """
    if not isinstance(array, FileArray) or array.file_size < LARGE:
        return compute()
    began, key = time.time(), _key(array, what, of)
    path = _path(array, what, of)
    if path is None:
        return compute()
    found = _read(path, key, form)
    if found is not None:
        return found
    value = compute()
    settled = began - max(key["mtime_ns"], key["ctime_ns"]) / 1e9 >= SETTLED
    if settled and _key(array, what, of) == key:
        _write(path, key, value)
    return value


def _key(array: FileArray, what: str, of: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal for an entry to count."""
    status = array.status()
    return {
        "version": VERSION, "path": _text(array.path), "size": status.st_size,
        "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns, "inode": status.st_ino,
        "dtype": array.dtype.str, "offset": array.offset, "what": what, "of": dict(of),
    }  # fmt: skip


def _text(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def _path(array: FileArray, what: str, of: Mapping[str, Any]) -> Path | None:
    """Return where the entry is; None where no folder can be named."""
    name = hashlib.sha256(json.dumps([_text(array.path), what, dict(of)]).encode()).hexdigest()
    try:
        return checked_files.cache_folder() / "digests" / f"{name[:32]}.json"
    except ImportError as error:
        _log.debug("nothing is remembered: %s", error)
        return None


def _check(key: Mapping[str, Any], value: str) -> str:
    return hashlib.sha256(json.dumps([dict(key), value], sort_keys=True).encode()).hexdigest()


def _read(path: Path, key: Mapping[str, Any], form: str) -> str | None:
    """Return the value of an entry; None where there is none for this key, or a damaged one."""
    try:
        content = parse_json(read_bytes(path, LIMIT).decode(), str(path))
        value: str = entry(content, "value", str, where=str(path))
        if content.get("sha256") != _check(content["key"], value) or not re.fullmatch(form, value):
            raise ValueError(f"{path}: damaged")
        return value if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.debug("not remembered: %s", error)
        return None


def _write(path: Path, key: Mapping[str, Any], value: str) -> None:
    """Keep an entry, and no more than `MOST`: the oldest goes first."""
    content = {"key": dict(key), "value": value, "sha256": _check(key, value)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        checked_files.put(path, json.dumps(content, indent=1).encode())
        entries = sorted(path.parent.glob("*.json"), key=lambda p: p.stat().st_mtime_ns)
        for old in entries[:-MOST]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.debug("cannot be remembered: %s", error)
