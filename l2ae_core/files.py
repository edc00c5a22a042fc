"""Files that are the old one or the new one, never half of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CONFIG = "config.json"
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint.npz"
METRICS = "metrics.json"
REFINEMENT = "refinement.npz"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; it takes the name `path` at the end.

    Whatever is raised inside, Ctrl-C included, leaves the old file as it was and removes the
    temporary one. The data are on the disk before the name is: a power cut leaves one of the two.
    Only a killed process can leave a temporary file; `remove_temporary_files` is for these.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the module function is what tests replace
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk; Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporary_files(folder: Path) -> None:
    """Remove what a killed process left of the files of a run directory."""
    for name in (CONFIG, HISTORY, CHECKPOINT, METRICS, REFINEMENT):
        for leftover in folder.glob(f".{name}.*.tmp"):
            leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities raise ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as file:
        file.write(f"{text}\n".encode())


def write_json_lines(path: Path, values: list[dict[str, Any]]) -> None:
    """Write one JSON value a line, atomically."""
    with atomic_file(path) as file:
        file.writelines(f"{json.dumps(value)}\n".encode() for value in values)


def append_json_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line to a file of JSON lines; it has left this process when the call returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(value)}\n")
