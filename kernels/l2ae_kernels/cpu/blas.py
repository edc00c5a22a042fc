"""One BLAS thread while our own threads run.

Numba's `np.dot` calls SciPy's BLAS. If that BLAS splits a product over threads of its own while
our threads already occupy the cores, both fight for them: several times slower. So every parallel
kernel here runs inside `single_threaded_blas()`. The former setting returns when the last of the
threads that are inside has left: most libraries have one setting for the whole process.
"""

import os
from functools import cache
from threading import RLock, get_ident
from typing import Any

import scipy.linalg  # noqa: F401  # loads the BLAS that the controller has to find
from threadpoolctl import ThreadpoolController


class SingleThreadedBlas:
    """A context manager. What Ctrl-C leaves half done, the next `with` of that thread ends."""

    def __init__(self) -> None:
        # Found once: to look costs more than a small product.
        found = ThreadpoolController()
        self.libraries: list[Any] = found.select(user_api="blas").lib_controllers
        self.no_library = found.select(filepath=[])
        self.before: list[int] = []
        self.inside: set[int] = set()
        self.lock = RLock()
        if hasattr(os, "register_at_fork"):
            # A child would inherit the lock taken, and threads inside that it does not have.
            os.register_at_fork(
                before=self.lock.acquire,
                after_in_parent=self.lock.release,
                after_in_child=self._in_child,
            )

    def _in_child(self) -> None:
        self.inside &= {get_ident()}  # the other threads are those of the parent
        self.lock.release()

    def __enter__(self) -> None:
        with self.lock:
            if not self.before:
                self.before = [library.num_threads for library in self.libraries]
            if not self.inside:
                self.set_threads([1] * len(self.libraries))
            self.inside.add(get_ident())

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside.discard(get_ident())
            if not self.inside:
                self.set_threads(self.before)
                self.before = []
            self.let_others_set()

    def set_threads(self, counts: list[int]) -> None:
        """Give each library its number of threads."""
        for library, count in zip(self.libraries, counts, strict=True):
            library.set_num_threads(count)

    def let_others_set(self) -> None:
        """End what threadpoolctl began: who sets a number is the only one that may, until here."""
        with self.no_library.limit(limits=None):
            pass


@cache
def single_threaded_blas() -> SingleThreadedBlas:
    """Context manager, one for the process: BLAS uses one thread inside it."""
    return SingleThreadedBlas()
