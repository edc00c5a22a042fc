"""What the gates compile: a .cu file, its defines, and the registers that its kernels may take."""

from collections.abc import Mapping
from typing import NamedTuple

from l2ae_kernels.cuda.text import Defines


class Module(NamedTuple):
    """A file with its defines, and the registers that each kernel of it may take."""

    file_name: str
    defines: Defines
    budget: Mapping[str, int]

    @property
    def name(self) -> str:
        """The file and its defines, to be read."""
        defines = " ".join(f"{name}={value}" for name, value in self.defines.items())
        return f"{self.file_name} {defines}".strip()
