"""Where these tests run CUDA kernels: on the emulator, and on a GPU, if any.

The shuffled order finds every planted fault that another one finds (emulator/test_planted.py); the
two others are slow tests.

Where a GPU must be there, REQUIRE_GPU=1 turns its absence from a skip into a failure. NO_POOL=1
gives every array of a GPU memory of its own, so that compute-sanitizer sees where it ends.
"""

import os
from collections.abc import Iterator

import pytest

from l2ae_kernels.cuda.device import Device, NoDevice, emulate, find_device

SLOW = [pytest.param(order, marks=pytest.mark.slow) for order in ("ascending", "descending")]


@pytest.fixture(scope="session", params=["shuffled", *SLOW, "gpu"])
def device(request) -> Iterator[Device]:
    """A device; the test runs once for each order of threads and blocks, and on a GPU."""
    if request.param != "gpu":
        request.getfixturevalue("cxx")
        yield emulate(order=request.param, seed=1)
        return
    try:
        found = find_device()
    except NoDevice as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
    if os.environ.get("NO_POOL") == "1":
        found.array_module.cuda.set_allocator(None)
    yield found
