"""The compiled kernels of a device, and the shared memory that a launch of one may have."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from l2ae_kernels.cuda.text import Defines, options, read_source


class Compiled(NamedTuple):
    """What a module is compiled from, and whether its blocks may wait for all others."""

    file_name: str
    defines: tuple[tuple[str, int | str], ...]
    cooperative: bool


class Modules:
    """Kernels by file, defines and name, each compiled once, also where threads ask for one.

    factory: called as `cupy.RawModule`. limit: bytes of shared memory of a block.
    """

    def __init__(self, factory: Callable[..., Any], limit: int) -> None:
        self._factory, self._limit = factory, limit
        self._modules: dict[Compiled, Any] = {}
        self._kernels: dict[tuple[Compiled, str], Any] = {}
        self._cooperative: set[Any] = set()
        self._lock = threading.Lock()
        self._shared: dict[Any, int] = {}  # dynamic shared memory that a kernel may have

    def kernel(self, file_name: str, name: str, defines: Defines, cooperative: bool) -> Any:
        """See `Device.kernel`."""
        key = Compiled(file_name, tuple(sorted(defines.items())), cooperative)
        with self._lock:
            if key not in self._modules:
                self._modules[key] = self._factory(
                    code=read_source(file_name),
                    options=options(defines),
                    enable_cooperative_groups=cooperative,
                )
            if (key, name) not in self._kernels:
                found = self._kernels[key, name] = self._modules[key].get_function(name)
                if cooperative:
                    self._cooperative.add(found)
            return self._kernels[key, name]

    def is_cooperative(self, kernel: Any) -> bool:
        """Whether the blocks of a kernel may wait for each other."""
        return kernel in self._cooperative

    def let_share(self, kernel: Any, dynamic: int) -> None:
        """Let a kernel have that many bytes besides those that its text declares.

        ValueError for more than a block has. From 48 KB in all on, CUDA has to be asked.
        """
        with self._lock:
            if dynamic <= self._shared.get(kernel, 0):
                return
            declared = int(kernel.shared_size_bytes)
            most = self._limit - declared
            if dynamic > most:
                raise ValueError(
                    f"launch: shared is {dynamic} bytes but expected at most {most}: a block "
                    f"has {self._limit}, and the kernel declares {declared}"
                )
            kernel.max_dynamic_shared_size_bytes = self._shared[kernel] = dynamic
