"""Compiled kernels on disk: `emulator` in the user's cache directory, or in L2AE_CACHE_DIR.

An entry is a folder named by a hash of what it is made from: the text, every file of the -I folders
that it includes, the options, the runtime and the compiler; so it never goes stale. Files are
written under another name and renamed, so that two processes may start at once; a checksum behind
a compiled file rejects a damaged one. Where the folder cannot be written, a temporary one serves
this process.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from l2ae_kernels import checked_files
from l2ae_kernels.emulator import toolchain

_CHECKSUM = checked_files.SIZE
_INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"\n]+)[>"]', re.MULTILINE)


def key(code: str, options: Sequence[str], *how: object) -> str:
    """Return the name of the entry for `code`, built with these options and in this way."""
    path = toolchain.current()
    folders = [Path(o[2:]) for o in toolchain.language(options)[0] if o.startswith("-I")]
    origin = (code, tuple(options), how, path, toolchain.version(path), _runtime())
    content = hashlib.sha256(repr(origin).encode())
    for file in _included(code, folders):
        content.update(repr((str(file), file.read_bytes())).encode())
    return content.hexdigest()[:32]


def find(name: str, file: str) -> Path | None:
    """Return the compiled `file` of the entry `name`, if it is there and whole."""
    for entry in (folder() / name, *_temporary_entry(name)):
        try:
            content = (entry / file).read_bytes()
        except OSError:
            continue  # not there, or not ours to read
        code, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
        if hashlib.sha256(code).digest() == checksum:
            return entry / file
    return None


def writable(name: str) -> Path:
    """Return the folder of the entry `name`, made if need be; a temporary one as a last resort."""
    entry = folder() / name
    try:
        entry.mkdir(parents=True, exist_ok=True)
        tempfile.NamedTemporaryFile(dir=entry).close()
    except OSError:  # a read-only folder: the next start compiles again
        entry = _in_temporary(name)
    return entry


def write(path: Path, content: bytes) -> Path:
    """Put a file in its place in one step, in the temporary folder where the disk is full."""
    try:
        checked_files.put(path, content)
    except OSError:
        path = _in_temporary(path.parent.name) / path.name
        checked_files.put(path, content)
    return path


def make(path: Path, build: Callable[[Path], None]) -> Path:
    """Let `build(output)` make a compiled file; put it in its place with its checksum."""
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / path.name
        build(output)
        content = output.read_bytes()
    return write(path, content + hashlib.sha256(content).digest())


def folder() -> Path:
    """Return the folder of the cache; it need not exist."""
    return checked_files.cache_folder() / "emulator"


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="l2ae-emulator-")  # gone when the process ends


def _in_temporary(name: str) -> Path:
    entry = Path(_temporary().name) / name
    entry.mkdir(exist_ok=True)
    return entry


def _temporary_entry(name: str) -> list[Path]:
    made = _temporary.cache_info().currsize > 0
    return [Path(_temporary().name) / name] if made else []


@cache
def _runtime() -> str:
    """A hash of the C++ files of the runtime and of what translates and compiles."""
    here = Path(__file__).parent
    content = hashlib.sha256()
    files = [*toolchain.RUNTIME.iterdir(), here / "translate.py", here / "toolchain.py"]
    files += (here / "ptx").glob("*.py")
    for path in sorted(files):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()


def _included(code: str, folders: Sequence[Path]) -> list[Path]:
    """Return the files of `folders` that `code` includes, directly or through others."""
    found: dict[Path, None] = {}
    texts = [code]
    while texts:
        for name in _INCLUDE.findall(texts.pop()):
            for path in (folder / name for folder in folders):
                if path.is_file() and path not in found:
                    found[path] = None
                    texts.append(path.read_text())
    return list(found)
