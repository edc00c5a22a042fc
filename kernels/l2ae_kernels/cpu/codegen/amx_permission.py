"""Whether AMX can be used: the processor has it, and Linux lets this process.

Its registers are switched off for a process until it asks for them; its threads and what it forks
have them then.
"""

import ctypes
import errno
import os
import sys
from functools import cache

import llvmlite.binding as llvm

FEATURES = ("amx-tile", "amx-bf16", "avx512f", "avx512bf16")
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18  # of Linux on x86-64


@cache
def missing() -> str:
    """Return why tiles cannot be used here, "" where they can: the process has asked for them."""
    features = llvm.get_host_cpu_features()
    absent = [name for name in FEATURES if not features.get(name)]
    if absent:
        return f"this processor has no {', '.join(absent)}"
    if sys.platform != "linux":
        return f"it is asked for as Linux has it, not {sys.platform}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) != 0:
        code = ctypes.get_errno()
        return f"Linux refuses its registers: {errno.errorcode.get(code)}, {os.strerror(code)}"
    return ""
