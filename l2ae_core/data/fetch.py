"""Where the published files come from: a local folder, else the cache, else one of the mirrors.

The check is the SHA-256 of the uncompressed data, because mirrors compress differently. A download
is kept in memory until it has passed the check, and enters the cache by an atomic rename: a killed
process, a broken connection or an HTML error page leaves nothing there that could be read. Where
the cache cannot be written, the verified bytes are used all the same, with a warning.
"""

import gzip
import hashlib
import io
import os
import shutil
import tempfile
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from l2ae_core.data.errors import DataError
from l2ae_core.progress import Bar
from l2ae_core.readers import one_line, read_bytes
from l2ae_core.tables import counted

ENVIRONMENT = "L2AE_DATA"
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of the answer
PART = ".part-"  # prefix of the folders in which cache files are written
MAX_BYTES = 1 << 26  # of a file, uncompressed; the largest one has 47,040,016
PART_LIFETIME = 60.0  # seconds; no write of a verified file takes this long, so older is dead


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    path     "mnist/train-images-idx3-ubyte": sub-folder and name, without .gz
    samples  how many images or labels it holds
    sha256   of the uncompressed data, hexadecimal
    mirrors  addresses, tried in this order, {} standing for the name
    """

    path: str
    samples: int
    sha256: str
    mirrors: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


def import_pooch() -> ModuleType:
    """Return pooch, which nothing but a download needs; DataError where it cannot be imported."""
    try:
        import pooch
    except ImportError as error:
        raise DataError(
            f"a download needs pooch: {error}; pip install pooch, or let {ENVIRONMENT} name a "
            "folder that has the files"
        ) from error
    module: ModuleType = pooch
    return module


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: the user's cache folder of the system.

    Raises OSError for a user without a home, as in a container.
    """
    try:
        folder = Path(import_pooch().os_cache("l2ae"))
    except RuntimeError as error:
        raise FileNotFoundError(one_line(error)) from error
    if not folder.is_absolute():  # "~", as it stands
        raise FileNotFoundError("no home directory is known")
    return folder


def expand_user(path: str | Path) -> Path:
    """Return a path with ~ replaced; DataError where no home directory is known, and for "".

    Path("") is ".", but an empty text, as of a variable that is not set, does not mean that folder.
    """
    if path == "":
        raise DataError("data: the path is empty but expected a data set, a file or a folder")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path}: {one_line(error)}") from error


def obtain(file: RemoteFile, data_dir: Path | None, *, progress: bool = True) -> tuple[bytes, str]:
    """Return the uncompressed bytes of `file` and the path they came from, for error messages.

    The local folder is `data_dir`, else the environment variable L2AE_DATA. Where one is named,
    nothing is downloaded, and its file is unpacked but not yet checked: see `check`. Raises
    DataError when the folder has no such file or when no mirror gives the right one.
    """
    local = data_dir or os.environ.get(ENVIRONMENT)
    if local:
        path = _find(file, expand_user(local))
        return unpack(_content(path), str(path)), str(path)
    try:
        cached = cache_folder() / file.path
        data = _from_cache(cached, file)
    except OSError as error:
        warnings.warn(f"{file.name}: no cache can be read ({error})", stacklevel=2)
        return download(file, progress=progress), file.name
    if data is not None:
        return data, str(cached)
    data = download(file, progress=progress)
    try:
        _store(data, cached)
    except OSError as error:
        warnings.warn(
            f"{cached}: cannot be written ({error}), so every process downloads it again; "
            f"{ENVIRONMENT} may name a folder that has it",
            stacklevel=2,
        )
    return data, str(cached)


def _from_cache(cached: Path, file: RemoteFile) -> bytes | None:
    """Return the bytes of a file in the cache, or None where there are none, or wrong ones."""
    _sweep(cached.parent)
    if not cached.is_file():
        return None
    data = cached.read_bytes()
    if _sha256(data) == file.sha256:
        return data
    warnings.warn(f"{cached}: damaged, so it is downloaded again", stacklevel=3)
    return None


def check(file: RemoteFile, data: bytes, where: str, *, samples: int) -> None:
    """Raise DataError unless `data`, parsed to `samples` samples, is the published file."""
    if samples != file.samples:
        raise DataError(f"{where}: {counted(samples, 'sample')} but {file.name} has {file.samples}")
    if (found := _sha256(data)) != file.sha256:
        raise DataError(
            f"{where}: corrupt, or not the published {file.name}: the SHA-256 of the uncompressed "
            f"data is {found} but expected {file.sha256}"
        )


def unpack(raw: bytes, where: str) -> bytes:
    """Return `raw`, decompressed if it is gzip (the first bytes decide, not the name).

    Raises DataError for an empty file, an HTML page and a damaged or truncated gzip file.
    """
    if not raw:
        raise DataError(f"{where}: empty")
    if raw[:256].lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise DataError(f"{where}: an HTML or XML page instead of the data")
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            data = file.read(MAX_BYTES + 1)
    except EOFError:
        raise DataError(f"{where}: truncated: the gzip data end too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where}: corrupt gzip data: {one_line(error)}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{where}: more than {MAX_BYTES:,} bytes uncompressed, so another file")
    return data


def download(file: RemoteFile, *, progress: bool = True) -> bytes:
    """Return the uncompressed, verified bytes of `file` from the first mirror that has them.

    Raises DataError with one line for each mirror when all of them fail.
    """
    failures = []
    for mirror in file.mirrors:
        url = mirror.format(file.name)
        try:
            data = unpack(_get(url, file.name, progress), url)
        except DataError as error:
            failures.append(f"  {error}")
            continue
        except OSError as error:  # the base class of every error of requests
            failures.append(f"  {url}: {error}")
            continue
        if (found := _sha256(data)) == file.sha256:
            return data
        failures.append(f"  {url}: wrong data: SHA-256 {found} but expected {file.sha256}")
    raise DataError(
        f"{file.name}: no mirror gave the right file\n" + "\n".join(failures) + "\n"
        f"Without a network, put {file.name} or {file.name}.gz into a folder and name it: "
        f"--data-dir FOLDER, data_dir= in Python, or the environment variable {ENVIRONMENT}"
    )


def _get(url: str, name: str, progress: bool) -> bytes:
    buffer = io.BytesIO()
    # pooch asks for the bar's truth value, which tqdm refuses without a total
    with Bar(total=1, desc=name, unit="B", unit_scale=True, delay=1.0, disable=not progress) as bar:
        fetch = import_pooch().HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)
        fetch(url, buffer, None)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {one_line(error.strerror or error)}") from error
    except ValueError as error:
        raise DataError(str(error)) from error


def _find(file: RemoteFile, folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder (named by data_dir, --data-dir or {ENVIRONMENT})")
    for parent in (folder, (folder / file.path).parent):
        for candidate in (parent / file.name, parent / f"{file.name}.gz"):
            if candidate.exists():
                return candidate
    raise DataError(
        f"{folder}: holds neither {file.name} nor {file.path}, with or without .gz; name no folder "
        f"(no --data-dir, {ENVIRONMENT} unset) to have it downloaded"
    )


def _store(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PART, dir=path.parent) as folder:
        part = Path(folder) / path.name
        part.write_bytes(data)
        part.replace(path)


def _sweep(folder: Path) -> None:
    """Remove what a process killed in the middle of `_store` has left."""
    for part in folder.glob(f"{PART}*"):
        try:
            age = time.time() - part.stat().st_mtime
        except FileNotFoundError:  # another process has removed it
            continue
        if age > PART_LIFETIME:
            shutil.rmtree(part, ignore_errors=True)
