"""The peers: which of them are installed, and how many threads they may use.

None of them is imported before it is asked for. To look for one does not import it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from threadpoolctl import threadpool_limits

from l2ae_kernels.cpu.threads import threads as our_threads

OPTIONAL = {"torch": "the training steps", "faiss": "k-means"}  # what they are peers of
OF_PART = {"step": "torch", "norms": "torch", "kmeans": "faiss"}


def installed(name: str) -> bool:
    """Whether a peer can be imported."""
    return find_spec(name) is not None


def load(name: str) -> Any:
    """Import a peer and return its module; ModuleNotFoundError where it is not installed."""
    return import_module(name)


def missing_peer(part: str) -> str | None:
    """Say in one line which peer of a part is not installed; None when it is, or has none."""
    name = OF_PART.get(part)
    if name is None or installed(name):
        return None
    alone = "ours stands alone" if name == "torch" else "scikit-learn stands alone beside ours"
    return f"{name} is not installed ({OPTIONAL[name]}): {alone}; pip install -e '.[bench]'"


@contextmanager
def all_use(count: int, *peers: str) -> Iterator[None]:
    """Let our kernels, BLAS, OpenMP and the named peers use `count` threads inside the block.

    The peers are imported first: only a library that is loaded can be told.
    """
    modules = {name: load(name) for name in peers if installed(name)}
    with our_threads(count), threadpool_limits(count):
        if "torch" in modules:
            modules["torch"].set_num_threads(count)
        if "faiss" in modules:
            modules["faiss"].omp_set_num_threads(count)
        yield
