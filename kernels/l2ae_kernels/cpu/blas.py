"""One BLAS thread while our own threads run.

Numba's `np.dot` calls SciPy's BLAS. If that BLAS splits a product over threads of its own while
our threads already occupy the cores, both fight for them: several times slower. So every parallel
kernel here runs inside `single_threaded_blas()`, which restores the former setting afterwards.
"""

from contextlib import AbstractContextManager
from functools import cache

import scipy.linalg  # noqa: F401  # loads the BLAS that the controller has to find
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    """Find the loaded BLAS libraries once: to look costs more than a small product."""
    return ThreadpoolController()


def single_threaded_blas() -> AbstractContextManager[object]:
    """Context manager: BLAS uses one thread inside it."""
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit
