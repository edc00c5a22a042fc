"""An interrupt while a file or a folder is made."""

import contextlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from l2ae_core import files, locks
from l2ae_core.files import atomic_file, new_folder

from ..interrupts import interrupted_at


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"new")


def make(path: Path) -> None:
    with new_folder(path) as folder:
        (folder / "whole").touch()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # between `open` and `with`
@pytest.mark.parametrize("make_it", [write, make])
def test_an_interrupt_at_any_instruction_leaves_the_old_or_the_new(
    make_it: Callable[[Path], None], tmp_path: Path
) -> None:
    """And nothing else, but the lock of the folder, which the next one that makes it takes over."""
    for n in count(1):
        path, interrupted = tmp_path / str(n) / "a", False
        path.parent.mkdir()
        if make_it is write:
            path.write_bytes(b"old")
        try:
            with interrupted_at(n, contextlib, files, locks):
                make_it(path)
        except KeyboardInterrupt:
            interrupted = True
        assert set(names(path.parent)) <= {"a", ".a.lock"}, n
        if make_it is write:
            assert path.read_bytes() in (b"old", b"new")
        elif path.exists():
            assert names(path) in ([], ["whole"])
        if not interrupted:
            break
    assert n > 200  # instructions were counted
    assert names(path.parent) == ["a"]
    assert path.is_dir() or path.read_bytes() == b"new"
