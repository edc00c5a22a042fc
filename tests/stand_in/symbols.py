"""Functions inside of a loaded library, by its symbol table, and others in their place.

CuPy's wheel has CUDA's runtime linked into one of its modules, and keeps the names of the functions
as local symbols (.symtab). A jump is written over the first bytes of each.
"""

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HEADER = np.dtype(
    [
        ("skipped", "V40"),
        ("sections_at", "<u8"),
        ("more", "V10"),
        ("size", "<u2"),
        ("count", "<u2"),
        ("names", "<u2"),
    ]
)  # fmt: skip  of an ELF file of 64 bits
SECTION = np.dtype([("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"),
                    ("at", "<u8"), ("size", "<u8"), ("link", "<u4"), ("info", "<u4"),
                    ("alignment", "<u8"), ("entry", "<u8")])  # fmt: skip
SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"),
                   ("value", "<u8"), ("size", "<u8")])  # fmt: skip
SYMTAB, FUNCTION = 2, 2  # sh_type, and the lower half of st_info
RETURN_0 = b"\x31\xc0\xc3"  # xor %eax, %eax; ret
JUMP = b"\xff\x25\x00\x00\x00\x00"  # jmp *0(%rip): to the address behind it


def functions(path: Path, prefix: str) -> dict[str, int]:
    """Return the offsets of all functions whose name begins so, from the file's symbol table."""
    content = path.read_bytes()
    header = np.frombuffer(content, HEADER, 1)[0]
    sections = np.frombuffer(content, SECTION, int(header["count"]), int(header["sections_at"]))
    found = {}
    for table in sections[sections["type"] == SYMTAB]:
        names = int(sections[table["link"]]["at"])
        count = int(table["size"]) // SYMBOL.itemsize
        symbols = np.frombuffer(content, SYMBOL, count, int(table["at"]))
        here = (symbols["info"] & 15 == FUNCTION) & (symbols["size"] >= len(JUMP) + 8)
        for symbol in symbols[here]:
            start = names + int(symbol["name"])
            name = content[start : content.index(b"\0", start)].decode(errors="replace")
            if name.startswith(prefix):
                found[name] = int(symbol["value"])
    return found


def loaded_at(path: Path) -> int:
    """Return where the first byte of a library lies in this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            return int(line.split("-")[0], 16)
    raise OSError(f"{path} is not loaded")


def places() -> Iterator[int]:
    """Yield addresses at which a function may be put, for as long as the process runs."""
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=rights)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(page))  # it is never given back
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    yield from range(start, start + mmap.PAGESIZE, 16)


def replace(address: int, by: Any) -> None:
    """Let the function at an address be another one, a pointer of ctypes."""
    target = ctypes.cast(by, ctypes.c_void_p).value
    assert target is not None
    _write(address, JUMP + target.to_bytes(8, "little"))


def end(address: int) -> None:
    """Let the function at an address, which has been replaced, do nothing."""
    _write(address, RETURN_0)


def _write(address: int, code: bytes) -> None:
    page = address // mmap.PAGESIZE * mmap.PAGESIZE
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    all_rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    if protect(page, address + len(code) - page, all_rights) != 0:
        raise OSError(ctypes.get_errno(), "mprotect: code of a library cannot be replaced")
    ctypes.memmove(address, code, len(code))
