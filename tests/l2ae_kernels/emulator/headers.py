"""Kernels that include the headers of instructions, compiled for the emulator."""

from pathlib import Path

import l2ae_kernels
from l2ae_kernels.emulator import Kernel, RawModule

SOURCE = Path(l2ae_kernels.__file__).parent / "cuda" / "source"
ORDERS = ["ascending", "descending", "shuffled"]
CAPITALS = [f"-D{letter}=({ord(letter)})" for letter in "ABCDKNPTX"]  # constants of a kernel


def function(code: str, name: str, order: str = "ascending", cooperative: bool = False) -> Kernel:
    """Return the kernel `name` of a text."""
    module = RawModule(
        code=code,
        options=(f"-I{SOURCE}", *CAPITALS),
        order=order,
        enable_cooperative_groups=cooperative,
    )
    return module.get_function(name)
