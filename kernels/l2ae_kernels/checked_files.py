"""Files of a cache: put in their place in one step, and read only when they are whole.

A process may be killed, a disk may be full, two processes may write at once: a file is written
under another name and renamed, and the checksum in front of it rejects what is damaged. A cache is
never needed: where it cannot be written, nothing is kept.
"""

import hashlib
import os
import time
from pathlib import Path
from uuid import uuid4

ENVIRONMENT = "L2AE_CACHE_DIR"
SIZE = hashlib.sha256().digest_size
PREFIX, SUFFIX = "l2ae-", ".tmp"  # of a file that is being written
LEFT_OVER = 3600  # seconds: no write takes so long, its process was killed


def cache_folder() -> Path:
    """Return the folder of this package's caches, L2AE_CACHE_DIR or the user's; it need not exist.

    Where the user has no home, it is one that nobody can make.
    """
    if given := os.environ.get(ENVIRONMENT):
        return Path(given)
    try:
        import platformdirs  # here: without it kernels run where the variable names the folder
    except ImportError as error:
        raise ImportError(
            f"the folder of compiled kernels: {error}; pip install platformdirs, or name a folder "
            f"by {ENVIRONMENT}"
        ) from error
    folder = platformdirs.user_cache_path("l2ae")
    return folder if folder.is_absolute() else Path(os.devnull, "l2ae")


def read(path: Path) -> bytes | None:
    """Return what was written, None when the file is damaged, not there, or not ours to read."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    checksum, content = stored[:SIZE], stored[SIZE:]
    return content if hashlib.sha256(content).digest() == checksum else None


def write(path: Path, content: bytes) -> None:
    """Keep `content`, if the folder can be made and written and the disk is not full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, hashlib.sha256(content).digest() + content)
    except OSError:
        return  # only the next start is slower


def put(path: Path, content: bytes) -> None:
    """Put a file in its place in one step; OSError where that cannot be done."""
    remove_left_over(path.parent)
    temporary = path.with_name(f"{PREFIX}{uuid4().hex}{SUFFIX}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove what killed processes have left in a folder that can be written."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        try:
            if time.time() - path.stat().st_mtime > LEFT_OVER:
                path.unlink()
        except OSError:
            continue  # another process was faster, or it is another user's
