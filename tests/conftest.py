"""What every folder of tests shares.

A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that. Several
tests send Ctrl-C to processes of their own: these hear it wherever pytest was started.
"""

import os
import signal

import pytest

from l2ae_kernels.cpu.emit.vectors import get_vectors
from l2ae_kernels.emulator import toolchain
from l2ae_kernels.emulator.errors import CompileError

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what judges emitted kernels where none are emitted."""
    if item.get_closest_marker("needs_vectors") and get_vectors() is None:
        pytest.skip("no kernels are emitted: L2AE_VECTORS=none, or a processor without AVX2")


@pytest.fixture(scope="session")
def cxx() -> None:
    """The compiler of CUDA's emulator. Without one a test is skipped; where CI is set, it fails."""
    try:
        toolchain.current()
    except CompileError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
