"""A hash of every source file of the CPU kernels: what machine code on disk is made from."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def digest() -> str:
    """Return the SHA-256 of names and contents, hexadecimal."""
    root = Path(__file__).parent
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return content.hexdigest()
